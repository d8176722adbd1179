"""Audio that is there at once, handed out as if it were being spoken."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import trio

from hearout.errors import UsageError
from hearout.sources.base import AudioSource

__all__ = ["paced"]

_BLOCK = 0.02  # seconds, as a microphone or a telephone line would give


def paced(source: AudioSource, speed: float = 1.0) -> AudioSource:
    """The same audio in blocks of 20 ms, each at the moment its last sample would have been heard.

    Moments are counted from the first block on trio's clock, so they do not drift, and a consumer that was
    late gets what it missed at once.

    Args:
        speed: 1.0 is real time, 2.0 twice as fast; infinity: not paced at all.

    Raises:
        UsageError: a speed that is not above 0.
    """
    if not speed > 0:  # so that NaN fails too
        raise UsageError(f"speed {speed:g}: it must be above 0; 1 is real time")
    return source if math.isinf(speed) else _Paced(source, speed)


class _Paced:
    # An iterator of its own and no async generator: one that is dropped half-way warns when it is collected.

    def __init__(self, source: AudioSource, speed: float) -> None:
        self.sample_rate = source.sample_rate
        self.channels = source.channels
        self.duration = source.duration
        self._chunks = aiter(source)
        self._frame_bytes = 2 * source.channels
        self._block_bytes = round(source.sample_rate * _BLOCK) * self._frame_bytes
        self._pace = source.sample_rate * speed  # sample frames per second of trio's clock
        self._buffer = b""
        self._ended = False
        self._frames_given = 0
        self._began: float | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._began is None:
            self._began = trio.current_time()
        while len(self._buffer) < self._block_bytes and not self._ended:
            try:
                self._buffer += await anext(self._chunks)
            except StopAsyncIteration:
                self._ended = True
        block, self._buffer = self._buffer[: self._block_bytes], self._buffer[self._block_bytes :]
        if not block:
            raise StopAsyncIteration
        self._frames_given += len(block) // self._frame_bytes
        await trio.sleep_until(self._began + self._frames_given / self._pace)
        return block
