"""Finalizes under way: each answer is matched to its request.

Providers answer in order, but not always: Deepgram leaves a Finalize unanswered when there was hardly any audio
since the one before. So an answer is matched by the audio it covers, and settles all earlier requests too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Finalizes", "Request"]

_MOST = 8  # requests remembered; the oldest unanswered ones are given up
_EXACT = 0.1  # ... and by which it may differ from the audio before its Finalize when it means just that
_SLACK = 0.35  # seconds by which an answer's span may fall short of the speech before its Finalize


@dataclass(slots=True)
class Request:
    """One Finalize.

    Attributes:
        sent: session clock.
        audio: audio time up to which it flushes.
        needs: audio time up to which there was speech when it was sent.
        backlog: seconds of replayed audio that the transcriber has to work through first.
        answered: session clock of the answer; None while it is outstanding.
        short: the answer brought words, and stops before the speech does.
        still: no audio arrives, so that no pause can follow the last word.
    """

    sent: float
    audio: float
    needs: float
    backlog: float = 0.0
    answered: float | None = None
    short: bool = False
    still: bool = False


class Finalizes:
    """The requests of one channel, oldest first."""

    __slots__ = ("_last", "_open")

    def __init__(self) -> None:
        self._open: deque[Request] = deque(maxlen=_MOST)
        self._last: Request | None = None

    @property
    def last(self) -> Request | None:
        """The latest request on this connection, answered or not."""
        return self._last

    def send(self, request: Request) -> None:
        """A Finalize goes out."""
        self._open.append(request)
        self._last = request

    def answer(self, at: float, reach: float, *, empty: bool) -> Request | None:
        """Match an answer to its request.

        Args:
            at: session clock of its arrival.
            reach: audio time up to which its result speaks.
            empty: it brings no words: nothing was left.

        Returns:
            the newest request it settles; None when none is outstanding.
        """
        settled = None
        while self._open and (settled is None or self._settles_next(settled, reach)):
            settled = self._open.popleft()
            settled.answered = at
            settled.short = not empty and reach + _SLACK < settled.needs
        return settled

    def _settles_next(self, settled: Request, reach: float) -> bool:
        """An answer that settled one request settles the next one too, unless it fits the first exactly."""
        following = self._open[0]
        if reach <= settled.audio + _EXACT and following.audio > settled.audio + _SLACK:
            return False
        return following.needs <= reach + _SLACK

    def forget(self) -> None:
        """The connection is gone, and no answer will come any more."""
        self._open.clear()
        self._last = None
