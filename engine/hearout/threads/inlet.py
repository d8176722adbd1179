"""The way of audio from any thread into a session."""

from __future__ import annotations

from collections import deque
from typing import Literal

from hearout.errors import UsageError
from hearout.sources.push import PushSource, pushed
from hearout.threads.host import Host
from hearout.threads.waiting import Changes

__all__ = ["Inlet"]


class Inlet:
    """Hands audio over to a `PushSource` in the thread of the session, in the order in which it came.

    Together with what waits in the source it holds no more than the source's limit.
    """

    def __init__(self, source: PushSource) -> None:
        self._source = source
        self._host = Host.running()
        self._second = source.format.frame_bytes * source.format.sample_rate  # bytes
        self._handed: deque[bytes] = deque()
        self._held = 0  # bytes
        self._closed = False
        self._changed = Changes()
        source.on_taken = self._taken

    def push(self, data: bytes | bytearray | memoryview, timeout: float) -> bool:
        """False: nobody will hear it, the audio is over."""
        pcm = pushed(data)
        self._host.check()  # before a lock that a forked process may never get

        def hand() -> Literal["", "handed", "over"]:
            if self.closed:
                return "over"
            if not self._has_room:
                return ""
            self._handed.append(pcm)
            self._held += len(pcm)
            self._host.soon(self._hand_over)
            return "handed"

        if not (result := self._changed.wait_for(hand, timeout)):
            raise UsageError(
                f"{self._waiting:.1f} s of pushed audio wait to be heard, and in {timeout:g} s none of it was: "
                "this piece is not heard; push slower, or raise the limit of PushSource"
            )
        return result == "handed"

    def close(self) -> None:
        with self._changed.lock:
            if not self.closed:
                self._closed = True
                self._host.soon(self._source.close)
                self._changed.notify()

    @property
    def closed(self) -> bool:
        return self._closed or self._source.closed

    @property
    def _waiting(self) -> float:
        return self._held / self._second + self._source.waiting

    @property
    def _has_room(self) -> bool:
        return not self._waiting or self._waiting < self._source.limit

    def _hand_over(self) -> None:
        """In trio: one piece."""
        with self._changed.lock:
            pcm = self._handed.popleft()
        try:
            self._source._accept(pcm)  # there was room for it; what a resampler gives now that it kept makes it no less
        except Exception as error:  # soxr's, say; the session raises it
            self._source.close(error)
        with self._changed.lock:
            self._held -= len(pcm)  # not before the source counts it
            self._changed.notify()

    def _taken(self) -> None:
        with self._changed.lock:
            self._changed.notify()
