"""How a text ends, with and without punctuation."""

from __future__ import annotations

import pytest

from hearout_policies.text import ENDING_ODDS, Ending, classify, language, languages

EN = language("en")


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("", Ending.NOTHING),
        ("   ", Ending.NOTHING),
        ("Can I change it?", Ending.QUESTION),
        ("That is all.", Ending.STOP),
        ("Stop!", Ending.STOP),
        ("that is all i need", Ending.PLAIN),
        ("I want to go to Rome", Ending.PLAIN),
        ("I would like a coffee and", Ending.CONJUNCTION),
        ("and", Ending.CONJUNCTION),
        ("I don't like that.", Ending.STOP),
        ("I was thinking um", Ending.FILLER),
        ("Um.", Ending.FILLER),
        ("Uh,", Ending.FILLER),
        ("I want to go to", Ending.FUNCTION_WORD),
        ("my name is", Ending.FUNCTION_WORD),
        ("yes i would like", Ending.FUNCTION_WORD),
        ("I nee-", Ending.CUT_OFF),
        ("What I meant was...", Ending.CUT_OFF),
        ("Well,", Ending.COMMA),
        ("My number is five five", Ending.DIGITS),
        ("My number is 555", Ending.DIGITS),
        ("It's 415 555.", Ending.DIGITS),
        ("that is b as in", Ending.PLAIN),
        ("s m i t h", Ending.DIGITS),
        ("J O A N", Ending.DIGITS),
        ("S M I", Ending.DIGITS),
        ("why should I", Ending.FUNCTION_WORD),
        ("vitamin a", Ending.FUNCTION_WORD),
        ("double seven oh", Ending.DIGITS),
        ("at 10", Ending.PLAIN),
        ("It costs $250", Ending.PLAIN),
        ("I have two", Ending.PLAIN),
        ("yes", Ending.STOP),
        ("thank you", Ending.STOP),
        ("no", Ending.STOP),
        ("it’s", Ending.FUNCTION_WORD),
    ],
)
def test_ending(text: str, ending: Ending) -> None:
    assert classify(text, EN) is ending


def test_a_long_text_is_judged_by_its_end() -> None:
    assert classify("word " * 5000 + "and", EN) is Ending.CONJUNCTION


def test_every_ending_has_odds() -> None:
    assert set(ENDING_ODDS) == set(Ending)


def test_word_lists_are_lower_case_and_bare() -> None:
    for code in languages():
        lists = language(code)
        for name in lists.__dataclass_fields__:
            for word in getattr(lists, name):
                assert word == word.casefold().strip(), (code, name, word)


def test_an_unknown_language_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no word lists for language 'xx'; there are: en"):
        language("xx")


@pytest.mark.parametrize("text", ["I was—", "I was –", "I was...", "I was…", "I was-"])
def test_a_dash_or_dots_cut_a_text_off(text: str) -> None:
    assert classify(text, language("en")) is Ending.CUT_OFF


@pytest.mark.parametrize(
    ("text", "read_out"),
    [
        ("it costs €100", False),
        ("it costs £100", False),
        ("it costs $100", False),
        ("it costs 100", True),
        ("four one", True),
        ("b a b", True),
        ("a b c", True),
        ("it was 25", False),
        ("b b", True),
        ("at 10", False),
        ("a a a", False),
        ("a1b2", False),
    ],
)
def test_what_is_read_out(text: str, read_out: bool) -> None:
    assert (classify(text, language("en")) is Ending.DIGITS) is read_out


def test_no_more_of_a_text_is_read_than_its_last_sixteen_words() -> None:
    """A list of letters is one when it has a sign that is no word by itself, as "b"; "a" may be one."""
    english = language("en")
    assert classify("so b" + " a" * 15, english) is Ending.DIGITS
    assert classify("so b" + " a" * 16, english) is not Ending.DIGITS
