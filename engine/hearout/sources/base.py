"""The interface of an audio source: where the PCM of a session comes from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

__all__ = ["AudioSource"]


class AudioSource(Protocol):
    """Something to iterate over, once: ``async for pcm in source``.

    A chunk is linear16, little-endian, channels interleaved: any number of whole frames, never none. A source
    gives audio as fast as it is there; `hearout.sources.paced` slows one down to real time.

    Attributes:
        sample_rate: Hz: 8000 or 16000, or what else voice detection and transcriber both take (32000, 48000).
        channels: at least 1.
        duration: seconds of audio, for a display of progress; None when nobody knows.

    Raises:
        UsageError: from the iteration: the audio is not what it was said to be.
    """

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def duration(self) -> float | None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...
