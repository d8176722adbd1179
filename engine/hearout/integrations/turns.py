"""A turn machine that hears what a framework's own transcriber and voice detection say, in asyncio.

The session clock is the loop's, from `OwnTurns.start` on, and audio is taken to arrive as it is spoken: audio time is
session time. So nothing can be heard again after a lost connection, and words have no times but those of the voice
that they are laid over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from hearout.channels import Channels
from hearout.session.controls import TurnControls
from hearout_policies.events import Output, TurnAbandoned, TurnCompleted
from hearout_policies.language import Language
from hearout_policies.marks import spoken
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
from hearout_policies.words import spread

__all__ = ["OwnTurns", "laid"]

_log = logging.getLogger(__name__)

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
        self._over = False
        self._wanted: list[Callable[[float], Signal]] = []  # before the start
        self._voice: list[tuple[float, float | None]] = []  # stretches of speech that no final word lies on yet
        self._final = 0.0  # so far are results final
        self._reach = 0.0  # so far words were laid: behind the end of speech, perhaps, while that was not known
        self._wordless = False  # the last of these had no words when its turn was given up
        self._shown = 0.0  # when it last showed words that are not final
        self._open: tuple[Word, ...] = ()  # words that are not final
        self._settled: tuple[Word, ...] = ()  # those of them that are final, but not told as that
        self._guessed = 0.0  # so far words lie where they may have been spoken
        self._handed: tuple[Word, ...] = ()  # those of them that a turn has which is over
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
        return 0.0 if self._loop is None else self._loop.time() - self._began

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
        if isinstance(output, TurnCompleted) and not output.confirmed and len(self._open) > len(self._handed):
            self._handed = self._open
        elif isinstance(output, TurnAbandoned):
            self._wordless = True
        self._take(output)

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
        if self._loop is not None and self._channels.deadline is not None:
            self._timer = self._loop.call_at(self._began + self._channels.deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        while self._channels.deadline is not None and self._channels.deadline <= self.now:
            self._channels.tick()
        self._look_ahead()

    # What the framework tells

    def voice_started(self, ago: float) -> None:
        """The user began to speak so many seconds ago, as is known now."""
        start = max(0.0, self.now - ago)
        if self.speaking and self._voice and self._voice[-1][1] is None:
            self._voice[-1] = (self._voice[-1][0], start)  # its end was not told: the user was muted
        self.speaking = True
        self._voice = [*(() if self._wordless else self._voice), (start, None)]
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

        Words that come nevertheless are laid behind it, so that they are not taken for what it covers.
        """
        ends = [stop for _, stop in self._voice if stop is not None]
        if not self.speaking and not self._open and ends:
            start, end = min(self._final, ends[-1]), ends[-1]
            self._final = self._reach = max(self._reach, end)
            self.tell(Transcript(self.now, (), start, end, is_final=True, finalized=True))

    def voice_doubtful(self, ago: float, *, ends: bool) -> None:
        """So many seconds ago a sound began that may become speech; or speech may have ended (``ends``)."""
        audio = max(0.0, self.now - ago)
        self.tell((SpeechPaused if ends else SpeechSuspected)(self.now, audio, self.now))

    def interim(self, text: str, words: Sequence[Word] = ()) -> None:
        """The words since the last final result, which may change; ``words`` where they have times."""
        self._show([word.text for word in self._settled] + text.split(), (*self._settled, *words) if words else ())

    def _show(self, texts: Sequence[str], words: Sequence[Word]) -> None:
        words = self._trusted(words)
        self._open = self._place(texts, words, self._voice)
        self._shown = self.now if self._open else self._shown
        self._reach = _end_of(self._open, self._reach)
        self.tell(Transcript(self.now, self._open, self._final, self._reach, is_final=False, timed=bool(words)))

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
        settled, texts = self._settled, text.split()
        words = (*settled, *words) if words else ()
        texts = [word.text for word in settled] + texts
        handed = len(self._handed) if _same(texts, self._handed) else 0
        fresh = " ".join(texts[max(handed, len(settled)) :])
        if (rest := _behind(texts, self._open)) and (handed > len(texts) or not answers):
            # A part of what is open, which stays together: without times nobody could tell the parts apart.
            self._show([*texts, *(word.text for word in rest)], (*words, *rest) if words else ())
            self._settled = self._open[: len(texts)]
            return fresh
        over = [stretch for stretch in self._voice if stretch[1] is not None]
        if self.speaking and self._shown > self._voice[-1][0]:
            over = []  # it is about what is being said now, too, as were the words that it makes final
        words = self._trusted(words)
        placed = self._place(texts, words, over or self._voice)
        ends = [stop for _, stop in over if stop is not None]
        start, self._final = self._final, max(_end_of(placed, self._reach), *ends, 0.0)
        self._reach = self._final
        self._open = self._handed = self._settled = ()
        self._voice = self._voice[-1:] if self.speaking else []
        self.tell(Transcript(self.now, placed, start, self._final, is_final=True, finalized=answers, timed=bool(words)))
        return fresh

    def endpoint(self) -> None:
        """The transcriber hears an end of speech behind its final words."""
        self.tell(Transcript(self.now, (), self._final, self._final, is_final=True, endpoint=True))

    def provider_turn(self, kind: Literal["started", "eager_end", "resumed", "ended"]) -> None:
        """The transcriber's own turn detection says something."""
        if kind == "ended":
            self.endpoint()
        self.tell(ProviderTurn(self.now, kind, self.now))

    def _place(
        self, texts: Sequence[str], timed: Sequence[Word], voice: Sequence[tuple[float, float | None]]
    ) -> tuple[Word, ...]:
        """Its words where they were spoken, as far as that is known; those of turns that are over where they were."""
        handed = self._handed if _same(texts, self._handed) else ()
        before = _renamed(handed, texts)
        if timed:
            return before + tuple(timed[len(before) :])
        rest = texts[len(before) :]
        after = _end_of(handed, self._final)
        stretches = [(max(start, after), self.now if stop is None else stop) for start, stop in voice]
        stretches = [(start, stop) for start, stop in stretches if stop > start]
        if not stretches:
            begin = max(after, self.now - _PACE * len(rest))
            stretches = [(begin, max(self.now, begin))]
        placed = before + laid(rest, stretches)
        self._guessed = _end_of(placed, self._guessed)
        return placed

    def _trusted(self, words: Sequence[Word]) -> Sequence[Word]:
        """Words with their times, unless some before them, or they themselves, were laid where they are not."""
        return () if words and words[0].start < self._guessed else words


def _warn(policy: Policy) -> None:
    if policy.only_speaker is not None:
        _log.warning("only_speaker has no effect: a framework's transcriber does not tell voices apart")


def _end_of(words: Sequence[Word], otherwise: float) -> float:
    return max(otherwise, words[-1].end) if words else otherwise


def _renamed(words: Sequence[Word], texts: Sequence[str]) -> tuple[Word, ...]:
    """The first ``words``, as they are written now."""
    return tuple(replace(word, text=new) for word, new in zip(words, texts, strict=False))


def _same(texts: Sequence[str], words: Sequence[Word]) -> bool:
    """One begins with the other: most of the words that both have are the same but for marks and capitals."""
    pairs = list(zip(texts, words, strict=False))
    equal = sum(spoken(text) == spoken(word.text) for text, word in pairs)
    return 2 * equal >= len(pairs) > 0


def _behind(texts: Sequence[str], words: Sequence[Word]) -> tuple[Word, ...]:
    """What is left of ``words`` behind ``texts``, if they begin with them, each the same."""
    head = " ".join(word.text for word in words[: len(texts)])
    return tuple(words[len(texts) :]) if texts and spoken(" ".join(texts)) == spoken(head) else ()


def laid(texts: Sequence[str], stretches: Sequence[tuple[float, float]]) -> tuple[Word, ...]:
    """Words laid evenly over stretches of speech, each word within one; seconds, in order."""
    total = sum(stop - start for start, stop in stretches)
    words: list[Word] = []
    done = 0.0
    for number, (start, stop) in enumerate(stretches):
        done += stop - start
        last = number == len(stretches) - 1
        until = len(texts) if last else round(len(texts) * done / total) if total else len(texts)
        words += spread(texts[len(words) : until], start, stop)
    return tuple(words)
