"""Pieces of audio with numbers and timestamps, brought into order and onto one time line."""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Alignment", "Resequencer"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Resequencer(Generic[T]):
    """Puts numbered messages into their order.

    One that is missing is waited for until `HELD` later ones are there: 0.1 s of a telephone call. A number that was
    there already, with another message, begins a new count, and so does one below all that are remembered.

    Attributes:
        dropped: messages that came twice, or too late.
    """

    HELD = 5
    REMEMBERED = 100

    def __init__(self) -> None:
        self.dropped = 0
        self._next: int | None = None
        self._held: dict[int, T] = {}
        self._seen: dict[int, int] = {}  # the digest of each of the last `REMEMBERED` messages
        self._told = False

    def push(self, number: int | None, item: T, digest: int) -> list[T]:
        """The messages whose turn it is now; at once those without a number.

        Args:
            digest: the same for a message that comes twice.
        """
        if number is None:
            return [item]
        if self._next is None:
            self._next = number
        elif number < self._next or number in self._held:
            if number >= min(self._seen) and self._seen.get(number, digest) == digest:
                self.dropped += 1
                return []
            return [*self._count_again(number), *self.push(number, item, digest)]
        self._held[number] = item
        self._seen[number] = digest
        if len(self._held) > self.HELD:
            self._next = min(self._held)
        out = []
        while self._next in self._held:
            out.append(self._held.pop(self._next))
            self._next += 1
        while len(self._seen) > self.REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return out

    def _count_again(self, number: int) -> list[T]:
        if not self._told:
            self._told = True
            _log.warning("the numbers of the messages begin again: %d comes where %s was next", number, self._next)
        out = self.flush()
        self._next = None
        self._seen.clear()
        return out

    def flush(self) -> list[T]:
        """All that are held: nothing will come in between any more."""
        out = [self._held[number] for number in sorted(self._held)]
        if self._held:
            self._next = max(self._held) + 1
        self._held = {}
        return out


class Alignment:
    """Tracks of audio by their timestamps on one time line, as interleaved linear16.

    Audio time is the sender's time: 0 is timestamp 0. What is missing is silence: a gap of one track, and a track
    that is quiet while another goes on. Nothing is cut: audio whose place is already taken comes right behind it, and
    the next gap makes up for that.

    Args:
        tracks: how many, at least 1; each is a channel.
        sample_rate: Hz, of all of them.
        longest_gap: seconds; a timestamp that is further away is not believed, or nobody wants so much silence: audio
            time goes on from where it is. The session clock counts such a pause all the same.

    Attributes:
        longest_gap: as given.
        filled: seconds of silence put in so far, summed over the tracks.
    """

    TOLERANCE = 0.01  # seconds: half a packet of 20 ms. Timestamps are whole milliseconds and may wobble.
    SKEW = 0.06  # seconds that a track may be behind the other before it is taken for silent

    def __init__(self, tracks: int, sample_rate: int, longest_gap: float = 10.0) -> None:
        self.filled = 0.0
        self.longest_gap = longest_gap
        self._rate = sample_rate
        self._longest = round(longest_gap * sample_rate)
        self._tolerance = round(self.TOLERANCE * sample_rate)
        self._skew = round(self.SKEW * sample_rate) if tracks > 1 else 0
        self._given = 0  # samples of each track
        self._waiting = [np.zeros(0, np.int16) for _ in range(tracks)]
        self._offset = 0  # samples: place on the time line minus timestamp
        self._jumped = False

    def add(self, track: int, timestamp: float | None, samples: npt.NDArray[np.int16]) -> None:
        """Put samples of a track, shape (n,), where ``timestamp`` says (seconds); None: behind its last ones."""
        end = self._given + len(self._waiting[track])
        gap = 0 if timestamp is None else round(timestamp * self._rate) + self._offset - end
        if abs(gap) > self._longest:
            if not self._jumped:
                _log.warning("timestamps jump by %.1f s at %.1f s of audio", gap / self._rate, end / self._rate)
            self._jumped = True
            self._offset -= gap
            gap = 0
        silence = self._silence(gap if gap > self._tolerance else 0)
        self._waiting[track] = np.concatenate((self._waiting[track], silence, samples))

    def take(self, last: bool = False) -> bytes:
        """What is complete by now; everything, when nothing more will come."""
        lengths = [len(waiting) for waiting in self._waiting]
        ready = max(lengths) if last else max(min(lengths), max(lengths) - self._skew)
        if not ready:
            return b""
        parts = []
        for track, waiting in enumerate(self._waiting):
            padded = np.concatenate((waiting[:ready], self._silence(max(0, ready - len(waiting)))))
            parts.append(padded)
            self._waiting[track] = waiting[ready:]
        self._given += ready
        return np.stack(parts, axis=1).tobytes()

    def _silence(self, samples: int) -> npt.NDArray[np.int16]:
        self.filled += samples / self._rate
        return np.zeros(samples, np.int16)
