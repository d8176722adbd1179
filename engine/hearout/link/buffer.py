"""The audio that a lost connection would lose: what no final result covers yet. Pure.

It counts in frames: one frame is one sample of every channel.
"""

from __future__ import annotations

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """A window on the stream of audio: grows at its end, is released at its beginning, and is bounded.

    Attributes:
        first: number of the oldest frame kept.
        end: number of frames appended so far.
    """

    def __init__(self, frame_bytes: int, most: int) -> None:
        """Keep at most ``most`` frames of ``frame_bytes`` bytes."""
        self.first = 0
        self.end = 0
        self._frame_bytes = frame_bytes
        self._most = most
        self._data = bytearray()

    def append(self, pcm: bytes) -> None:
        """Add whole frames; the oldest go when there are more than ``most``."""
        if len(pcm) % self._frame_bytes:
            raise ValueError(f"{len(pcm)} bytes are no whole frames of {self._frame_bytes} bytes")
        self._data += pcm
        self.end += len(pcm) // self._frame_bytes
        if self.end - self.first > self._most:
            self.release(self.end - self._most)

    def release(self, until: int) -> None:
        """Frames before ``until`` are not needed any more."""
        count = min(until, self.end) - self.first
        if count > 0:
            del self._data[: count * self._frame_bytes]  # cheap: a bytearray only moves its start
            self.first += count

    def read(self, start: int, stop: int) -> bytes:
        """The frames from ``start`` up to ``stop``, which must be there."""
        if not self.first <= start <= stop <= self.end:
            raise ValueError(f"frames {start} to {stop} are not in {self.first} to {self.end}")
        size, first = self._frame_bytes, self.first
        with memoryview(self._data) as data:  # a slice of the bytearray would be a copy of its own
            return bytes(data[(start - first) * size : (stop - first) * size])
