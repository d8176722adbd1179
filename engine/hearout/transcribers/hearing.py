"""From one message of a transcriber to what is new in it: the one way of a live session, a replay and a listing.

Pure. A message goes through the dialect (what it means), the origin of its connection and the provider's clock (where
in the session's audio), and the coverage (what of it was not said before).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hearout.transcribers.base import Dialect, Heard, ProviderNews, WireMessage, tells_progress
from hearout.transcribers.clock import ProviderClock, position_of, silence_of
from hearout.transcribers.coverage import Coverage
from hearout.transcribers.decoding import apply_options
from hearout_policies.signals import Signal, Transcript
from hearout_policies.words import respread

__all__ = ["Hearing", "Missed"]

_LATE = 0.3  # seconds from audio to the result that speaks of it; ElevenLabs: "ultra-low latency", 0.15 and the way
_PACE = 0.3  # seconds a word; people speak 150 to 200 in a minute
_ROUNDING = 0.01  # seconds
_MOST = 64  # requests without an answer that are known; a provider leaves none


@dataclass(frozen=True, slots=True)
class Missed:
    """A final result was in a message that could not be read: no other covers this span of audio.

    Attributes:
        start, end: audio time of the session.
        again: nothing behind it was taken in, so that another connection can be fed from its start. Once for a span.
    """

    start: float
    end: float
    again: bool


class Hearing:
    """What a transcriber has said, on one connection after another.

    Attributes:
        coverage: how far its final results reach.
        unread: a message of this connection could not be read.
    """

    def __init__(self, dialect: Dialect, *, can_repeat: bool = False) -> None:
        """Nothing can be heard before `begin`.

        Args:
            dialect: reads the messages; of its own, as it may remember what it has read.
            can_repeat: what was `Missed` can be asked for again. Else it is passed over.
        """
        self.coverage = Coverage(dialect.channels)
        self.unread = False
        self._dialect = dialect
        self._can_repeat = can_repeat
        self._clock = ProviderClock()
        self._origin = 0.0  # audio time that is the provider's 0
        self._missed: tuple[float, float] | None = None
        self._asked: deque[float] = deque(maxlen=_MOST)
        self._position = math.inf  # audio time up to which audio was sent, as a trace says
        self._tells_progress = tells_progress(dialect)
        self._said = [0.0] * dialect.channels  # so far reach final words that were laid out
        self._laid = 0.0  # audio time up to which words without times were laid out

    def begin(self, origin: float) -> Sequence[WireMessage]:
        """A connection begins, which is fed from audio time ``origin`` on; what to send it first."""
        self._origin = origin
        self._asked.clear()
        self._said = [origin] * len(self._said)
        self._laid = 0.0
        self.unread = False
        self._clock.restart()
        self.coverage.restart(origin)
        return self._dialect.opening()

    def sent(self, message: Mapping[str, Any]) -> None:
        """What a trace says was sent: silence, options and how far audio was matter here, all else does not.

        Raises:
            ValueError: options that the dialect does not have.
        """
        if (silence := silence_of(message)) is not None:
            self.insert_silence(*silence)
        elif (position := position_of(message)) is not None:
            self._position = position
        else:
            apply_options(self._dialect, message)

    def insert_silence(self, audio: float, seconds: float) -> None:
        """Silence that nobody recorded is sent behind all audio before ``audio``."""
        self._clock.insert(audio, seconds)

    def asked(self, audio: float) -> None:
        """Final results of all audio up to ``audio`` are asked for."""
        if not self._tells_progress:
            self._asked.append(audio)

    def quiet(self, since: float, until: float) -> bool:
        """Nobody has spoken from ``since`` to ``until``; does that cover audio that the provider says nothing of?"""
        coverage = self.coverage
        if self._tells_progress or not coverage.finished or not since - _ROUNDING <= coverage.until < until:
            return False
        for channel in range(self._dialect.channels):
            coverage.cover(channel, until)
        return True

    def hear(self, message: WireMessage, at: float, sent: float) -> list[ProviderNews | Missed]:
        """What is new in ``message``, in the order in which it is to be handled; signals in audio time of the session.

        Args:
            message: exactly as received.
            at: session clock of its arrival.
            sent: audio time up to which audio was sent.

        Raises:
            ValueError: it is no message of this provider.
        """
        try:
            decoded = self._dialect.decode(message, at, self._origin)
        except ValueError:
            self.unread = True
            raise
        news: list[ProviderNews | Missed] = []
        for item in decoded:
            if not isinstance(item, Heard):
                news.append(item)
                continue
            signal = self._clock.place(item.signal)
            if not self._tells_progress:
                by = (at if item.by is None else item.by) - _LATE
                signal = self._laid_out(item.channel, signal, min(sent, self._position, by))
            if self.unread and self._can_repeat and (gap := self.coverage.gap(item.channel, signal)) is not None:
                again, self._missed = gap != self._missed, gap
                news.append(Missed(*gap, again))
                if again:
                    break
            if (new := self.coverage.admit(item.channel, signal, sent)) is not None:
                new = new if self._tells_progress else self._outreach(new)
                news.append(item if new is item.signal else Heard(item.channel, new))
            if isinstance(signal, Transcript) and signal.finalized and self._asked:
                self.coverage.cover(item.channel, self._asked.popleft())
        return news

    def _laid_out(self, channel: int, signal: Signal, heard: float) -> Signal:
        """Words without times that have an empty span were said last in what was ``heard``, behind all before them."""
        if not isinstance(signal, Transcript) or signal.timed or signal.end > signal.start:
            return signal
        first = max(signal.start, self._said[channel])
        end = max(first, heard)
        words = respread(signal.words, max(first, end - _PACE * len(signal.words)), end)
        if signal.is_final:
            self._said[channel] = end
        return replace(signal, words=words, start=first, end=end)

    def _outreach(self, signal: Signal) -> Signal:
        """Final words take the place of those without times before them, which may have been laid out too late."""
        if not isinstance(signal, Transcript) or not signal.words:
            return signal
        if not signal.is_final:
            self._laid = signal.end
        timed = signal.is_final and signal.timed
        return replace(signal, end=max(signal.end, self._laid)) if timed else signal
