"""What was asked: how it ends turns, how it keeps them open, how long it stands; keys, other policies, idle users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout_policies import Policy, TurnAbandoned, TurnCompleted, TurnStarted, TurnUpdated, UserIdle
from hearout_policies.events import Answer, as_dict
from hearout_policies.expect import Code, Digits, Email, Expectation, OneOf, Open, Phone, Spelled, YesNo
from hearout_policies.policy import PRESETS, preset
from hearout_policies.rules import Silence
from hearout_policies.signals import (
    AgentSaid,
    AgentSpeech,
    Asked,
    EndOfAudio,
    KeyPressed,
    PolicyChanged,
    Signal,
    Tick,
    Transcript,
)
from hearout_policies.testing import Promises, signal_lists
from hearout_policies.text import Ending
from hearout_policies.view import TurnView
from tests.kit.turns import final, interim, of, one, run, starts, stops

BALANCED = Policy()
PHONE = AgentSaid(0.1, "Thank you. What is your phone number?")


def spoken(text: str, at: float = 1.0) -> list[Signal]:
    """A turn of two seconds, whose end the Finalize has answered 0.35 s after it."""
    words = final(at + 2.35, text, at, at + 2.0, ff=True)
    return [starts(at), stops(at + 2.2), words]


def turn(*before: Signal, text: str, policy: Policy = BALANCED) -> tuple[float, TurnCompleted]:
    """How long after its end the turn is completed, and what is told of it."""
    done = one(run(*before, *spoken(text), policy=policy))
    return round(done.at - 3.0, 3), done


# Evidence


def test_the_last_digit_ends_at_once() -> None:
    later, _ = turn(text="five five five one two three four")
    at, done = turn(Asked(0.1, (Digits(7),)), text="five five five one two three four")
    assert at == 0.35 < 1.0 < later  # the floor: when the words are final
    assert done.answer == Answer("digits", "5551234", complete=True, final=True)
    assert done.evidence == (("digits", 0.1), ("answer", 0.97))
    assert as_dict(done)["answer"] == {"kind": "digits", "value": "5551234", "complete": True, "final": True}


@pytest.mark.parametrize(("policy", "held"), [("fast", 3.118), ("balanced", 4.0), ("patient", 4.0)])
def test_what_has_begun_is_waited_for(policy: str, held: float) -> None:
    at, done = turn(Asked(0.1, (Digits(7),)), text="five five five", policy=preset(policy))
    assert at == pytest.approx(held, abs=0.002)
    assert done.answer == Answer("digits", "555", complete=False)


@pytest.mark.parametrize("pause", [1.0, 2.0, 2.5, 3.0, 3.8])
def test_who_goes_on_after_a_long_pause_is_no_noise(pause: float) -> None:
    """How long words have not grown counts from the voice that goes on, not from the words before the pause."""
    again = 3.0 + pause
    more = [starts(again + 0.1), stops(again + 2.2), final(again + 2.35, "four five six", again, again + 2.0, ff=True)]
    endpoint = final(3.35, "one two three", 1.0, 3.0, sf=True, ff=True)
    done = one(run(Asked(0.1, (Digits(6),)), starts(1.0), stops(3.2), endpoint, *more, policy=BALANCED))
    assert done.text == "one two three four five six"


def test_what_is_unlike_changes_nothing() -> None:
    text = "I left it at home."
    before, after = turn(text=text), turn(Asked(0.1, (Digits(7), Email())), text=text)
    assert before == after
    assert after[1].answer is None


def test_an_answer_that_may_go_on_lies_in_between() -> None:
    whole, _ = turn(Asked(0.1, (Spelled(),)), text="s m i t h")
    begun, _ = turn(Asked(0.1, (Spelled(),)), text="s m")
    assert 0.35 < whole < 0.5 < begun


def test_one_of_several() -> None:
    _, done = turn(Asked(0.1, (YesNo(), Digits(3))), text="five five five")
    assert done.answer == Answer("digits", "555", complete=True, final=True)


def test_the_voice_is_not_believed_about_digits() -> None:
    odds, ending = BALANCED.odds, Ending.DIGITS
    begun, final_, whole = Answer("d", "1", False), Answer("d", "1", True, True), Answer("d", "1", True)
    assert odds.weigh(ending, 0.99, begun) == odds.weigh(ending, None, begun)
    assert odds.weigh(ending, 0.01, final_) == odds.weigh(ending, None, final_)
    assert odds.weigh(ending, 0.9, whole)[0] > odds.answer_whole > odds.weigh(ending, 0.1, whole)[0]


# How long a question stands


def answers(*signals: Signal) -> list[str | None]:
    done = of(TurnCompleted, run(*signals, policy=BALANCED))
    return [turn.answer.value if turn.answer else None for turn in done]


def two(first: str, second: str, gap: float = 6.0) -> list[Signal]:
    return [*spoken(first), *spoken(second, 3.0 + gap)]


def test_it_is_for_the_next_turn() -> None:
    assert answers(Asked(0.1, (Digits(3),)), *two("one two three", "four five six")) == ["123", None]
    assert answers(Asked(0.1, (Digits(3),), keep=True), *two("one two three", "four five six")) == ["123", "456"]


def test_a_turn_that_goes_on_answers_the_same_question() -> None:
    """And is read together with what it continues."""
    signals = [Asked(0.1, (Digits(3, 6),)), *spoken("one two three"), *spoken("four five six", 4.2)]
    done = of(TurnCompleted, run(*signals, policy=BALANCED))
    assert [turn.continues for turn in done] == [None, 1]
    assert [turn.answer.value for turn in done if turn.answer] == ["123", "123456"]
    assert round(done[1].at - 6.2, 2) == 0.35


def test_it_may_be_asked_in_mid_turn_and_taken_back() -> None:
    first, last, words = spoken("one two three")
    assert answers(first, last, Asked(3.3, (Digits(3),)), words) == ["123"]
    assert answers(Asked(0.1, (Digits(3),)), first, last, Asked(3.3, ()), words) == [None]


def test_the_agents_own_words_ask() -> None:
    assert answers(PHONE, *spoken("five five five one two three four")) == ["5551234"]
    pieces = [AgentSaid(0.1, "What is your"), AgentSaid(0.2, "phone number?")]
    assert answers(*pieces, *spoken("five five five one two three four")) == ["5551234"]
    # It has said something since.
    later = AgentSaid(8.0, "Thanks. How can I help you?")
    assert answers(PHONE, *spoken("555 1234"), later, *spoken("555 1234", 9.0)) == ["5551234", None]


def test_an_agent_that_answers_what_has_begun_waits_no_more_for_the_rest() -> None:
    """Another turn detection, as of the bot in a shadow, has ended the turn; what follows is no part of the number."""
    thanks = [AgentSaid(3.9, "Thank you,"), AgentSaid(3.95, "we will see you.")]
    words = [*spoken("seven three one eight"), *thanks, AgentSpeech(3.95, "started")]
    more = [AgentSpeech(5.5, "stopped"), *spoken("Thank you, goodbye.", 6.2)]
    done = of(TurnCompleted, run(PHONE, *words, *more, policy=BALANCED))
    assert [turn.text for turn in done] == ["seven three one eight", "Thank you, goodbye."]
    assert done[0].at < 5
    # It asks on in pieces, and its question is the new one.
    asks = [AgentSaid(3.4, "And what is"), AgentSaid(3.5, "your phone number?")]
    assert answers(*spoken("I have"), *asks, *spoken("555 1234", 9.0)) == [None, "5551234"]
    # What it says on while it speaks belongs to what it has said before, whatever is called in between.
    speaks = [AgentSaid(0.1, "Please tell me what is"), AgentSpeech(0.5, "started")]
    yes = [starts(1.0), stops(1.6), final(1.75, "yes", 1.0, 1.4, ff=True), AgentSaid(1.8, "your phone number?")]
    done = of(TurnCompleted, run(*speaks, *yes, AgentSpeech(3.0, "stopped"), *spoken("555 1234", 5.0), policy=BALANCED))
    assert [turn.answer.value for turn in done if turn.answer] == ["5551234"]


def test_the_application_knows_better() -> None:
    assert answers(PHONE, Asked(0.2, (YesNo(),)), *spoken("yes")) == ["yes"]
    assert answers(PHONE, Asked(0.2, (Open(),)), *spoken("555 1234")) == [None]
    assert answers(Asked(0.05, (Open(),)), PHONE, *spoken("555 1234")) == [None]
    assert answers(PHONE, Asked(0.2, (Open(),)), Asked(0.3, ()), *spoken("555 1234")) == ["5551234"]


def test_a_backchannel_answers_nothing() -> None:
    speaks = [PHONE, AgentSpeech(0.2, "started")]
    uh_huh = [starts(1.0), stops(1.6), final(1.75, "uh-huh", 1.0, 1.4, ff=True)]
    done = of(
        TurnCompleted,
        run(*speaks, *uh_huh, AgentSpeech(4.0, "stopped"), *spoken("555 1234", 5.0), policy=BALANCED),
    )
    assert [(turn.backchannel, turn.answer is not None) for turn in done] == [(True, False), (False, True)]


# Another policy


def test_another_policy_judges_from_here_on() -> None:
    usual, _ = turn(text="I would like to fly tomorrow")
    patient, _ = turn(PolicyChanged(0.1, preset("patient")), text="I would like to fly tomorrow")
    first, last, words = spoken("I would like to fly tomorrow")
    late = one(run(first, last, PolicyChanged(3.3, preset("patient")), words, policy=BALANCED))
    assert usual < patient == round(late.at - 3.0, 3)
    early = one(run(first, last, words, PolicyChanged(3.4, preset("fast")), policy=preset("patient")))
    assert early.at == 3.4


# Keys


def keys(text: str, at: float = 1.0, each: float = 0.3) -> list[Signal]:
    return [KeyPressed(round(at + number * each, 3), key) for number, key in enumerate(text)]


def test_keys_are_words_with_times() -> None:
    outputs = run(*keys("042"), policy=BALANCED)
    done = one(outputs)
    assert done.text == "0 4 2"
    assert done.confirmed
    assert len(of(TurnStarted, outputs)) == 1
    assert [update.text for update in of(TurnUpdated, outputs)] == ["0", "0 4", "0 4 2"]
    assert [round(b.start - a.start, 3) for a, b in zip(done.words, done.words[1:], strict=False)] == [0.3, 0.3]


def test_expected_keys_end_at_once_and_the_hash_key_any() -> None:
    assert one(run(Asked(0.1, (Digits(4),)), *keys("0429"), policy=BALANCED)).at == 2.1  # 0.2 s is no pause
    done = one(run(Asked(0.1, (Digits(4),)), *keys("04#"), policy=BALANCED))
    assert (done.at, done.text, done.reason) == (1.6, "0 4", "force_end")
    assert one(run(*keys("04"), policy=BALANCED)).at > 2.0


def test_keys_and_voice_together() -> None:
    signals = [Asked(0.1, (Digits(5),)), *spoken("one two three"), *keys("45", 3.6)]
    done = one(run(*signals, policy=BALANCED))
    assert done.text == "one two three 4 5"
    assert done.answer == Answer("digits", "12345", complete=True, final=True)
    assert done.at == 4.1
    # What the transcriber says later of the same audio takes no key back.
    signals = [
        Asked(0.1, (Digits(5),)),
        *keys("45", 1.5),
        starts(2.4),
        stops(4.4),
        final(4.6, "one two three", 2.3, 4.2),
    ]
    assert one(run(*signals, final(4.7, "", 0.0, 4.7, ff=True), policy=BALANCED)).text == "4 5 one two three"


def test_a_key_interrupts_the_agent() -> None:
    outputs = run(AgentSpeech(0.5, "started"), *keys("1"), policy=BALANCED)
    assert [update.interrupts for update in of(TurnUpdated, outputs)] == [True]
    assert not one(outputs).backchannel


def test_a_star_alone_is_no_turn() -> None:
    assert run(*keys("*"), policy=BALANCED) == []
    assert run(*keys("#"), policy=BALANCED)[:1] != []  # as force_end with no turn open: it asks for words


# Idle


IDLE = Policy().replace({"idle_after": 5.0})


def idle(*signals: Signal, policy: Policy = IDLE) -> list[tuple[float, float]]:
    return [(told.at, told.since) for told in of(UserIdle, run(*signals, policy=policy))]


def test_nobody_answers() -> None:
    assert idle(AgentSpeech(1.0, "started"), AgentSpeech(2.0, "stopped")) == [(7.0, 2.0)]
    again = [AgentSpeech(1.0, "stopped"), AgentSpeech(8.0, "started"), AgentSpeech(9.0, "stopped")]
    assert idle(*again) == [(6.0, 1.0), (14.0, 9.0)]
    assert idle(AgentSpeech(2.0, "stopped"), policy=Policy()) == []  # off by default
    assert idle(AgentSpeech(2.0, "stopped"), AgentSpeech(6.0, "started")) == []
    assert idle(AgentSpeech(2.0, "stopped"), EndOfAudio(3.0)) == []
    assert idle(Tick(3.0)) == []


def test_who_answers_is_not_idle() -> None:
    assert idle(AgentSpeech(0.5, "stopped"), *spoken("yes please")) == []
    # Noise is no answer; the time counts from its end.
    noise: list[Signal] = [AgentSpeech(0.5, "stopped"), starts(1.0), stops(1.4)]
    (abandoned,) = of(TurnAbandoned, run(*noise, policy=IDLE))
    assert idle(*noise) == [(pytest.approx(abandoned.at + 5.0), abandoned.at)]


# Promises


ASKED: tuple[tuple[Expectation, ...], ...] = (
    *(
        (Digits(3),),
        (Digits(2, 9), YesNo()),
        (Phone(), Code()),
        (Email(),),
        (Spelled(), OneOf(["100", "101 102"])),
        (Open(),),
    ),
    (),
)
changes = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.one_of(
            st.tuples(st.just("ask"), st.sampled_from(ASKED), st.booleans()),
            st.tuples(st.just("say"), st.sampled_from(["Your number?", "Yes or no?", "Go on.", "Spell your name."])),
            st.tuples(st.just("use"), st.sampled_from([name for name in PRESETS if PRESETS[name]().rules])),
        ),
    ),
    max_size=6,
)


def changed(signals: list[Signal], wanted: list[tuple[int, tuple[Any, ...]]]) -> list[Signal]:
    """Numbers for words, and in between other questions, agents and policies."""
    out: list[Signal] = []
    for number, signal in enumerate(signals):
        if isinstance(signal, Transcript):
            # Each word is a number of its own, so that none can be mistaken for another: "w7" is "107".
            words = [
                replace(w, text=str(100 + int(w.text[1:])) if w.text[1:].isdecimal() else w.text) for w in signal.words
            ]
            signal = replace(signal, words=tuple(words))
        for place, change in wanted:
            if place == number:
                match change:
                    case ("ask", expectations, keep):
                        out.append(Asked(signal.at, expectations, keep))
                    case ("say", text):
                        out.append(AgentSaid(signal.at, text))
                    case ("use", name):
                        out.append(PolicyChanged(signal.at, preset(name)))
        out.append(signal)
    return out


@given(signal_lists(), changes)
def test_the_promises_hold_whatever_is_asked(signals: list[Signal], wanted: list[tuple[int, tuple[Any, ...]]]) -> None:
    watched = Promises(Policy().replace({"echo_words": 0}))
    for signal in changed(signals, wanted):
        watched.handle(signal)
    watched.settle()
    watched.check_determinism()


@given(
    st.sampled_from(["fast", "balanced", "patient", "dictation"]),
    st.floats(0.001, 0.999),
    st.booleans(),
    st.booleans(),
)
def test_no_answer_waits_longer_than_the_policy_says(name: str, odds: float, complete: bool, final_: bool) -> None:
    rule = next(rule for rule in preset(name).rules if isinstance(rule, Silence))
    view = TurnView(speech_end=2.0, odds=odds, answer=Answer("digits", "1", complete, final_))
    assert 0 < rule.hold(view) <= (rule.longest if complete else rule.answer_longest)


def test_an_interim_answer_does_not_end_a_turn_before_its_words_are_final() -> None:
    asked = Asked(0.1, (Digits(3),))
    outputs = run(asked, starts(1.0), interim(2.5, "one two three", 1.0, 2.4), stops(3.2), policy=BALANCED)
    assert one(outputs).at > 3.35  # the Finalize is waited for
