"""The interface of an audio source: where the PCM of a session comes from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from hearout.errors import UsageError

__all__ = ["AudioSource", "HasKeys", "Pours", "checked"]


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


@runtime_checkable
class Pours(Protocol):
    """A source that can hand over its audio from within the call that brings it, without a task in between.

    Fifty frames a second and call are too many to wake up a task for each.
    """

    def pour_into(self, sink: Callable[[bytes], None]) -> None:
        """For a session in real time: from now on ``sink`` gets the chunks, and iterating gives only the end."""


@runtime_checkable
class HasKeys(Protocol):
    """A source whose speakers have keys to press, as those of telephones."""

    def keys_to(self, take: Callable[[int | None, str], None]) -> None:
        """For a session: ``take`` gets the channel (None: all of them) and each key, in step with the audio."""


def checked(chunk: object, frame_bytes: int) -> bytes:
    """What a source gave, if it is audio: bytes of any kind, whole frames of ``frame_bytes``.

    Raises:
        UsageError: it is not; the line says what it is.
    """
    if isinstance(chunk, (bytearray, memoryview)):
        chunk = bytes(chunk)
    if isinstance(chunk, bytes) and not len(chunk) % frame_bytes:
        return chunk
    kind = type(chunk).__name__
    what = f"{len(chunk)} bytes" if isinstance(chunk, bytes) else f"a{'n' * (kind[0] in 'aeiou')} {kind}"
    raise UsageError(
        f"the source of audio gave {what if chunk is not None else None}: a chunk is bytes, whole frames of "
        f"{frame_bytes} bytes each"
    )
