"""The six promises, over arbitrary signal sequences, and a stateful test that explores freely."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearout_policies import PRESETS, Policy, ProviderEnd, Rule, TurnMachine, TurnView, Verdict, preset
from hearout_policies.signals import (
    AgentSpeech,
    AppCommand,
    AudioStalled,
    EndOfAudio,
    LinkLost,
    LinkRestored,
    Signal,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Tick,
    Transcript,
    UtteranceEnd,
    Word,
)
from hearout_policies.testing import Promises, check_policy, check_rule
from hearout_policies.words import Words


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_the_promises(name: str) -> None:
    check_policy(preset(name))


@pytest.mark.parametrize("each", [*Policy().rules, ProviderEnd()], ids=lambda each: each.name)
def test_each_rule_keeps_the_promises(each: Rule) -> None:
    check_rule(lambda: each)


class Eager:
    """A user's own rule: one class with one method."""

    name = "eager"

    def judge(self, turn: TurnView) -> Verdict:
        return Verdict() if turn.speech_end is None else Verdict(deadline=turn.speech_end + 0.1)


def test_a_rule_of_ones_own_keeps_the_promises() -> None:
    check_rule(Eager)


class Stubborn:
    """A rule that would keep every turn open for ever."""

    name = "stubborn"

    def judge(self, turn: TurnView) -> Verdict:
        return Verdict(hold=float("inf"))


def test_the_safety_net_outranks_a_rule_that_holds_for_ever() -> None:
    check_rule(Stubborn)


def test_the_kit_notices_lost_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of itself in a sequence made by hand; `check_policy` comes to those that have such a result, as below."""
    add = Words.add

    def lossy(self: Words, result: Transcript, heard: float = math.inf, *, firm: bool = False) -> None:
        words = result.words
        add(self, dataclasses.replace(result, words=words[:-1] if len(words) > 1 else words), heard, firm=firm)

    monkeypatch.setattr(Words, "add", lossy)
    watched = Promises(Policy())
    words = Word("one", 0.5, 0.9), Word("two", 0.9, 1.3)
    watched.handle(Transcript(1.4, words, 0.5, 1.3, is_final=True))
    with pytest.raises(AssertionError, match=r"'two'.* was received 1 times, and told 0 times"):
        watched.settle()


def test_the_kit_notices_doubled_words(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Words.add

    def doubling(self: Words, result: Transcript, heard: float = math.inf, *, firm: bool = False) -> None:
        add(self, dataclasses.replace(result, words=result.words * 2), heard, firm=firm)

    monkeypatch.setattr(Words, "add", doubling)
    with pytest.raises(AssertionError, match="received 1 times, and told 2 times"):
        check_policy(Policy(), max_examples=500)


def test_the_kit_notices_a_turn_that_stays_open() -> None:
    watched = Promises(dataclasses.replace(Policy(), rules=(), max_silence=5.0))
    watched.handle(SpeechStarted(0.5, 0.4, 0.5))
    watched.handle(SpeechStopped(1.2, 1.0, 1.2))
    watched.policy = dataclasses.replace(watched.policy, max_silence=1.0)  # promise more than the machine keeps
    with pytest.raises(AssertionError, match="may last beyond"):
        watched.handle(Tick(1.5))


def test_the_kit_notices_a_suspicion_that_is_taken_for_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in = TurnMachine._take_in

    def rash(self: TurnMachine, signal: Signal) -> None:
        if isinstance(signal, SpeechSuspected):
            signal = SpeechStarted(signal.at, signal.audio, signal.heard)
        take_in(self, signal)

    monkeypatch.setattr(TurnMachine, "_take_in", rash)
    with pytest.raises(AssertionError, match="a suspicion does what the mere time would not"):
        Promises(Policy()).handle(SpeechSuspected(1.0, 0.9, 1.0))


def test_the_kit_notices_words_that_other_audio_takes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Promises(Policy())
    watched.handle(SpeechStarted(0.6, 0.5, 0.6))
    first = Transcript(1.4, (Word("one", 0.5, 0.9), Word("two", 0.9, 1.3)), 0.5, 1.3, is_final=True)
    watched.handle(first)
    monkeypatch.setattr("hearout_policies.words.not_said_again", lambda *_: [])  # whatever the audio
    watched.handle(Transcript(2.4, (Word("three", 1.9, 2.3),), 1.3, 2.3, is_final=True))
    with pytest.raises(AssertionError, match=r"'one'.* was received 1 times, and told 0 times"):
        watched.settle()


def test_the_kit_notices_a_mark_that_is_taken_for_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hearout_policies.machine.has_word", bool)
    with pytest.raises(AssertionError, match="a result without a word opened a turn"):
        Promises(Policy()).handle(Transcript(1.4, (Word(".", 0.5, 0.6),), 0.5, 1.3, is_final=True))


class Conversation(RuleBasedStateMachine):
    """Signals as rooms, networks and transcribers make them, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = Promises(preset("balanced"))
        self.at = 5.0
        self.words = 0
        self.ended = False
        self.link = True
        self.final: Transcript | None = None

    @rule(gap=st.sampled_from([0.05, 0.2, 0.6, 1.5, 6.0]))
    def wait(self, gap: float) -> None:
        self.at += gap

    @rule()
    def tick(self) -> None:
        self.watched.handle(Tick(self.at))

    @precondition(lambda self: not self.ended)
    @rule(lag=st.floats(0, 0.3))
    def speech_starts(self, lag: float) -> None:
        self.watched.handle(SpeechStarted(self.at, max(0.0, self.at - lag), self.at))

    @rule()
    def speech_is_suspected(self) -> None:
        self.watched.handle(SpeechSuspected(self.at, max(0.0, self.at - 0.04), self.at))

    @rule(lag=st.floats(0, 0.5))
    def speech_stops(self, lag: float) -> None:
        self.watched.handle(SpeechStopped(self.at, max(0.0, self.at - lag), self.at))

    @rule(
        count=st.integers(0, 3),
        lag=st.floats(0, 3),
        final=st.booleans(),
        endpoint=st.booleans(),
        finalized=st.booleans(),
    )
    def result(self, count: int, lag: float, final: bool, endpoint: bool, finalized: bool) -> None:
        end = max(0.0, self.at - lag)
        words = []
        for i in range(count):
            self.words += 1
            start = max(0.0, end - 0.4 * (count - i))
            words.append(Word(f"w{self.words}", start, start + 0.3))
        start = words[0].start if words else max(0.0, end - 1)
        result = Transcript(self.at, tuple(words), start, end, final, endpoint and final, finalized and final)
        self.watched.handle(result)
        self.final = result if final else self.final

    @precondition(lambda self: self.final is not None)
    @rule()
    def final_comes_twice(self) -> None:
        assert self.final is not None
        self.watched.handle(dataclasses.replace(self.final, at=self.at))

    @precondition(lambda self: self.final is not None)
    @rule()
    def final_comes_formatted(self) -> None:
        """The same audio again, in other words: they take the place of the first."""
        assert self.final is not None
        words = []
        for word in self.final.words:
            self.words += 1
            words.append(dataclasses.replace(word, text=f"W{self.words}"))
        self.final = dataclasses.replace(self.final, at=self.at, words=tuple(words))
        self.watched.handle(self.final)

    @rule(lag=st.floats(0, 1), final=st.booleans())
    def marks_come(self, lag: float, final: bool) -> None:
        """What a cough is written as."""
        end = max(0.0, self.at - lag)
        self.watched.handle(Transcript(self.at, (Word(".", end, end + 0.1),), end, end + 0.1, final, endpoint=final))

    @rule(last=st.none() | st.floats(0, 5))
    def utterance_ends(self, last: float | None) -> None:
        self.watched.handle(UtteranceEnd(self.at, None if last is None else max(0.0, self.at - last)))

    @rule(back=st.floats(0, 5))
    def link_changes(self, back: float) -> None:
        self.watched.handle(LinkLost(self.at) if self.link else LinkRestored(self.at, max(0.0, self.at - back)))
        self.link = not self.link

    @rule()
    def audio_stalls(self) -> None:
        self.watched.handle(AudioStalled(self.at, self.at))

    @rule(kind=st.sampled_from(["started", "stopped"]))
    def agent(self, kind: str) -> None:
        self.watched.handle(AgentSpeech(self.at, kind))  # type: ignore[arg-type]

    @rule(kind=st.sampled_from(["force_end", "hold", "release", "clear"]))
    def application(self, kind: str) -> None:
        self.watched.handle(AppCommand(self.at, kind))  # type: ignore[arg-type]

    @precondition(lambda self: not self.ended)
    @rule()
    def audio_ends(self) -> None:
        self.ended = True
        self.watched.handle(EndOfAudio(self.at))

    @invariant()
    def the_deadline_lies_ahead(self) -> None:
        deadline = self.watched.deadline
        assert deadline is None or not self.watched.log or deadline > self.watched.log[-1].at

    def teardown(self) -> None:
        self.watched.handle(AppCommand(self.at, "release"))
        self.watched.settle()
        self.watched.check_determinism()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(stateful_step_count=40)


def test_nothing_grows_with_the_session() -> None:
    """A day of turns, unanswered Finalizes included, leaves no more behind than an hour."""

    def weight(machine: object) -> int:
        import pickle

        return len(pickle.dumps(machine.__dict__))

    watched = Promises(preset("balanced"))
    machine = watched.machine
    sizes = []
    for n in range(5000):
        at = n * 17.0
        machine.handle(SpeechStarted(at + 0.1, at, at + 0.1))
        machine.handle(Transcript(at + 1.0, (Word("hello", at + 0.2, at + 0.6),), at, at + 0.9, n % 3 == 0, n % 9 == 0))
        machine.handle(SpeechStopped(at + 1.2, at + 0.8, at + 1.2))
        machine.handle(UtteranceEnd(at + 1.9, at + 0.6))
        machine.handle(Tick(at + 16.0))
        assert machine.deadline is None
        if n in (50, 4999):
            sizes.append(weight(machine))
    assert abs(sizes[1] - sizes[0]) < 200, f"state grew from {sizes[0]} to {sizes[1]} bytes"


def test_the_policies_package_needs_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import hearout_policies; "
        "new = {m.split('.')[0] for m in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names) - {'hearout_policies'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
