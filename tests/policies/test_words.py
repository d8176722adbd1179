"""The words of a turn: literal results in, literal words out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearout_policies.marks import spoken
from hearout_policies.signals import Transcript, Word
from hearout_policies.words import Words, join, middle, reach, respread, spread
from tests.kit.turns import final, interim


def text_of(*results: Transcript) -> str:
    words = Words()
    for result in results:
        words.add(result)
    return words.text


def test_the_next_interim_takes_the_place_of_the_one_before() -> None:
    assert text_of(interim(1.0, "wreck a nice", 0.0, 1.0), interim(2.0, "recognise speech", 0.0, 2.0)) == (
        "recognise speech"
    )


def test_a_final_takes_the_place_of_the_interim_in_its_span() -> None:
    words = Words()
    words.add(interim(2.0, "one two three four", 0.0, 2.0))
    words.add(final(2.1, "won too", 0.0, 1.0))
    assert [w.text for w in words.finals] == ["won", "too"]
    assert [w.text for w in words.pending] == ["three", "four"]
    assert (words.text, words.covered, words.confirmed, len(words)) == ("won too three four", 1.0, False, 4)
    words.add(final(2.2, "three four", 1.0, 2.0))
    assert (words.pending, words.confirmed) == ([], True)


def test_a_word_on_the_border_of_a_final_stays_pending() -> None:
    words = Words()
    words.add(Transcript(1.0, (Word("on", 0.8, 1.2),), 0.0, 1.2, is_final=False))
    words.add(Transcript(1.1, (), 0.0, 1.0, is_final=True))
    assert words.text == "on"


def test_finals_stand_in_audio_order_whenever_they_come() -> None:
    assert text_of(final(3.0, "two", 1.0, 2.0), final(3.1, "one", 0.0, 1.0)) == "one two"


def test_equal_words_at_other_times_are_other_words() -> None:
    assert text_of(final(1.0, "yes", 0.0, 1.0), final(2.0, "yes", 1.0, 2.0)) == "yes yes"


def test_an_interim_that_its_final_has_overtaken_is_left_out() -> None:
    words = Words()
    words.add(final(1.0, "one two", 0.0, 1.0))
    words.add(interim(1.1, "won too three", 0.0, 1.5))
    assert words.text == "one two three"


def test_an_interim_word_half_behind_the_finals_counts() -> None:
    words = Words()
    words.add(Transcript(1.0, (), 0.0, 1.0, is_final=True))
    words.add(Transcript(1.1, (Word("on", 0.8, 1.2), Word("off", 0.7, 1.1)), 0.0, 1.2, is_final=False))
    assert words.text == "on", "the middle of a word decides"


def test_an_empty_interim_erases_what_was_not_final() -> None:
    assert text_of(final(1.0, "so", 0.0, 1.0), interim(2.0, "hm", 1.0, 1.5), interim(2.1, "", 1.0, 2.0)) == "so"


@pytest.mark.parametrize(("start", "text"), [(1.45, "so now"), (1.56, "so um now")])
def test_the_segment_after_the_finals_says_what_is_pending(start: float, text: str) -> None:
    """It begins within 0.5 s of them: what was heard and not made final before is said in it, or was nothing."""
    assert text_of(final(1.2, "so", 0.0, 1.0), interim(1.3, "um", 1.0, 1.08), interim(3.0, "now", start, 3.0)) == text


@pytest.mark.parametrize(("word", "text"), [(1.0, "x"), (0.8, "and x")])
def test_the_head_of_a_segment_may_move_when_it_is_revised(word: float, text: str) -> None:
    """A word up to 0.5 s before its new beginning was in it."""
    pending = Transcript(1.5, (Word("and", word - 0.1, word + 0.1),), 0.5, 1.2, is_final=False)
    assert text_of(pending, Transcript(2.0, (Word("x", 1.7, 2.0),), 1.4, 2.0, False)) == text


def test_what_lies_behind_a_revision_stays() -> None:
    assert text_of(interim(2.0, "one two", 0.0, 2.0), interim(2.1, "won", 0.0, 1.0)) == "won two"


def test_an_empty_answer_says_that_nothing_more_is_owed() -> None:
    """Interim words were heard: they stay, and nobody confirms them."""
    words = Words()
    words.add(interim(1.0, "help me", 0.0, 1.0))
    words.add(final(1.5, "", 0.0, 1.3, ff=True))
    assert (words.text, words.covered, words.confirmed) == ("help me", 1.3, False)
    words.add(final(1.6, "", 0.0, 1.2, ff=True))
    assert words.covered == 1.3


def test_an_empty_final_that_answers_nothing_erases() -> None:
    words = Words()
    words.add(interim(1.0, "hm", 0.0, 1.0))
    words.add(final(1.5, "", 0.0, 1.3))
    assert (words.text, words.covered) == ("", 1.3)


def test_nobody_has_heard_more_than_there_was() -> None:
    words = Words()
    words.add(interim(1.0, "hello", 0.0, 9.0), heard=1.0)
    assert (words.reach, words.newest_end) == (1.0, 1.0)
    words.add(final(2.0, "", 0.0, 9.0, ff=True), heard=2.0)
    assert (words.reach, words.covered, words.newest_end) == (2.0, 2.0, 2.0)


def test_a_final_covers_its_words_though_its_span_does_not() -> None:
    words = Words()
    words.add(Transcript(1.0, (Word("hello", 0.5, 1.4),), 0.0, 1.0, is_final=True))
    assert (words.covered, words.reach, words.newest_end) == (1.4, 1.0, 1.4)


def test_how_far_the_transcriber_has_listened_never_shrinks() -> None:
    words = Words()
    words.add(interim(2.0, "", 0.0, 2.0))
    words.add(interim(2.1, "", 0.0, 1.0))
    assert words.reach == 2.0
    words.add(final(2.2, "", 0.0, 1.5))
    words.add(final(2.3, "", 0.0, 1.0))
    assert words.covered == 1.5


def test_when_they_last_changed() -> None:
    words = Words(since=0.5)
    assert (words.grown_at, words.brought_at, words.final_at, words.newest_end) == (0.5, 0.5, None, None)
    words.add(interim(1.0, "how much", 0.0, 1.0))
    assert (words.grown_at, words.brought_at, words.final_at) == (1.0, 1.0, None)
    words.add(interim(2.0, "How much?", 0.0, 1.0))
    assert (words.grown_at, words.brought_at) == (1.0, 1.0), "only the spelling changed"
    words.add(final(3.0, "How much?", 0.0, 1.0))
    assert (words.grown_at, words.brought_at, words.final_at) == (1.0, 3.0, 3.0)
    words.add(final(4.0, "", 1.0, 2.0))
    assert (words.grown_at, words.brought_at, words.final_at) == (1.0, 3.0, 4.0)
    words.add(interim(5.0, "is it", 2.0, 3.0))
    assert (words.grown_at, words.brought_at, words.final_at) == (5.0, 5.0, 4.0)


def test_the_newest_word_may_end_early_in_its_span_when_its_time_is_not_known() -> None:
    words = Words()
    words.add(interim(1.0, "one two", 0.2, 1.0))
    assert words.newest_from == 1.0
    words.add(replace(interim(3.0, "three", 2.0, 3.0), timed=False))
    assert (words.newest_from, words.newest_end) == (2.0, 3.0)
    words.add(interim(3.1, "", 2.0, 3.1))
    assert words.newest_from == 2.0


def test_words_that_went_down_with_a_connection_are_kept_unconfirmed() -> None:
    words = Words()
    words.add(interim(2.0, "one two", 0.0, 2.0))
    words.keep(1.0)
    assert ([w.text for w in words.kept], [w.text for w in words.pending]) == (["one"], ["two"])
    words.add(final(3.0, "two", 1.0, 2.0))
    assert (words.text, words.confirmed, len(words)) == ("one two", False, 2)
    words.add(final(3.1, "nought", -0.5, -0.1))
    assert (words.text, [w.text for w in words.all]) == ("nought one two", ["nought", "one", "two"])


def test_what_was_kept_before_stays_kept() -> None:
    words = Words()
    words.add(interim(2.0, "one two", 0.0, 2.0))
    words.keep(1.0)
    words.keep(2.0)
    assert [w.text for w in words.kept] == ["one", "two"]


def test_keeping_puts_words_in_audio_order() -> None:
    words = Words()
    words.add(interim(2.0, "one two", 0.0, 2.0))
    words.keep(0.5)
    assert [w.text for w in words.kept] == [], "the middle of the first word is at 0.5"
    words.keep(5.0)
    assert (words.text, words.pending) == ("one two", [])


def test_parts_of_words_are_joined() -> None:
    parts = Word("Grü", 0.0, 0.1), Word("ezi", 0.1, 0.2, spaced=False), Word("wohl", 0.2, 0.3)
    assert join(parts) == "Grüezi wohl"
    assert join(parts[1:]) == "ezi wohl"
    assert join([]) == ""


def test_words_are_laid_out_evenly() -> None:
    assert spread(["a", "b"], 1.0, 2.0) == (Word("a", 1.0, 1.5), Word("b", 1.5, 2.0))
    assert spread(["a"], 1.0, 2.0) == (Word("a", 1.0, 2.0),)
    assert spread([], 1.0, 2.0) == ()
    pieces = Word("a", 0.0, 0.1), Word("b", 0.1, 0.2, spaced=False)
    assert respread(pieces, 2.0, 4.0) == (Word("a", 2.0, 3.0), Word("b", 3.0, 4.0, spaced=False))


def test_small_ones() -> None:
    assert middle(Word("a", 1.0, 2.0)) == 1.5
    assert reach([Word("a", 1.0, 2.0), Word("b", 2.0, 2.5)], 2.2) == 2.5
    assert reach([], 2.2) == 2.2
    assert spoken("  It's  «fine», really-now! ") == "its fine really now"


def test_a_word_of_no_length_at_the_end_of_a_result_is_replaced_by_its_final() -> None:
    words = Words()
    both = (Word("a", 0.5, 1.0), Word("b", 1.0, 1.0))
    words.add(Transcript(1.1, both, 0.0, 1.0, is_final=False))
    words.add(Transcript(1.5, both, 0.0, 1.0, is_final=True))
    assert (words.text, words.confirmed) == ("a b", True)
