"""Conformance kit for policies and rules: the promises of hearout, checked.

`Promises` watches one `TurnMachine` and raises AssertionError when a promise is broken. `check_policy` and
`check_rule` run it over arbitrary signal sequences, as trio's ``check_one_way_stream`` does for streams; they
need hypothesis (``pip install 'hearout[testing]'``).

The promises, in the order of the attributes that hold their evidence: conservation of words, exactly one end per
turn, liveness, no cut-in by stale news, no ghost turns, determinism.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from hearout_policies.events import (
    Finalize,
    Output,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
)
from hearout_policies.machine import TurnMachine
from hearout_policies.marks import has_word, spoken
from hearout_policies.policy import Policy
from hearout_policies.rules import Rule
from hearout_policies.signals import (
    AgentSpeech,
    AppCommand,
    AudioStalled,
    EndOfAudio,
    LinkLost,
    LinkRestored,
    PolicyChanged,
    ProviderSpeechStarted,
    ProviderTurn,
    Signal,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Tick,
    Transcript,
    UtteranceEnd,
    Word,
)
from hearout_policies.speakers import Speakers
from hearout_policies.words import is_same_audio, join, middle, reach

__all__ = ["Promises", "check_policy", "check_rule", "random_signals", "signal_lists"]


class Promises:
    """A turn machine under watch: use it in place of the machine.

    Args:
        policy: the policy to run.

    Raises:
        AssertionError: from any method, when a promise is broken.
    """

    def __init__(self, policy: Policy) -> None:
        self.machine = TurnMachine(policy)
        self.policy = self._first = policy  # that may change
        self.log: list[Signal] = []
        self.outputs: list[Output] = []
        self._final_words: Counter[Word] = Counter()
        self._said_again: set[Word] = set()
        self._delivered: set[tuple[Word, ...]] = set()
        self._cleared = self._covered = self._repeated = self._last_sign = -math.inf
        self._open: int | None = None
        self._turns, self._speakers = 0, Speakers()
        self._texts: dict[int, tuple[Word, ...]] = {}
        self._predicted: str | None = None
        self._speaking = self._held = self._asked_since_news = False
        self._opened = self._speech_start = 0.0

    @property
    def deadline(self) -> float | None:
        """As of the machine."""
        return self.machine.deadline

    def handle(self, signal: Signal) -> list[Output]:
        """As of the machine, and check what comes out. What was due before ``signal`` is ticked first."""
        outputs: list[Output] = []
        while self.machine.deadline is not None and self.machine.deadline < signal.at:
            outputs += self._handle(Tick(self.machine.deadline))
        self.log.append(signal)
        return outputs + self._handle(signal)

    def _handle(self, signal: Signal) -> list[Output]:
        due = self.machine.deadline
        outputs = self._suspect(signal) if isinstance(signal, SpeechSuspected) else self.machine.handle(signal)
        self.outputs += outputs
        self._expect(self._speakers.hear(signal, self.policy.only_speaker))
        for output in outputs:
            self._check_output(output)
        after = self.machine.deadline
        assert after is None or after > signal.at, f"deadline {after} is not after {signal.at}"
        if due is None or due > signal.at:
            self._check_stale(signal, outputs)
        self._check_marks(signal, outputs)
        self._check_liveness()
        return outputs

    def _suspect(self, signal: SpeechSuspected) -> list[Output]:
        """A suspicion may put something off; it opens, changes and ends nothing."""
        untold = copy.deepcopy(self.machine, {id(self.policy): self.policy})
        outputs = self.machine.handle(signal)
        anyway = untold.handle(Tick(signal.at))
        assert all(output in anyway for output in outputs), "a suspicion does what the mere time would not"
        return outputs

    def settle(self) -> list[Output]:
        """Let time pass until nothing is due any more; then check that no word is lost or doubled."""
        outputs: list[Output] = []
        ticks = 0
        while self.machine.deadline is not None:
            ticks += 1
            assert ticks < 50, "the machine asks for ticks without end"
            outputs += self.handle(Tick(self.machine.deadline))
        assert self._open is None, f"turn {self._open} stays open although nothing is due"
        self._check_conservation()
        return outputs

    def check_determinism(self) -> None:
        """The same signals give the same outputs, also to a caller who is late with all ticks."""
        again = TurnMachine(self._first)
        assert [output for signal in self.log for output in again.handle(signal)] == self.outputs

    # What must come out ----------------------------------------------------------------------------------------

    def _expect(self, signal: Signal) -> None:
        match signal:
            case Transcript(is_final=True, words=words) if words and words not in self._delivered:
                if signal.end > signal.start:
                    self._delivered.add(words)
                said_before = max(self._cleared, self._repeated)
                fresh = [w for w in words if middle(w) >= said_before and has_word(w.text)]
                # What a later final result says again it may replace.
                span = [old for old in self._final_words if signal.start <= middle(old) < reach(words, signal.end)]
                if any(is_same_audio(old, word) for old in span for word in words):
                    self._said_again.update(span)
                # Words that have no times of their own may be laid out anew, and are known by their text alone.
                self._final_words.update(fresh if signal.timed else [Word(w.text, -1, -1) for w in fresh])
            case LinkRestored():
                # A replay may say again what was final before; where that ends is known by audio time alone.
                self._repeated = self._covered
            case AppCommand(kind="clear"):
                # Words spoken before this are dropped, whether they were heard yet or come late. Audio time may be a
                # little ahead of the session clock, so of words right after it nothing is asked either.
                self._cleared = signal.at + 1.0
                self._final_words.clear()
                self._texts.clear()
            case AppCommand(kind="hold"):
                self._held = True
            case AppCommand(kind="release"):
                self._held = False
            case SpeechStarted(audio=audio):
                self._speech_start = self._speech_start if self._speaking else min(audio, signal.at)
                self._speaking = True
            case SpeechStopped() | AudioStalled() | EndOfAudio():
                self._speaking = False
            case PolicyChanged(policy=policy):
                self.policy = policy
        if isinstance(signal, Transcript) and signal.is_final:
            self._covered = max([self._covered, signal.end, *(w.end for w in signal.words)])
        if not isinstance(signal, (Tick, SpeechSuspected)):
            self._last_sign = signal.at
            self._asked_since_news = False

    def _check_output(self, output: Output) -> None:
        match output:
            case TurnStarted():
                assert self._open is None, f"turn {output.turn} started inside turn {self._open}"
                assert output.turn == self._turns + 1, "turns are numbered one after the other"
                self._turns = self._open = output.turn
                self._predicted = None
                self._opened = output.at
            case TurnUpdated():
                assert self._open == output.turn
            case TurnPredicted():
                assert self._open == output.turn
                assert self._predicted is None, "predicted twice without a resume"
                self._predicted = output.text
            case TurnResumed():
                assert self._open == output.turn
                assert self._predicted is not None, "resumed without a prediction"
                self._predicted = None
            case TurnCompleted():
                assert self._open == output.turn, "completed a turn that is not open"
                assert output.text == join(output.words)
                assert has_word(output.text), "a completed turn has words"
                predicted = output.text if self._predicted is None else self._predicted
                assert spoken(predicted) == spoken(output.text), "completed other words than predicted"
                assert list(output.words) == sorted(output.words, key=lambda w: w.start) or not output.confirmed
                self._open = None
                self._texts[output.turn] = output.words
            case TurnAbandoned():
                assert self._open == output.turn, "abandoned a turn that is not open"
                self._open = None
            case TurnAmended():
                assert output.turn in self._texts or self._cleared > -math.inf, "amended a turn that never completed"
                assert output.text == join(output.words)
                self._texts[output.turn] = output.words
            case Finalize():
                assert not self._asked_since_news, "a Finalize without anything new since the last one"
                self._asked_since_news = True

    def _check_stale(self, signal: Signal, outputs: Iterable[Output]) -> None:
        """A message about audio before the current speech completes nothing by itself."""
        # An agent's end is not: it tells a "yes" from an "uh-huh".
        stale = isinstance(signal, (ProviderSpeechStarted, SpeechStarted)) or signal == AgentSpeech(
            signal.at, "started"
        )
        if isinstance(signal, Transcript) and not (signal.is_final or signal.endpoint or signal.finalized):
            # One that has listened to much of the speech, and found no word in it, tells that it is noise.
            stale = signal.end < self._speech_start + _NOISE
        if stale and self.policy.rules:
            started = {o.turn for o in outputs if isinstance(o, TurnStarted)}
            done = [o for o in outputs if isinstance(o, TurnCompleted) and o.turn not in started]
            assert not done or not self._speaking, f"{type(signal).__name__} ended a turn while its user speaks"

    def _check_marks(self, signal: Signal, outputs: Iterable[Output]) -> None:
        """Marks alone open nothing."""
        if isinstance(signal, Transcript) and not any(has_word(word.text) for word in signal.words):
            kinds = {type(output) for output in outputs}
            assert TurnStarted not in kinds or TurnCompleted in kinds, "a result without a word opened a turn"

    def _check_liveness(self) -> None:
        if self._open is None:
            return
        due = self.machine.deadline
        assert due is not None, "an open turn with no deadline"
        longest = self._opened + self.policy.max_turn
        if not self._speaking and not self._held:
            longest = min(longest, self._last_sign + self.policy.max_silence)
        assert due <= longest + 1e-6, f"open turn {self._open} may last beyond {longest}"

    def _check_conservation(self) -> None:
        have = Counter(word for words in self._texts.values() for word in words)
        texts = Counter(word.text for words in self._texts.values() for word in words)
        received = Counter(word.text for word in self._final_words.elements())
        for word, count in self._final_words.items():
            told = have[word] if word.start >= 0 else texts[word.text] - received[word.text] + count
            if told < count and (word in self._said_again or self._is_told_alike(word)):
                continue
            assert told == count, f"{word} was received {count} times, and told {told} times"

    def _is_told_alike(self, word: Word) -> bool:
        """It came late, in another form than was told: that is no news."""
        turns = (words for words in self._texts.values() if any(is_same_audio(told, word) for told in words))
        return any(spoken(word.text) in spoken(join(words)) for words in turns)


# What a step can be; the commonest twice.
_KINDS = (
    *("start", "stop", "interim", "interim", "final", "final", "again", "formatted", "utterance_end", "tick", "tick"),
    *("maybe", "provider_start", "provider_turn", "link", "stall", "agent", "app", "end"),
)


_GAPS = (0.0, 0.02, 0.1, 0.25, 0.5, 1.0, 1.3, 3.0, 20.0)  # seconds between two signals
_NOISE = 2.0  # seconds of "speech" without a word that are noise: `FinalizeOnSilence.noise_observed`
_LAGS = (0.0, 0.05, 0.1, 0.3, 0.8, 2.0, -0.1, 15.0)  # seconds by which audio times lag behind


def random_signals(rng: random.Random, count: int) -> list[Signal]:
    """As `signal_lists`, for whoever has no use for hypothesis: ``count`` steps drawn from ``rng``."""
    flags = (False, True)
    return _signals(
        [
            *zip(
                *(rng.choices(choice, k=count) for choice in (_KINDS, _GAPS, _LAGS, range(5), flags, flags, range(6))),
                strict=True,
            )
        ]
    )


def signal_lists(max_size: int = 60) -> Any:
    """A hypothesis strategy: sequences of signals such as hostile providers, rooms and applications make.

    Times run forward; audio times lie around the session clock, at times far off; results overlap, come late,
    twice, or with times that are wrong.
    """
    from hypothesis import strategies as st

    choices = (_KINDS, _GAPS, _LAGS)
    step = st.tuples(*map(st.sampled_from, choices), st.integers(0, 4), st.booleans(), st.booleans(), st.integers(0, 5))
    return st.lists(step, max_size=max_size).map(_signals)


def _signals(steps: list[tuple[str, float, float, int, bool, bool, int]]) -> list[Signal]:
    """Turn drawn steps into signals; every word is unique, so that none can be mistaken for another."""
    at, number, link = 5.0, 0, True
    final: Transcript | None = None
    signals: list[Signal] = []
    for kind, gap, lag, count, flag, other, choice in steps:
        at = round(at + gap, 3)
        audio = max(0.0, round(at - lag, 3))
        match kind:
            case "start":
                signals.append(SpeechStarted(at, audio, at if flag else audio))
            case "stop":
                signals.append(SpeechStopped(at, audio, at if flag else audio))
            case "maybe":
                signals.append(SpeechSuspected(at, audio, at if flag else audio))
            case "interim" | "final":
                words = []
                for i in range(count):
                    number += 1
                    begin = max(0.0, round(audio - 0.3 * (count - i), 3))
                    text = "." if choice == 2 or (choice == 3 and other and i == count - 1) else f"w{number}"
                    words.append(Word(text, begin, begin + 0.25, spaced=text != "."))
                span = (max(0.0, audio - 0.3 * count - 0.2), audio + (0.2 if other else 0.0))
                result = Transcript(at, tuple(words), *span, kind == "final", flag and kind == "final", choice == 1)
                signals.append(result)
                final = result if kind == "final" else final
            case "again" if final:
                signals.append(dataclasses.replace(final, at=at))
            case "formatted" if final:
                again = []
                for word in final.words:
                    number += 1
                    again.append(dataclasses.replace(word, text=f"W{number}"))
                final = dataclasses.replace(final, at=at, words=tuple(again))
                signals.append(final)
            case "utterance_end":
                signals.append(UtteranceEnd(at, None if flag else audio))
            case "provider_start":
                signals.append(ProviderSpeechStarted(at, audio))
            case "provider_turn":
                provider_kinds = ("started", "eager_end", "resumed", "ended")
                signals.append(ProviderTurn(at, provider_kinds[choice % 4], audio))  # type: ignore[arg-type]
            case "link":
                signals.append(LinkLost(at) if link else LinkRestored(at, audio))
                link = not link
            case "stall":
                signals.append(AudioStalled(at, audio if flag else at))
            case "agent":
                signals.append(AgentSpeech(at, "started" if flag else "stopped"))
            case "app":
                command = ("force_end", "hold", "release", "clear", "release", "force_end")[choice]
                signals.append(AppCommand(at, command))  # type: ignore[arg-type]
            case "end":
                signals.append(EndOfAudio(at))
            case _:
                signals.append(Tick(at))
    return signals


def check_policy(policy: Policy, *, max_examples: int | None = None) -> None:
    """Run the promises against ``policy`` over arbitrary signal sequences.

    Args:
        max_examples: how many; None: as many as hypothesis's profile says.

    Raises:
        AssertionError: a promise is broken; hypothesis shows the shortest sequence that breaks it.
    """
    from hypothesis import HealthCheck, given, note, settings

    count = settings().max_examples if max_examples is None else max_examples

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(signal_lists())
    def promises_hold(signals: list[Signal]) -> None:
        watched = Promises(policy)
        for signal in signals:
            note(f"{signal}")
            for output in watched.handle(signal):
                note(f"    {output}")
        watched.handle(AppCommand(watched.log[-1].at if watched.log else 0.0, "release"))
        watched.settle()
        watched.check_determinism()

    promises_hold()


def check_rule(rule: Callable[[], Rule], *, max_examples: int | None = None) -> None:
    """Run the promises against a rule: alone, and beside the rules of the default policy.

    Args:
        rule: makes an instance; two instances must judge alike.
        max_examples: as for `check_policy`, for each of the two.
    """
    usual = Policy()
    others = tuple(other for other in usual.rules if other.name != rule().name)
    check_policy(dataclasses.replace(usual, name="alone", rules=(rule(),)), max_examples=max_examples)
    check_policy(dataclasses.replace(usual, name="added", rules=(*others, rule())), max_examples=max_examples)
