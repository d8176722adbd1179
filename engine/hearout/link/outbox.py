"""What is to be sent next: audio in messages of a good size, and control messages in their place in it.

Pure. The audio is not queued but read from the `ReplayBuffer` at a cursor, so going back after a lost
connection is setting the cursor back, and live audio queues behind a replay by itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from hearout.link.buffer import ReplayBuffer

__all__ = ["Chore", "ChoreKind", "Outbox"]

ChoreKind = Literal["finalize", "settle", "flush", "close", "message"]


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do after all audio before ``frame`` is sent."""

    frame: int
    kind: ChoreKind
    channel: int | None = None
    message: str = ""


class Outbox:
    """A cursor in the audio, and the marks ahead of it.

    Attributes:
        cursor: number of the next frame to send.
    """

    def __init__(self, buffer: ReplayBuffer, message: int) -> None:
        """Cut the audio of ``buffer`` into messages of ``message`` frames."""
        self.cursor = 0
        self._buffer = buffer
        self._message = message
        self._marks: deque[Chore] = deque()

    def mark(
        self,
        kind: ChoreKind,
        channel: int | None = None,
        message: str = "",
    ) -> None:
        """Put a mark behind all audio there is now."""
        self._marks.append(Chore(self._buffer.end, kind, channel, message))

    def forget_marks(self) -> None:
        """The connection they were meant for is gone."""
        self._marks.clear()

    @property
    def waiting(self) -> int:
        """Frames not sent yet."""
        return self._buffer.end - self.cursor

    @property
    def whole(self) -> int:
        """Number of the frame at which the next message will be whole."""
        return self.cursor + self._message

    @property
    def overrun(self) -> bool:
        """The buffer has dropped audio that was not sent."""
        return self._buffer.first > self.cursor

    @property
    def stop(self) -> int:
        """Where the audio ends that would be sent now; at the cursor when a mark or nothing is next."""
        stop = min(self.cursor + self._message, self._buffer.end)
        return min(stop, max(self._marks[0].frame, self.cursor)) if self._marks else stop

    def take(self, partial: bool = False) -> bytes | Chore | None:
        """The next audio, the next mark, or None: wait for more.

        Args:
            partial: do not wait for a whole message. Before a mark nothing waits.
        """
        stop = self.stop
        if stop > self.cursor:
            if stop - self.cursor < self._message and not partial and not self._marks:
                return None
            pcm = self._buffer.read(self.cursor, stop)
            self.cursor = stop
            return pcm
        return self._marks.popleft() if self._marks else None
