"""Audio that somebody else hears too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from hearout.sources.base import AudioSource

__all__ = ["Tapped"]


class Tapped:
    """The same audio; ``take`` is called with each chunk as it is handed out."""

    def __init__(self, source: AudioSource, take: Callable[[bytes], None]) -> None:
        self.sample_rate, self.channels, self.duration = source.sample_rate, source.channels, source.duration
        self._chunks, self._take = aiter(source), take

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self._take(chunk)
        return chunk
