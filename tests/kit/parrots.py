"""A transcriber of one's own, as an application would write it: copied into a folder, it is ``parrots:Parrot``.

Parrot does not exist; what it speaks is understood by `hearout stt-server`, so that it can be heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from hearout.transcribers import Heard, ProviderNews, StreamFinished, field_of, object_in, printable, time_of
from hearout_policies.signals import Transcript, Word


class Parrot:
    """How Parrot speaks."""

    name = "parrot"
    key_variable = "PARROT_API_KEY"
    keepalive_after: float | None = 5.0
    longest: float | None = None
    silence_after: float | None = None

    def __init__(
        self, key: str, url: str = "wss://parrot.example/v1/listen", sample_rate: int = 16000, channels: int = 1
    ) -> None:
        self._key, self._url = key, url
        self.sample_rate, self.channels = sample_rate, channels

    def address(self) -> str:
        options = {"encoding": "linear16", "sample_rate": self.sample_rate, "channels": self.channels}
        return f"{self._url}?{urlencode(options | {'multichannel': 'true', 'interim_results': 'true'})}"

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Token {self._key}")]

    def opening(self) -> Sequence[str]:
        return ()

    def audio(self, pcm: bytes) -> bytes:
        if not pcm:
            raise ValueError("no audio")
        return pcm

    def finalize(self, channel: int | None = None) -> str:
        return '{"type": "Finalize"}'

    def keepalive(self) -> str:
        return '{"type": "KeepAlive"}'

    def closing(self) -> str:
        return '{"type": "CloseStream"}'

    def decode(self, message: str | bytes, at: float, offset: float) -> Sequence[ProviderNews]:
        data = object_in(message, "Parrot")
        match data.get("type"):
            case "Results":
                return [Heard(field_of(data, "channel_index", list, [0])[0], _transcript(data, at, offset))]
            case "Metadata":
                return [StreamFinished()]
        return []


class Parakeet(Parrot):
    """Finds its key by itself."""

    name = "parakeet"
    key_variable = None  # type: ignore[assignment]

    def __init__(self, sample_rate: int = 16000) -> None:
        super().__init__("none", "ws://127.0.0.1:1/v1/listen", sample_rate)


def _transcript(data: dict[str, Any], at: float, offset: float) -> Transcript:
    start = time_of(data, "start") + offset
    (best,) = field_of(field_of(data, "channel", dict, {}), "alternatives", list, [])
    words = tuple(
        Word(printable(item["word"]), time_of(item, "start") + offset, time_of(item, "end") + offset)
        for item in best["words"]
    )
    return Transcript(
        at,
        words,
        start,
        start + time_of(data, "duration"),
        is_final=field_of(data, "is_final", bool, False),
        finalized=field_of(data, "from_finalize", bool, False),
    )
