"""The recording that is played to a transcriber."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hearout.audio import deinterleave
from hearout.errors import UsageError
from hearout.sources import FileSource
from hearout.vad import webrtc_gate

__all__ = ["Sample", "read_sample"]

_LONGEST = 30.0  # seconds played of the recording
_CUT = 1.2  # seconds of voice after which the middle of speech is asked for by Finalize


@dataclass(frozen=True, slots=True)
class Sample:
    """Speech as linear16, interleaved.

    Attributes:
        cut: seconds from its beginning to the middle of the first longer speech.
    """

    pcm: bytes
    sample_rate: int
    channels: int
    cut: float

    @property
    def frame_bytes(self) -> int:
        return 2 * self.channels

    def piece(self, end: float) -> bytes:
        """The first ``end`` seconds, with silence where there is no more."""
        size = round(end * self.sample_rate) * self.frame_bytes
        return self.pcm[:size].ljust(size, b"\0")


async def read_sample(path: str | os.PathLike[str]) -> Sample:
    """The beginning of an audio file.

    Raises:
        UsageError: it cannot be read, or there is too little speech in it.
    """
    source = FileSource(path)
    frame = 2 * source.channels
    limit = round(_LONGEST * source.sample_rate) * frame
    pcm = b""
    async for chunk in source:
        pcm += chunk
        if len(pcm) >= limit:
            break
    pcm = pcm[:limit]
    gates = [webrtc_gate(source.sample_rate) for _ in range(source.channels)]
    step = source.sample_rate // 50
    voiced = 0
    for start in range(0, len(pcm), step * frame):
        for gate, mono in zip(gates, deinterleave(pcm[start : start + step * frame], source.channels), strict=True):
            gate.feed(mono)
        speaking = any(gate.speaking for gate in gates)
        voiced += step if speaking else 0
        if speaking and voiced >= _CUT * source.sample_rate:
            return Sample(pcm, source.sample_rate, source.channels, (start / frame + step) / source.sample_rate)
    raise UsageError(f"{os.fspath(path)}: less than {_CUT:g} s of speech in it; name another recording with --sample")
