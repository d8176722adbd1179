"""How a text ends, with and without punctuation."""

from __future__ import annotations

import pytest

from hearout_policies.language import language
from hearout_policies.odds import Odds
from hearout_policies.text import Ending, classify

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
        # Codes and addresses, read out in groups.
        ("The code is K7", Ending.DIGITS),
        ("K7", Ending.DIGITS),
        ("it is LK21,", Ending.DIGITS),
        ("A123B.", Ending.DIGITS),
        ("the postcode is SW1A", Ending.DIGITS),
        ("AB-12", Ending.DIGITS),
        ("QXRT5Z", Ending.DIGITS),
        ("the code is K 7", Ending.DIGITS),
        ("it is 5 7", Ending.DIGITS),
        ("D4 7K", Ending.DIGITS),
        ("К7", Ending.DIGITS),  # Cyrillic
        ("我的号码是138", Ending.DIGITS),
        ("It's maria dot", Ending.DIGITS),
        ("It's maria dot.", Ending.DIGITS),
        ("maria dot weber at", Ending.DIGITS),
        ("maria dot weber at.", Ending.DIGITS),
        ("m w at,", Ending.DIGITS),
        ("the file is report underscore", Ending.DIGITS),
        ("it's new dash", Ending.DIGITS),
        ("new hyphen", Ending.DIGITS),
        ("example dot com slash", Ending.DIGITS),
        ("maria_", Ending.DIGITS),
        ("maria.weber@", Ending.DIGITS),
        ("maria @", Ending.DIGITS),
        ("my number is five double", Ending.DIGITS),
        ("five five triple.", Ending.DIGITS),
        ("it begins with double", Ending.DIGITS),
        # ... and what only looks like them.
        ("25", Ending.PLAIN),
        ("I am in room 12", Ending.PLAIN),
        ("I'm at", Ending.FUNCTION_WORD),
        ("that's where I'm at.", Ending.STOP),
        ("look at the dot", Ending.PLAIN),
        ("be there on the dot.", Ending.STOP),
        ("I have to dash", Ending.PLAIN),
        ("I'll have a double", Ending.PLAIN),
        ("make it double", Ending.PLAIN),
        ("the price is double.", Ending.STOP),
        ("see you at 5pm", Ending.PLAIN),
        ("see you at 5 p.m.", Ending.STOP),
        ("on the 3rd", Ending.PLAIN),
        ("it is 10km", Ending.PLAIN),
        ("in the 1990s", Ending.PLAIN),
        ("about 50%", Ending.PLAIN),
        ("it was €250", Ending.PLAIN),
        ("play the mp3", Ending.PLAIN),
        ("maria95@example.com", Ending.PLAIN),
        ("go to example2.com", Ending.PLAIN),
        ("I have a 5", Ending.PLAIN),
        ("我要3个", Ending.PLAIN),
        ("今天是2024年", Ending.PLAIN),
        # Marks of other scripts, and marks that stand apart or inside of quotes and brackets.
        ("今日は開いてますか？", Ending.QUESTION),
        ("今日 は 開いて ますか ？", Ending.QUESTION),
        ("「開いてますか？」", Ending.QUESTION),
        ("هل أنت مفتوح؟", Ending.QUESTION),
        ("هل أنت مفتوح؟\u200f", Ending.QUESTION),
        ("¿Está abierto?", Ending.QUESTION),
        ("Vous venez ?", Ending.QUESTION),
        ("Είστε ανοιχτά;", Ending.QUESTION),
        ("What?!", Ending.QUESTION),
        ("“Is it open?”", Ending.QUESTION),
        ("好的。", Ending.STOP),
        ("太好了！", Ending.STOP),
        ("ठीक है।", Ending.STOP),
        ("ठीक है ॥", Ending.STOP),
        ("ٹھیک ہے۔", Ending.STOP),
        ("¡Vale!", Ending.STOP),
        ("«Vale.»", Ending.STOP),
        ("បាទ។", Ending.STOP),
        ("ဟုတ်ကဲ့။", Ending.STOP),
        ("እሺ።", Ending.STOP),
        ("Այո։", Ending.STOP),
        ("えっと、", Ending.COMMA),
        ("我想，", Ending.COMMA),
        ("نعم،", Ending.COMMA),
        ("نعم؛", Ending.COMMA),
        ("我的号码是：", Ending.COMMA),
        ("I need two things:", Ending.COMMA),
        ("他说……", Ending.CUT_OFF),
        ("다음에", Ending.PLAIN),
        ("um ,", Ending.FILLER),
        ("¿um?", Ending.QUESTION),
        # Marks alone say nothing.
        (".", Ending.NOTHING),
        ("?", Ending.NOTHING),
        ("… 。", Ending.NOTHING),
        # Sounds that are answers.
        ("mm-mm", Ending.STOP),
        ("nuh-uh", Ending.STOP),
        ("Uh uh.", Ending.STOP),
    ],
)
def test_ending(text: str, ending: Ending) -> None:
    assert classify(text, EN) is ending


def test_a_long_text_is_judged_by_its_end() -> None:
    assert classify("word " * 5000 + "and", EN) is Ending.CONJUNCTION


def test_every_ending_has_odds() -> None:
    assert all(0 < getattr(Odds(), ending.value) < 1 for ending in Ending)


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
        ("a1b2", True),
        ("J-O-H-N", True),
        ("Rub out N-I-M-N-1.", True),
        ("M-C-K-E-S, R-O-C-K-S.", True),
        ("it was an X-ray", False),
        ("by e-mail", False),
        ("a-", False),
    ],
)
def test_what_is_read_out(text: str, read_out: bool) -> None:
    assert (classify(text, language("en")) is Ending.DIGITS) is read_out


def test_no_more_of_a_text_is_read_than_its_last_sixteen_words() -> None:
    """A list of letters is one when it has a sign that is no word by itself, as "b"; "a" may be one."""
    english = language("en")
    assert classify("so b" + " a" * 15, english) is Ending.DIGITS
    assert classify("so b" + " a" * 16, english) is not Ending.DIGITS
