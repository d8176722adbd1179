"""One channel of audio on its way to the recogniser, for protocols that ask for words at moments of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hearout.sttserver.recogniser.segmenter import FRAME_BYTES, Segmenter
from hearout.sttserver.steps import Ask, Decode, Step

__all__ = ["Listener"]


class Listener:
    """Cuts audio into frames and plans what to decode; after each frame ``due`` may ask for the words so far.

    Attributes:
        segmenter: what is known of the audio pushed so far.
    """

    def __init__(self, due: Callable[[], Ask | None]) -> None:
        self.segmenter = Segmenter()
        self._due = due
        self._rest = b""  # less than a frame

    def hear(self, pcm: bytes) -> Iterator[Step]:
        """Plan more audio: linear16 mono, 16 kHz."""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % FRAME_BYTES
        self._rest = pcm[whole:]
        to_decode = bytearray()
        for at in range(0, whole, FRAME_BYTES):
            to_decode += self.segmenter.push(pcm[at : at + FRAME_BYTES])
            if ask := self._due():
                if to_decode:
                    yield Decode(0, bytes(to_decode))
                    to_decode.clear()
                yield ask
        if to_decode:
            yield Decode(0, bytes(to_decode))

    def flush(self) -> Iterator[Step]:
        """Plan what is left of the last frame."""
        if self._rest and (pcm := self.segmenter.push(self._rest)):
            yield Decode(0, pcm)
        self._rest = b""
