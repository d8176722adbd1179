"""Turns that are over: which words belong to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearout_policies.ledger import Closed, Ledger
from hearout_policies.signals import Transcript, Word
from hearout_policies.words import Words, spread
from tests.kit.turns import final, interim


def words(*results: Transcript) -> Words:
    out = Words()
    for result in results:
        out.add(result)
    return out


def heard(ledger: Ledger) -> None:
    """The VAD heard turn 1 from 1 to 2, and it was completed at 3."""
    ledger.close(1, words(final(2.2, "one", 1.0, 2.0)), 2.0, 3.0, vad=True)


def unheard(ledger: Ledger) -> None:
    """The same without a VAD, and at 4."""
    ledger.close(1, words(final(2.2, "one", 1.0, 2.0)), 2.0, 4.0, vad=False)


def owner(ledger: Ledger, start: float, end: float | None = None, *, is_final: bool = True) -> int | None:
    """The number of the turn that a word belongs to; None: to the present."""
    word = Word("x", start, start + 0.02 if end is None else end)
    past, present = ledger.split(Transcript(9.0, (word,), start - 0.1, word.end + 0.1, is_final))
    assert (present is None) is bool(past) or not is_final
    return past[0][0].number if past else None


def test_what_was_spoken_before_the_decision_belongs_to_the_turn() -> None:
    ledger = Ledger()
    heard(ledger)
    assert ledger.last is not None
    assert (ledger.last.number, ledger.last.said) == (1, "one")
    assert owner(ledger, 2.9) == 1
    assert owner(ledger, 3.1) is None
    assert owner(ledger, 2.7, 3.2) == 1, "the middle of the word decides: 2.95"
    assert owner(ledger, 2.9, 3.2) is None


@pytest.mark.parametrize(("start", "belongs"), [(2.3, True), (2.45, True), (2.6, False), (2.7, False)])
def test_without_a_vad_words_within_half_a_second_belong_to_it(start: float, belongs: bool) -> None:
    ledger = Ledger()
    unheard(ledger)
    assert owner(ledger, start) == (1 if belongs else None)


def test_without_a_vad_the_start_of_the_word_decides() -> None:
    ledger = Ledger()
    unheard(ledger)
    assert owner(ledger, 2.4, 3.4) == 1


def test_without_a_vad_not_more_than_was_heard() -> None:
    ledger = Ledger()
    ledger.close(1, words(final(2.2, "one", 1.0, 2.0)), 2.0, 2.2, vad=False)
    assert owner(ledger, 2.3) is None


def test_words_that_follow_closely_belong_to_it_too() -> None:
    ledger = Ledger()
    unheard(ledger)
    assert owner(ledger, 2.9) is None
    assert owner(ledger, 2.4, 2.6) == 1, "which moves the limit to 3.1"
    assert owner(ledger, 2.9, 3.9) == 1, "which moves it to the decision at 4"
    assert owner(ledger, 3.95) == 1
    assert owner(ledger, 4.05) is None


def test_an_interim_result_is_torn_apart_where_its_final_will_be() -> None:
    ledger = Ledger()
    unheard(ledger)
    both = (Word("and", 2.4, 2.6), Word("two", 2.8, 3.0))
    for is_final in (False, True):
        past, present = ledger.split(Transcript(9.0, both, 2.0, 3.1, is_final))
        assert present is None
    assert [word.text for word in past[0][1].words] == ["and", "two"]


def test_a_word_that_belongs_to_it_moves_the_border_to_new_speech() -> None:
    ledger = Ledger()
    heard(ledger)
    assert owner(ledger, 2.2, 2.6) == 1
    ledger.speech_started(3.0)
    assert owner(ledger, 2.7) == 1, "before the middle of 2.6 and 3.0"
    assert owner(ledger, 2.85) is None


def test_an_interim_word_moves_no_limit() -> None:
    ledger = Ledger()
    unheard(ledger)
    assert owner(ledger, 2.4, 2.6, is_final=False) is None
    assert owner(ledger, 2.9) is None


def test_a_word_does_not_move_the_limit_of_a_turn_that_the_vad_heard() -> None:
    ledger = Ledger()
    heard(ledger)
    assert owner(ledger, 2.4, 3.2) == 1
    assert owner(ledger, 3.1) is None


@pytest.mark.parametrize(("start", "belongs"), [(2.3, True), (2.5, False)])
def test_the_border_to_new_speech_lies_half_way_in_the_silence(start: float, belongs: bool) -> None:
    """Between the end at 2.0 and the onset at 2.8, at 2.4."""
    ledger = Ledger()
    heard(ledger)
    ledger.speech_started(2.8)
    assert owner(ledger, start) == (1 if belongs else None)


def test_the_border_does_not_lie_before_the_end() -> None:
    ledger = Ledger()
    heard(ledger)
    ledger.speech_started(1.0)
    assert owner(ledger, 1.9) == 1
    assert owner(ledger, 2.1) is None


@pytest.mark.parametrize(("onset", "belongs"), [(3.4, False), (3.6, True)])
def test_speech_well_after_the_decision_moves_no_border(onset: float, belongs: bool) -> None:
    """Half a second after it at 3.0 nobody doubts that the silence before belongs to the turn."""
    ledger = Ledger()
    heard(ledger)
    ledger.speech_started(onset)
    assert owner(ledger, 2.85) == (1 if belongs else None)


def test_a_late_final_is_news_when_it_says_something_else() -> None:
    ledger = Ledger()
    heard(ledger)
    ((closed, late),), present = ledger.split(final(4.0, "and two", 2.2, 2.8, upto=3.5))
    assert (late.start, late.end, present) == (2.2, 3.0, None), "no more of its span than belongs to the turn"
    told = closed.amend(late)
    assert told is not None
    assert told.text == "one and two"
    assert closed.said == "one and two"


def test_a_late_final_that_only_confirms_is_no_news() -> None:
    closed = Closed(1, words(interim(2.2, "one", 1.0, 2.0)), 2.0, 3.0, 3.0, True, False, "one")
    assert closed.amend(final(3.5, "One.", 1.0, 2.0)) is None
    assert closed.words is not None
    assert closed.words.confirmed


def test_words_that_were_cleared_are_dropped() -> None:
    ledger = Ledger()
    heard(ledger)
    ledger.close(2, None, 5.0, 5.0, vad=True, cut=True)
    ((closed, late),), present = ledger.split(final(6.0, "never mind", 4.0, 4.5))
    assert (closed.number, closed.amend(late), present) == (2, None, None)
    assert ledger.last is not None
    assert ledger.last.number == 1, "a turn that was cleared is no completed one"


def test_what_was_spoken_before_the_decision_is_not_torn_apart() -> None:
    """Turn 1 waits for "b"; all that its segment brings was spoken by then, wherever it was laid."""
    ledger = Ledger()
    waits = words(interim(1.2, "a b", 0.2, 1.2))
    ledger.close(1, waits, 1.2, 3.6, vad=False)
    result = Transcript(3.6, spread(["a", "b", "c"], 0.2, 3.6), 0.0, 3.6, True, timed=False)
    ((closed, late),), present = ledger.split(result)
    assert (closed.number, [word.text for word in late.words], present) == (1, ["a", "b", "c"], None)


def test_one_result_may_be_shared_by_three_turns() -> None:
    ledger = Ledger()
    ledger.close(1, words(final(1.2, "one", 0.0, 1.0)), 1.0, 2.0, vad=True)
    ledger.close(2, words(final(3.2, "three", 2.0, 3.0)), 3.0, 4.0, vad=True)
    result = Transcript(6.0, (Word("b", 1.2, 1.4), Word("c", 3.2, 3.4), Word("d", 5.0, 5.4)), 1.0, 6.0, is_final=True)
    past, present = ledger.split(result)
    assert [(closed.number, [w.text for w in late.words], late.start, late.end) for closed, late in past] == [
        (1, ["b"], 1.2, 2.0),
        (2, ["c"], 3.2, 4.0),
    ]
    assert present == replace(result, words=(Word("d", 5.0, 5.4),))
    more = replace(result, words=(*result.words, Word("e", 5.5, 5.9)))
    assert ledger.split(more)[1] == replace(more, words=more.words[2:])
    past, present = ledger.split(replace(result, is_final=False))
    assert (past, present) == ([], replace(result, is_final=False, words=(Word("d", 5.0, 5.4),)))


def test_a_result_without_words_belongs_to_the_present() -> None:
    ledger = Ledger()
    heard(ledger)
    empty = final(3.0, "", 1.0, 2.0)
    assert ledger.split(empty) == ([], empty)
    untimed = replace(empty, timed=False)
    assert ledger.split(untimed) == ([], untimed)


def test_a_final_later_than_four_turns_goes_to_the_oldest_one_kept() -> None:
    ledger = Ledger()
    for number in range(1, 7):
        ledger.close(number, Words(), 10.0 * number, 10.0 * number + 1, vad=True)
    assert owner(ledger, 5.0) == 3


def test_a_result_that_is_delivered_twice_is_known_among_the_last_eight() -> None:
    ledger = Ledger()
    results = [final(float(n), "yes", n, n + 0.5) for n in range(1, 10)]
    assert [ledger.delivered(result) for result in results] == [False] * 9
    assert ledger.delivered(replace(results[1], at=20.0))
    assert not ledger.delivered(replace(results[0], at=20.0)), "the ninth before"


def test_only_finals_with_words_and_a_span_can_be_known_again() -> None:
    ledger = Ledger()
    for result in (
        interim(1.0, "yes", 0.0, 1.0),
        final(1.0, "", 0.0, 1.0),
        Transcript(1.0, (Word("yes", 0.0, 0.0),), 0.0, 0.0, is_final=True),
    ):
        assert not ledger.delivered(result)
        assert not ledger.delivered(result)


def test_a_new_connection_repeats_words() -> None:
    ledger = Ledger()
    ledger.cover(2.0)
    ledger.cover(1.0)
    again = final(3.0, "one two three", 0.0, 3.0)
    assert ledger.unsaid(again) is again, "on the same connection they are others"
    ledger.link_restored()
    assert [w.text for w in ledger.unsaid(again).words] == ["three"]
    ledger.cover(9.0)
    assert [w.text for w in ledger.unsaid(again).words] == ["three"], "final since then, and said by this connection"


# Words without times


def untimed(text: str, start: float, end: float) -> Transcript:
    return replace(final(9.0, text, start, end), timed=False)


@pytest.mark.parametrize("vad", [True, False])
def test_as_many_words_as_a_turn_waits_for_are_its_own(vad: bool) -> None:
    ledger = Ledger()
    ledger.close(1, words(interim(2.0, "call me", 1.0, 2.0)), 2.0, 3.0, vad=vad)
    ((closed, late),), present = ledger.split(untimed("Call me later today", 1.0, 5.0))
    assert (closed.number, [w.text for w in late.words]) == (1, ["Call", "me"])
    assert present is not None
    limit = 3.0 if vad else 2.5
    each = (5.0 - limit) / 2
    assert present.words == (Word("later", limit, limit + each), Word("today", limit + each, 5.0))


def test_a_result_that_ends_in_the_turn_is_not_torn_apart() -> None:
    ledger = Ledger()
    ledger.close(1, words(interim(2.0, "call me", 1.0, 2.0)), 2.0, 3.0, vad=True)
    ((closed, late),), present = ledger.split(untimed("Call me now", 1.0, 2.8))
    assert (closed.number, len(late.words), present) == (1, 3, None)


@pytest.mark.parametrize(("end", "torn"), [(2.8, False), (3.2, True)])
def test_without_a_vad_a_result_is_torn_apart_behind_the_decision(end: float, torn: bool) -> None:
    ledger = Ledger()
    ledger.close(1, words(interim(2.0, "call me", 1.0, 2.0)), 2.0, 3.0, vad=False)
    ((_, late),), present = ledger.split(untimed("Call me now", 1.0, end))
    assert [w.text for w in late.words] == (["Call", "me"] if torn else ["Call", "me", "now"])
    assert (present is not None) is torn


def test_with_a_vad_a_result_is_torn_apart_behind_the_border_to_new_speech() -> None:
    ledger = Ledger()
    ledger.close(1, words(interim(2.0, "call me", 1.0, 2.0)), 2.0, 3.0, vad=True)
    ledger.speech_started(2.4)
    ((_, late),), present = ledger.split(untimed("Call me now", 1.0, 2.8))
    assert [w.text for w in late.words] == ["Call", "me"]
    assert present is not None
    assert present.words == (Word("now", 2.2, 2.8),)


def test_a_result_that_begins_after_the_turn_is_the_present_s() -> None:
    ledger = Ledger()
    ledger.close(1, words(interim(2.0, "call me", 1.0, 2.0)), 2.0, 3.0, vad=True)
    result = untimed("later today", 3.0, 5.0)
    assert ledger.split(result) == ([], result)


def test_a_turn_that_waits_for_nothing_gets_nothing() -> None:
    ledger = Ledger()
    heard(ledger)
    result = untimed("two three", 1.0, 5.0)
    assert ledger.split(result) == ([], result), "its last word lies behind the turn"


@pytest.mark.parametrize(
    ("end", "shares", "new"),
    [(9.0, ["one", "two three"], "four five"), (5.5, ["one", "two three four five"], None)],
)
def test_several_turns_that_wait_share_a_result_in_order(end: float, shares: list[str], new: str | None) -> None:
    """The last one has what is left when the result ends in it."""
    ledger = Ledger()
    ledger.close(1, words(interim(1.2, "one", 0.0, 1.0)), 1.0, 3.0, vad=False)
    ledger.close(2, words(interim(5.2, "two three", 4.0, 5.0)), 5.0, 7.0, vad=False)
    past, present = ledger.split(untimed("one two three four five", 0.0, end))
    assert [(closed.number, " ".join(word.text for word in late.words)) for closed, late in past] == [
        (number, text) for number, text in enumerate(shares, 1)
    ]
    assert (present and " ".join(word.text for word in present.words)) == new


def test_a_result_that_has_too_few_words_is_the_first_one_s() -> None:
    ledger = Ledger()
    ledger.close(1, words(interim(1.2, "one", 0.0, 1.0)), 1.0, 3.0, vad=False)
    ledger.close(2, words(interim(5.2, "two three", 4.0, 5.0)), 5.0, 7.0, vad=False)
    ((closed, late),), present = ledger.split(untimed("one", 0.0, 9.0))
    assert (closed.number, [word.text for word in late.words], present) == (1, ["one"], None)
