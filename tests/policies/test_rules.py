"""Each rule by itself: a literal view in, a literal verdict out. `None`: no opinion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearout_policies import (
    NEVER,
    Endpointing,
    FinalizeOnSilence,
    OnUtteranceEnd,
    ProviderEnd,
    Rule,
    Silence,
    TurnView,
    Verdict,
)
from hearout_policies.finalizes import Request
from hearout_policies.odds import Pauses

VIEW = TurnView(now=5.0, opened=1.0, finalize_timeout=1.2)
SPEAKING = replace(VIEW, vad=True, speaking=True, words=2, last_growth=3.0, last_words=3.0, unfinalised=True)
SILENT = replace(SPEAKING, speaking=False, speech_end=4.0)
WORDS_ONLY = replace(SILENT, vad=False)


def says(rule: Rule, view: TurnView) -> tuple[float | None, float | None, float | None]:
    """Deadline, hold and finalize, to the millisecond."""
    verdict = rule.judge(view)
    times = (verdict.deadline, verdict.hold, verdict.finalize)
    deadline, hold, finalize = (None if time is None else round(time, 3) for time in times)
    return deadline, hold, finalize


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (Endpointing(), "endpointing"),
        (OnUtteranceEnd(), "utterance_end"),
        (FinalizeOnSilence(), "finalize_on_silence"),
        (ProviderEnd(), "provider_end"),
        (Silence(), "silence"),
    ],
)
def test_names(rule: Rule, name: str) -> None:
    assert rule.name == name


# Endpointing and utterance end


def test_an_endpoint_closes_the_turn() -> None:
    rule = Endpointing()
    assert rule.judge(SILENT) == NEVER
    assert rule.judge(replace(SILENT, endpoint=4.2)) == Verdict(4.2)


def test_under_a_voice_an_endpoint_is_a_candidate_until_the_words_cease() -> None:
    rule = Endpointing()
    assert says(rule, replace(SPEAKING, endpoint=4.2)) == (6.7, None, None)
    assert says(rule, replace(SPEAKING, endpoint=2.2)) == (5.5, None, None)


def test_an_utterance_end_closes_the_turn() -> None:
    rule = OnUtteranceEnd()
    assert rule.judge(SILENT) == NEVER
    assert rule.judge(replace(SILENT, utterance_end=4.2)) == Verdict(4.2)


def test_under_a_voice_an_utterance_end_is_a_candidate_until_the_words_cease() -> None:
    rule = OnUtteranceEnd()
    assert says(rule, replace(SPEAKING, utterance_end=4.2)) == (5.7, None, None)
    assert says(rule, replace(SPEAKING, utterance_end=2.2)) == (4.5, None, None)


# Finalize on silence


def finalizing(view: TurnView) -> tuple[float | None, float | None, float | None]:
    return says(FinalizeOnSilence(), view)


def test_when_nothing_is_owed_the_turn_is_over() -> None:
    settled = replace(SILENT, unfinalised=False, last_result=4.1)
    assert finalizing(settled) == (4.1, None, None)
    assert finalizing(replace(settled, vad=False)) == (None, None, None), "without a voice it takes an answer"
    assert finalizing(replace(settled, vad=False, request=Request(4.0, 4.0, 3.9, answered=4.1))) == (4.1, None, None)


def test_it_asks_early_in_a_silence_and_holds_the_turn_meanwhile() -> None:
    assert finalizing(SILENT) == (None, 6.2, 4.1)
    assert finalizing(replace(SILENT, now=4.2)) == (None, 5.4, 4.1)


def test_without_a_voice_words_that_do_not_grow_are_silence() -> None:
    assert finalizing(WORDS_ONLY) == (None, 6.2, 4.2), "3.0 + 1.2, later than 4.0 + 0.1"
    assert finalizing(replace(WORDS_ONLY, last_words=4.5)) == (None, 6.9, 5.7)
    assert finalizing(replace(WORDS_ONLY, last_words=4.5, quiet=True)) == (None, 6.2, 4.1)


def test_after_the_audio_it_asks_at_once() -> None:
    assert finalizing(replace(SILENT, ended=4.9)) == (None, 6.2, 5.0)


def test_without_a_link_nobody_can_be_asked() -> None:
    assert finalizing(replace(SILENT, link=False)) == (None, None, None)


def test_under_a_voice_it_asks_when_the_words_cease() -> None:
    assert finalizing(SPEAKING) == (None, None, 6.0)
    assert finalizing(replace(SPEAKING, backlog=2.0)) == (None, None, 8.0)
    assert finalizing(replace(SPEAKING, observed=1.9)) == (None, None, 6.0)
    assert finalizing(replace(SPEAKING, observed=2.0)) == (None, None, 1.0), "noise: no word in 2 s of it"
    assert finalizing(replace(SPEAKING, words=0)) == (None, None, 11.0)


def test_under_a_voice_other_evidence_goes_first() -> None:
    assert finalizing(replace(SPEAKING, endpoint=4.0)) == (None, None, None)
    assert finalizing(replace(SPEAKING, utterance_end=4.0)) == (None, None, None)
    assert finalizing(replace(SPEAKING, utterance_end=4.0, pending=1)) == (None, None, 4.2)


ASKED = replace(SILENT, pending=1, request=Request(4.2, 4.2, 4.0))


def test_it_waits_for_the_answer() -> None:
    assert finalizing(ASKED) == (5.4, 5.4, None)
    assert finalizing(replace(ASKED, request=Request(4.2, 4.2, 4.0, backlog=2.0))) == (7.4, 7.4, None)
    assert finalizing(replace(ASKED, words=0, pending=0)) == (5.4, 5.4, None)


def test_where_all_known_words_are_final_it_waits_less() -> None:
    settled = replace(ASKED, pending=0, last_words=3.0)
    assert finalizing(replace(settled, owed=0.6)) == (5.1, 5.1, None), "a short sound"
    assert finalizing(replace(settled, owed=0.61)) == (5.4, 5.4, None), "more than that owes words"
    assert finalizing(replace(settled, last_words=4.5)) == (5.4, 5.4, None), "0.9 s from the last words"
    assert finalizing(replace(settled, vad=False, last_words=4.5)) == (5.7, 5.1, None)


def test_under_a_voice_it_does_not_give_up_before_the_words_cease() -> None:
    asked = replace(SPEAKING, pending=1, request=Request(4.2, 4.2, 4.0), last_growth=4.1)
    assert finalizing(asked) == (7.1, 5.4, None)


def test_an_answer_closes_the_turn() -> None:
    answered = replace(ASKED, request=Request(4.2, 4.2, 4.0, answered=4.5))
    assert finalizing(answered) == (4.5, None, None)
    assert finalizing(replace(answered, vad=False)) == (4.5, None, None)
    assert finalizing(replace(answered, vad=False, last_words=4.0)) == (5.2, None, None)


def test_an_answer_that_stops_short_is_not_the_last_word() -> None:
    assert finalizing(replace(ASKED, request=Request(4.2, 4.2, 4.0, answered=4.5, short=True))) == (5.1, 5.1, None)


def test_words_after_the_answer_are_waited_for() -> None:
    answered = replace(ASKED, request=Request(4.2, 4.2, 4.0, answered=4.5), last_growth=4.8)
    assert finalizing(answered) == (6.0, 6.0, None)
    assert finalizing(replace(answered, pending=0)) == (4.5, None, None)
    assert finalizing(replace(answered, last_growth=4.5)) == (4.5, None, None)


# The provider's end


def provided(view: TurnView) -> tuple[float | None, float | None, float | None]:
    return says(ProviderEnd(), view)


def test_the_provider_s_end_is_the_end() -> None:
    assert provided(replace(SPEAKING, endpoint=4.2)) == (4.2, None, None)
    assert provided(replace(SILENT, endpoint=4.2, link=False)) == (4.2, None, None)
    assert provided(replace(SPEAKING, border=4.2)) == (4.2, None, None)
    assert ProviderEnd().judge(replace(SPEAKING, border=4.2)).border
    assert not ProviderEnd().judge(replace(SPEAKING, endpoint=4.2)).border


def test_a_provider_that_should_have_spoken_is_asked() -> None:
    assert provided(SILENT) == (10.0, None, 7.5)
    assert provided(SPEAKING) == (9.0, None, 6.5), "from the last new word"
    assert provided(replace(SILENT, words=0)) == (8.5, None, 6.0), "a sound without words"
    assert provided(replace(SPEAKING, words=0)) == (9.0, None, 6.5)
    assert provided(replace(SILENT, speech_end=None)) == (9.0, None, 6.5)
    assert provided(replace(SILENT, ended=4.5)) == (7.0, None, 4.5)


def test_it_is_waited_for() -> None:
    assert provided(replace(SILENT, request=Request(7.6, 7.6, 4.0))) == (10.1, None, None)
    assert provided(replace(SILENT, request=Request(4.1, 4.1, 4.0))) == (10.0, None, None)
    assert provided(replace(SILENT, request=Request(7.6, 7.6, 4.0, backlog=2.0))) == (12.1, None, None)


def test_when_it_owes_nothing_its_silence_is_enough() -> None:
    assert provided(replace(SILENT, unfinalised=False)) == (7.5, None, None)
    assert provided(replace(SILENT, request=Request(7.6, 7.6, 4.0, answered=7.8))) == (7.5, None, None)


def test_without_a_link_only_the_end_of_audio_ends_the_turn() -> None:
    assert provided(replace(SILENT, link=False)) == (None, None, None)
    assert provided(replace(SILENT, link=False, ended=4.5)) == (7.0, None, None)


# Silence


def silence(view: TurnView) -> tuple[float | None, float | None, float | None]:
    return says(Silence(), view)


@pytest.mark.parametrize(
    ("odds", "hold"),
    [
        (0.84, 0.259),
        (0.5, 0.496),
        (0.46, 0.531),
        (0.42, 0.569),
        (0.2, 0.904),
        (0.1, 1.279),
        (0.02, 2.551),
        (0.01, 3.0),
    ],
)
def test_how_long_it_must_be_depends_on_the_odds(odds: float, hold: float) -> None:
    """``longest`` bounds it; the deadline is ``patience``, or the hold where that is longer."""
    assert silence(replace(SILENT, odds=odds)) == (round(4 + max(1.6, hold), 3), round(4 + hold, 3), None)


@pytest.mark.parametrize(
    ("price", "hold"), [(0.0, 0.2), (0.1, 0.2), (0.4, 0.327), (1.3, 0.531), (4.0, 0.864), (100, 3.0)]
)
def test_a_higher_price_waits_longer(price: float, hold: float) -> None:
    assert says(Silence(price=price), replace(SILENT, odds=0.46))[1] == round(4 + hold, 3)


def test_the_pauses_of_this_caller_count() -> None:
    """Ten pauses of 1 s are worth as much as what is known beforehand, or as little as the policy says."""
    long = Pauses()
    for _ in range(10):
        long = long.add(1.0)
    view = replace(SILENT, odds=0.46, pauses=long)
    assert silence(view)[1] == 4.607
    assert says(Silence(prior=1e6), view)[1] == 4.531
    assert says(Silence(prior=0.0), view)[1] == 4.612


def test_while_somebody_speaks_there_is_none() -> None:
    assert Silence().judge(SPEAKING) == NEVER


def test_after_the_audio_nobody_can_go_on() -> None:
    assert silence(replace(SILENT, odds=0.2, ended=4.5)) == (7.0, None, None)


PLAIN = replace(WORDS_ONLY, odds=0.46, last_words=3.9)
UNFINISHED = replace(PLAIN, odds=0.2)


def test_without_a_voice_it_also_counts_from_the_last_new_word() -> None:
    assert silence(PLAIN) == (5.6, 4.531, None)
    assert silence(replace(PLAIN, last_words=4.8)) == (6.3, 4.531, None)
    assert silence(replace(PLAIN, last_words=4.8, vad=True)) == (5.6, 4.531, None)


def test_a_voice_that_is_told_late_is_waited_for_longer() -> None:
    _, hold, _ = says(Silence(), replace(SILENT, odds=0.2))
    _, longer, _ = says(Silence(), replace(SILENT, odds=0.2, late=0.2))
    assert hold is not None
    assert longer == round(hold + 0.2, 3)
    assert says(Silence(), replace(SILENT, odds=0.4, late=0.2)) == says(Silence(), replace(SILENT, odds=0.4))


def test_without_a_voice_an_unfinished_text_is_held_until_its_silence_was_heard() -> None:
    """Unfinished is what is followed by the end of the turn less than 4 times in 10."""
    assert silence(UNFINISHED) == (5.904, 5.904, None)
    assert silence(replace(UNFINISHED, observed=0.9)) == (5.904, 5.904, None)
    assert silence(replace(UNFINISHED, observed=0.91)) == (5.6, 4.904, None)
    assert silence(replace(UNFINISHED, vad=True)) == (5.6, 4.904, None)
    assert silence(replace(UNFINISHED, odds=0.4))[1] == 4.59
    assert silence(replace(UNFINISHED, odds=0.39))[1] == 5.601


def test_a_deadline_does_not_lie_before_its_hold() -> None:
    assert says(Silence(patience=0.1), replace(SILENT, odds=0.46)) == (4.531, 4.531, None)


def test_without_a_link_it_waits_for_the_link() -> None:
    assert silence(replace(SILENT, odds=0.46, link=False)) == (6.5, 4.531, None)
    assert silence(replace(SILENT, odds=0.01, link=False)) == (7.0, 7.0, None)
    assert silence(replace(SILENT, words=0, link=False)) == (None, None, None)
