"""A turn machine that hears what a framework's own transcriber and voice detection say, in asyncio.

The session clock is the loop's, from `OwnTurns.start` on, and audio is taken to arrive as it is spoken: audio time is
session time. So nothing can be heard again after a lost connection, and words have no times but those of the voice
that they are laid over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

from hearout.channels import Channels
from hearout.integrations.placing import alike, begins_with, behind, laid, moved, standing_for
from hearout.session.controls import TurnControls
from hearout_policies.events import Output, TurnAbandoned, TurnCompleted, TurnUpdated
from hearout_policies.language import Language
from hearout_policies.policy import Policy
from hearout_policies.signals import (
    PolicyChanged,
    ProviderTurn,
    Signal,
    SpeechPaused,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Transcript,
    Word,
)
from hearout_policies.words import reach

__all__ = ["OwnTurns"]

_log = logging.getLogger(__name__)

_LATE = 3.0  # seconds behind the end of a turn in which a result may still be about its words, and not the next ones
_MOST = 32  # stretches of speech over which one segment is laid; the ledger waits for as many turns
_LEAST = 0.001  # seconds of audio behind a turn that is over: words that take none are that turn's
_PACE = 0.35  # seconds a word takes where no voice was heard: some 170 words a minute


class OwnTurns(TurnControls):
    """The machine of one user.

    Args:
        policy: as in `hearout.open_session`.
        take: is given what the machine says, in order. It must not call back.

    Attributes:
        speaking: the voice detection hears the user.
        patience: seconds from the end of speech in which the last words come, if any do; None: not known.
    """

    def __init__(self, policy: Policy, take: Callable[[Output], object]) -> None:
        self.speaking = False
        self.patience: float | None = None
        self._policy = policy
        _warn(policy)
        self._channels = Channels(policy, 1, self._decided)
        self._take = take
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._rung = 0.0  # for when the timer was set that has gone off, which the loop's clock may miss by a rounding
        self._over = False
        self._wanted: list[Callable[[float], Signal]] = []  # before the start
        self._voice: list[tuple[float, float | None]] = []  # stretches of speech that no final word lies on yet
        self._final = 0.0  # so far are results final
        self._told = 0.0  # so far reach the words that came final with times
        self._reach = 0.0  # so far words were laid: behind the end of speech, perhaps, while that was not known
        self._assumed = 0.0  # up to here results were taken to be final, but are not
        self._wordless = False  # the last of these had no words when its turn was given up
        self._worded = False  # the turn has words
        self._shown = 0.0  # when it last showed words that are not final
        self._open: tuple[Word, ...] = ()  # words that are not final
        self._settled: tuple[Word, ...] = ()  # those of them that are final, but not told as that
        self._guessed = 0.0  # so far words lie where they may have been spoken
        self._handed: tuple[Word, ...] = ()  # those of them that turns have which are over
        self._dated = False  # these have times of their own
        self._dropped = (0, 0)  # those from here to there were cleared
        self._ended = 0.0  # so far words belong to the last turn that is over
        self._over_at = 0.0  # when the last of the handed was over
        self._alive_at = 0.0  # then, or when a result last showed all of them: the transcriber has not let go of them
        self._spoke_on = False  # a voice was heard then
        self._onset: float | None = None  # of the first voice that was heard since then
        self._heard = False  # there is a voice detection
        self._last: asyncio.TimerHandle | None = None  # no further words are expected then
        self._flags = False  # this transcriber says which of its results is the last of a flush

    @property
    def _language(self) -> str | Language | None:
        return self._policy.language

    def start(self) -> None:
        """The user can be heard from now on."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._began = self._loop.time()
            for signal in self._wanted:
                self.tell(signal(0.0))
            self._wanted.clear()

    def stop(self) -> None:
        """Nothing is heard and decided any more."""
        self._over = True
        for timer in (self._timer, self._last):
            if timer is not None:
                timer.cancel()
        self._loop = self._timer = self._last = None

    @property
    def now(self) -> float:
        """The session clock."""
        return 0.0 if self._loop is None else max(self._loop.time() - self._began, self._rung)

    @property
    def heard(self) -> float:
        """Seconds of audio: as many as of the session."""
        return self.now

    def _tell(self, channel: int | None, signal: Callable[[float], Signal], **record: Any) -> None:
        if self._loop is None and not self._over:
            self._wanted.append(signal)
        else:
            self.tell(signal(self.now))

    def _decided(self, output: Output) -> None:
        match output:
            case TurnUpdated():
                self._worded = self._worded or bool(output.text)
            case TurnCompleted():
                self._worded, self._ended = False, self.now
                self._final = max(self._final, self._assumed)  # what comes for it now would be lost: it is the next's
                self._reach = max(self._reach, self._final)
                if not output.confirmed and len(self._open) > len(self._handed):
                    self._hand()
            case TurnAbandoned(reason="cleared"):
                self._worded = False
                self._dropped = len(self._handed), len(self._open)
                self._hand()
            case TurnAbandoned():
                self._worded, self._wordless = False, True
        self._take(output)

    def _hand(self) -> None:
        """A turn is over that has what is open."""
        self._handed, self._onset, self._spoke_on = self._open, None, self.speaking
        self._over_at = self._alive_at = self.now
        self._dated = bool(self._open) and self._open[0].start >= self._guessed

    def tell(self, signal: Signal) -> None:
        """Something happened just now.

        Raises:
            Exception: a rule of the application has failed.
        """
        if isinstance(signal, PolicyChanged):
            _warn(signal.policy)
        if not self._over:
            self._channels.tell(0, signal)
            self._look_ahead()

    def _look_ahead(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (failure := self._channels.failure) is not None:
            raise failure
        if self._loop is not None and (deadline := self._channels.deadline) is not None:
            self._timer = self._loop.call_at(self._began + deadline, self._due, deadline)

    def _due(self, at: float) -> None:
        self._timer = None
        self._rung = at
        while self._channels.deadline is not None and self._channels.deadline <= self.now:
            self._channels.tick()
        self._look_ahead()

    # What the framework tells

    def voice_started(self, ago: float) -> None:
        """The user began to speak so many seconds ago, as is known now."""
        start = max(0.0, self.now - ago)
        self._heard, self._onset = True, start if self._onset is None else self._onset
        if self.speaking and self._voice and self._voice[-1][1] is None:
            self._voice[-1] = (self._voice[-1][0], start)  # its end was not told: the user was muted
        self.speaking = True
        before = [] if self._wordless else self._voice
        start = max([start, *(stop for _, stop in before[-1:] if stop is not None)])
        self._ended = min(self._ended, start)
        self._voice = [*before[-_MOST:], (start, None)]
        self._wordless = False
        self.tell(SpeechStarted(self.now, start, self.now))

    def voice_stopped(self, ago: float) -> None:
        """The user ceased to speak so many seconds ago, as is known now."""
        end = max(0.0, self.now - ago)
        self.speaking = False
        if self._voice and self._voice[-1][1] is None:
            self._voice[-1] = (self._voice[-1][0], max(end, self._voice[-1][0]))
        self.tell(SpeechStopped(self.now, end, self.now))
        if self.patience is not None and self._loop is not None:
            if self._last is not None:
                self._last.cancel()
            self._last = self._loop.call_later(max(0.0, self.patience - ago), self._all_said)

    def _all_said(self) -> None:
        """All words are final, and the time has passed in which others would have come: that is an answer, too.

        Where there are none yet, the transcriber is late, and what comes was said where the voice was.
        """
        ends = [stop for _, stop in self._voice if stop is not None]
        if not self.speaking and self._worded and not self._open and ends:
            start, end = min(self._final, ends[-1]), ends[-1]
            self._assumed = self.now
            self.tell(Transcript(self.now, (), start, end, is_final=True, finalized=True))

    def voice_doubtful(self, ago: float, *, ends: bool) -> None:
        """So many seconds ago a sound began that may become speech; or speech may have ended (``ends``)."""
        audio = max(0.0, self.now - ago)
        self.tell((SpeechPaused if ends else SpeechSuspected)(self.now, audio, self.now))

    def interim(self, text: str, words: Sequence[Word] = ()) -> None:
        """The words since the last final result, which may change; ``words`` where they have times.

        One without words takes none back: the final result will tell.
        """
        if text.split():
            texts, words, known = self._joined(text, words)
            self._show(texts, words, known)

    def _joined(self, text: str, words: Sequence[Word]) -> tuple[list[str], Sequence[Word], int]:
        """A result behind what is settled; and how many of its words stand for what turns have that are over."""
        texts, settled = [word.text for word in words] or text.split(), len(self._settled)
        known = settled
        if len(self._handed) > settled:
            if words and self._dated:
                stand = sum(word.start < self._handed[-1].end for word in words)
            else:
                stand = self._standing_for(texts, self._handed[settled:])
            known = settled + stand if stand else 0
            if known == len(self._handed):
                self._alive_at = self.now
        if self._handed and not known:
            self._leave()
        texts = [*(word.text for word in self._settled), *texts]
        return texts, (*self._settled, *words) if words else (), known if self._handed else 0

    def _show(self, texts: Sequence[str], words: Sequence[Word], known: int) -> None:
        words = self._trusted(words, known)
        # An interim result is not believed where results are final.
        self._open = self._place(texts, known, words, self._voice, self._assumed)
        self._shown = self.now if self._open else self._shown
        self._reach = reach(self._open, self._reach)
        kept, start = self._kept(self._open), self._final if words else max(self._final, self._assumed)
        self.tell(Transcript(self.now, kept, start, self._reach, is_final=False, timed=bool(words)))

    def _kept(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """Without those that were cleared."""
        begin, end = self._dropped
        return words[:begin] + words[end:]

    def final(self, text: str, words: Sequence[Word] = (), *, finalized: bool) -> str:
        """Words that will not change.

        Args:
            words: where they have times; on the session clock.
            finalized: the transcriber says that this is all it had. One that never says so has said all when the user
                is silent and none of its words is open.

        Returns:
            what of ``text`` no turn has had yet, which is over.
        """
        self._flags = self._flags or finalized
        answers = finalized or (not self._flags and not self.speaking)
        texts, words, known = self._joined(text, words)
        fresh = " ".join(texts[max(known, len(self._settled)) :])
        rest = () if finalized else behind(texts, self._open)
        if rest and (len(self._handed) > len(texts) or not answers):
            # A part of what is open, which stays together: without times nobody could tell the parts apart.
            whole = [*texts, *(word.text for word in rest)]
            self._show(whole, (*words, *rest) if words else (), len(self._handed))
            self._settled = self._open[: len(texts)]
            return fresh
        over = [stretch for stretch in self._voice if stretch[1] is not None]
        if self.speaking and self._shown > self._voice[-1][0]:
            over = []  # it is about what is being said now, too, as were the words that it makes final
        words = self._trusted(words, known)
        begin = self._final if words or not self._open else max(self._final, self._assumed)
        placed = self._place(texts, known, words, over or self._voice, begin)
        ends = [stop for _, stop in over if stop is not None]
        self._told = reach(words, self._told)
        self._final = max(reach(placed, self._reach), *ends, 0.0)
        self._reach, self._assumed = self._final, 0.0
        kept = self._kept(placed)
        self._forget()
        self._voice = self._voice[-1:] if self.speaking else []
        self.tell(Transcript(self.now, kept, begin, self._final, is_final=True, finalized=answers, timed=bool(words)))
        return fresh

    def _forget(self) -> None:
        self._open = self._handed = self._settled = ()
        self._dropped = (0, 0)

    def _standing_for(self, texts: Sequence[str], handed: Sequence[Word]) -> int:
        """How many of a result's words stand for those of turns that are over; 0: it is about something else.

        A voice that was heard since may have said the same words again, or others, while those before were never made
        final: some transcribers drop what proves to be nothing.
        """
        if self._heard and self._onset is None and not self._spoke_on:
            return standing_for(texts, handed)  # nobody has said anything since
        if len(self._open) > len(self._handed) and alike(texts, self._open[len(self._settled) :]):
            return standing_for(texts, handed)  # it went on with what was said since
        soon = self.now <= self._alive_at + _LATE
        if begins_with(texts, handed[: len(texts)]) and (len(texts) > len(handed) or soon or self._onset is None):
            return min(len(texts), len(handed))
        return standing_for(texts, handed) if soon and alike(texts, handed) else 0

    def _leave(self) -> None:
        """What is open is not what the results are about any more, and will not be made final."""
        onset = self._over_at if self._onset is None else self._onset
        if self._settled:
            self.tell(Transcript(self.now, self._kept(self._settled), self._final, self._reach, is_final=True))
        self._voice = [(start, stop) for start, stop in self._voice if start >= onset or stop is None]
        self._final = self._reach = max(self._reach, onset)
        self._forget()

    def endpoint(self) -> None:
        """The transcriber hears an end of speech behind its final words."""
        self.tell(Transcript(self.now, (), self._final, self._final, is_final=True, endpoint=True))

    def provider_turn(self, kind: Literal["started", "eager_end", "resumed", "ended"]) -> None:
        """The transcriber's own turn detection says something."""
        if kind == "ended":
            self.endpoint()
        self.tell(ProviderTurn(self.now, kind, self.now))

    def _place(
        self,
        texts: Sequence[str],
        known: int,
        timed: Sequence[Word],
        voice: Sequence[tuple[float, float | None]],
        after: float = 0.0,
    ) -> tuple[Word, ...]:
        """Its words where they were spoken, as far as that is known; those of turns that are over where they were."""
        handed = self._handed if known < len(texts) else self._handed[:known]
        before = moved(handed, texts[:known])
        if timed:
            return before + tuple(timed[known:])
        after = max(after, reach(self._handed if known else (), max(self._final, self._ended)))
        stretches = [(max(start, after), self.now if stop is None else stop) for start, stop in voice]
        stretches = [(start, stop) for start, stop in stretches if stop > start]
        if not stretches:
            begin = max(after, self.now - _PACE * len(texts[known:]))
            stretches = [(begin, max(self.now, begin + _LEAST))]
        placed = before + laid(texts[known:], stretches)
        self._guessed = reach(placed, self._guessed)
        return placed

    def _trusted(self, words: Sequence[Word], known: int) -> Sequence[Word]:
        """Words with their times, unless some before them, or they themselves, were laid where they are not.

        New words in the time of a turn that is over would only correct it, of which no framework can be told; those of
        a time that words came final for are told twice.
        """
        start = words[known].start if known < len(words) else self._ended
        behind_it = self._told <= start < self._ended
        return () if words and (words[0].start < self._guessed or behind_it) else words


def _warn(policy: Policy) -> None:
    if policy.only_speaker is not None:
        _log.warning("only_speaker has no effect: a framework's transcriber does not tell voices apart")
