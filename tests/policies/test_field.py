"""The machine on what users of other systems have reported lately: literal signals in, literal outputs out."""

from __future__ import annotations

import pytest

from hearout_policies import (
    Output,
    TurnAbandoned,
    TurnAmended,
    TurnPredicted,
    TurnResumed,
    TurnUpdated,
)
from hearout_policies.signals import (
    AgentSpeech,
    ProviderTurn,
    Transcript,
    Word,
)
from hearout_policies.words import Words
from tests.policies.test_machine import final, interim, of, one, run, starts, stops


def empty(at: float, start: float, end: float, *, sf: bool = False, ff: bool = False) -> Transcript:
    return Transcript(at, (), start, end, True, endpoint=sf, finalized=ff)


# -- a prediction stands while the same words are said -------------------------------------------------------------


def predicted(then: str) -> list[Output]:
    """A turn predicted as "it costs $1550", and completed as ``then``."""
    return run(
        starts(0.6),
        interim(1.5, "it costs $1550", 0.5, 1.4),
        ProviderTurn(1.55, "eager_end", 1.5),
        stops(1.6),
        final(1.9, then, 0.5, 1.4, upto=1.8, sf=True),
    )


@pytest.mark.parametrize("then", ["It costs $1550.", "it costs $1,550", "It costs… $1550!"])
def test_other_marks_leave_a_prediction_standing(then: str) -> None:
    outputs = predicted(then)
    assert of(TurnResumed, outputs) == []
    assert [p.text for p in of(TurnPredicted, outputs)] == ["it costs $1550"]
    assert one(outputs).text == then


@pytest.mark.parametrize("then", ["It costs $15.50.", "it costs 1550", "it costs $1550 now"])
def test_other_words_take_it_back(then: str) -> None:
    outputs = predicted(then)
    assert len(of(TurnResumed, outputs)) == 1
    assert one(outputs).text == then


# -- a late final that changes a value -----------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "late"), [("pay $1550", "Pay $15.50."), ("चाय दो", "चाय दे"), ("at 5", "at -5")])
def test_a_sign_a_point_or_a_vowel_amends(told: str, late: str) -> None:
    outputs = run(starts(0.6), interim(1.4, told, 0.5, 1.3), stops(1.6), final(5.0, late, 0.5, 1.3))
    assert [a.text for a in of(TurnAmended, outputs)] == [late]


def test_a_full_stop_does_not() -> None:
    outputs = run(starts(0.6), interim(1.4, "pay $15.50", 0.5, 1.3), stops(1.6), final(5.0, "Pay $15.50.", 0.5, 1.3))
    assert of(TurnAmended, outputs) == []


# -- marks are no words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [".", "...", "。", "—", "?", "♪"])
def test_a_mark_alone_opens_and_completes_nothing(mark: str) -> None:
    assert run(interim(1.0, mark, 0.5, 0.8), final(1.4, mark, 0.5, 0.8, sf=True)) == []
    outputs = run(starts(0.6), interim(1.0, mark, 0.5, 0.8), stops(1.05), final(1.4, mark, 0.5, 0.8, upto=1.2, ff=True))
    assert [type(o).__name__ for o in outputs] == ["TurnStarted", "Finalize", "TurnAbandoned"]
    assert of(TurnAbandoned, outputs)[0].reason == "no_words"


def test_a_mark_over_the_agent_tells_nothing() -> None:
    outputs = run(AgentSpeech(0.1, "started"), starts(0.6), interim(1.0, "? ! .", 0.5, 0.8), stops(1.05))
    assert of(TurnUpdated, outputs) == []


def test_a_mark_is_neither_new_speech_nor_the_newest_word() -> None:
    words = Words()
    words.add(final(1.0, "all done", 0.0, 0.8))
    words.add(Transcript(3.0, (Word(".", 2.6, 2.9, spaced=False),), 1.0, 3.0, is_final=True))
    assert (words.text, words.newest_end, len(words), words.grown_at) == ("all done.", 0.8, 2, 1.0)


def test_a_mark_in_place_of_the_words_leaves_none() -> None:
    words = Words()
    words.add(interim(1.0, "thanks.", 0.0, 0.8))
    words.add(final(1.2, ".", 0.0, 0.8))
    assert (words.text, len(words), words.newest_end) == ("", 0, None)
