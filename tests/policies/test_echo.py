"""The agent's own words, sent back by its user's line: no turn, and no interruption; and what is not taken for them."""

from __future__ import annotations

import pytest

from hearout_policies import Policy, TurnCompleted, TurnStarted, TurnUpdated
from hearout_policies.echo import Echo
from hearout_policies.events import Output
from hearout_policies.signals import AgentSaid, AgentSpeech, Signal, SpeechStarted, SpeechStopped, Transcript
from tests.kit.turns import final, interim, of, run, said, starts, stops

SAYS = "Welcome back. To find your booking, may I have your phone number please?"
SPEAKS: list[Signal] = [AgentSaid(0.4, SAYS), AgentSpeech(0.5, "started")]
STOPS = AgentSpeech(5.5, "stopped")


def tell(*signals: Signal, policy: Policy | None = None) -> list[Output]:
    return run(*signals, policy=policy or Policy())


def texts(outputs: list[Output]) -> list[str]:
    return [turn.text for turn in of(TurnCompleted, outputs)]


ECHO: list[Signal] = [
    SpeechStarted(0.9, 0.7, 0.9),
    interim(1.7, "welcome", 0.7, 1.2),
    interim(2.7, "welcome back to find", 0.7, 2.4),
    final(3.4, "Welcome back. To find your booking,", 0.7, 3.2),
    interim(4.4, "may I have", 3.3, 4.2),
    final(5.6, "may I have your phone number, please?", 3.3, 5.45),
    SpeechStopped(5.8, 5.6, 5.8),
]


def test_an_echo_opens_no_turn_and_interrupts_nothing() -> None:
    outputs = tell(*SPEAKS, *ECHO[:5], STOPS, *ECHO[5:])
    assert of(TurnStarted, outputs) == []
    assert of(TurnUpdated, outputs) == []


def test_without_its_text_or_with_the_guard_off_it_would() -> None:
    assert any(update.interrupts for update in of(TurnUpdated, tell(SPEAKS[1], *ECHO)))
    off = Policy().replace({"echo_words": 0})
    assert any(update.interrupts for update in of(TurnUpdated, tell(*SPEAKS, *ECHO, policy=off)))


def test_who_answers_over_an_echo_is_heard() -> None:
    answer = final(5.6, "may I have your phone number please it's five five five", 3.3, 7.0)
    outputs = tell(*SPEAKS, *ECHO[:5], STOPS, answer, SpeechStopped(7.2, 7.0, 7.2))
    assert texts(outputs) == ["it's five five five"]


def test_who_interrupts_with_other_words_is_heard_at_once() -> None:
    outputs = tell(*SPEAKS, starts(2.0), interim(2.9, "stop please wait", 1.9, 2.8), stops(3.2))
    (update,) = of(TurnUpdated, outputs)[:1]
    assert (update.at, update.interrupts) == (2.9, True)


def test_who_repeats_it_when_the_agent_has_ended_is_a_turn() -> None:
    repeats = final(9.0, "may I have your phone number please", 6.2, 8.6, ff=True)
    outputs = tell(*SPEAKS, STOPS, starts(6.3), stops(8.8), repeats)
    assert texts(outputs) == ["may I have your phone number please"]
    assert of(TurnStarted, outputs)[0].at == 6.3  # with the voice, which is nobody else's


def test_a_short_answer_in_the_agents_words_is_no_echo() -> None:
    says: list[Signal] = [AgentSaid(0.4, "Do you want the large one or the small one?"), AgentSpeech(0.5, "started")]
    answer: list[Signal] = [
        starts(1.5),
        interim(2.3, "the large one", 1.4, 2.2),
        stops(2.5),
        final(2.8, "The large one.", 1.4, 2.2),
    ]
    outputs = tell(*says, *answer, AgentSpeech(4.0, "stopped"))
    assert texts(outputs) == ["The large one."]
    # Interim results would have told of it sooner: as long as its user may still say the agent's words, nobody knows.
    assert of(TurnStarted, outputs)[0].at == 2.8


def test_on_a_line_that_echoes_two_words_are_enough() -> None:
    echo = Echo()
    echo.say("thank you for calling us today how can I help you")
    words = [said(text, 1.0, 2.0) for text in ("for calling us today", "how can", "help")]
    results = [Transcript(2.1, one, 1.0, 2.0, is_final=True) for one in words]
    sifted = [[word.text for word in echo.sift(one, 4, lambda audio: True).words] for one in results]
    assert sifted == [[], [], ["help"]]
    before = Echo()
    before.say("how can I help you")
    assert [word.text for word in before.sift(results[1], 4, lambda audio: True).words] == ["how", "can"]


def test_a_word_misheard_in_an_echo_goes_with_it() -> None:
    echo = Echo()
    echo.say(SAYS)
    words = said("to find your booking mary have your phone number please ok", 1.0, 5.0)
    (left,) = echo.sift(Transcript(5.1, words, 1.0, 5.0, is_final=True), 4, lambda audio: True).words
    assert left.text == "ok"


@pytest.mark.parametrize("text", ["", "   ", "..."])
def test_an_agent_that_says_nothing(text: str) -> None:
    outputs = tell(AgentSaid(0.4, text), AgentSpeech(0.5, "started"), *ECHO)
    assert any(update.interrupts for update in of(TurnUpdated, outputs))


def test_what_was_said_before_the_last_turn_is_no_echo_any_more() -> None:
    turn: list[Signal] = [starts(6.3), stops(8.8), final(9.0, "yes please", 6.2, 8.6, ff=True)]
    again: list[Signal] = [AgentSaid(12.0, "One moment."), AgentSpeech(12.1, "started"), starts(13.0), stops(15.2)]
    repeats = final(15.3, "may I have your phone number please", 12.9, 15.0, ff=True)
    assert texts(tell(*SPEAKS, STOPS, *turn, *again, repeats)) == ["yes please", "may I have your phone number please"]
