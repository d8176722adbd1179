"""Finalizes under way: each answer is matched to its request.

Providers answer in order, but not always: Deepgram leaves a Finalize unanswered when there was hardly any audio
since the one before. So an answer is matched by the audio it covers, and settles all earlier requests too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hearout_policies.clock import Clock
from hearout_policies.evidence import WORD_SLACK
from hearout_policies.signals import LinkRestored

__all__ = ["Finalizes", "Request"]

_MOST = 8  # requests remembered; the oldest unanswered ones are given up
_SLACK = 0.35  # seconds by which an answer's span may fall short of the speech before its Finalize
_PAUSE = 0.3  # without a VAD: so much audio between the newest word and a Finalize was a pause
_EXACT = 0.1  # seconds by which it may go beyond the audio before its Finalize, when it means just that


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

    def flushes(self, speech: float, *, vad: bool) -> bool:
        """It asks for all of the speech that has reached up to ``speech``, audio time."""
        # Without a VAD, words right up to the moment of the Finalize mean that nobody was silent.
        return speech <= self.audio + (WORD_SLACK if vad or self.still else -_PAUSE)


class Finalizes:
    """The requests of one channel on its connection to the transcriber, oldest first.

    Attributes:
        last: the latest request on this connection, answered or not.
        connected: the transcriber can be reached.
    """

    __slots__ = ("_open", "_replay", "connected", "last")

    def __init__(self) -> None:
        self._open: deque[Request] = deque(maxlen=_MOST)
        self._replay: LinkRestored | None = None
        self.connected = True
        self.last: Request | None = None

    def lost(self) -> None:
        """The connection is gone, and no answer will come any more."""
        self._open.clear()
        self.last = self._replay = None
        self.connected = False

    def restored(self, link: LinkRestored) -> None:
        """A new connection is up, and is fed from the past."""
        self._replay = link
        self.connected = True

    def backlog(self, clock: Clock) -> float:
        """Seconds until the transcriber has worked through the audio replayed to it."""
        if self._replay is None or self._replay.speed is None:
            return 0.0
        return max(0.0, (clock.audio - self._replay.audio) / self._replay.speed - (clock.now - self._replay.at))

    def send(self, clock: Clock, speech_end: float | None, *, still: bool) -> Request:
        """A Finalize goes out.

        Args:
            speech_end: audio time; None: somebody speaks.
            still: no audio arrives.
        """
        audio = clock.audio
        needs = audio if speech_end is None else min(audio, speech_end)
        self.last = Request(clock.now, audio, needs, self.backlog(clock), still=still)
        self._open.append(self.last)
        return self.last

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
