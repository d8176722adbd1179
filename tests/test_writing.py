"""Text in one line that no terminal obeys, and JSON without NaN."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.fields import finite
from hearout.writing import counted, meant, printable, shown

#: What a terminal obeys, or cannot encode.
HOSTILE = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",  # the same as ESC [, in one character
    "\x00",
    "\x7f",
    "\r\n",
    "\u2028",
    "\u202egnp.exe",
    "\ud83d",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_terminal_obeys_is_gone(text: str) -> None:
    clean = printable(f"yes {text} no")
    assert clean.startswith("yes ")
    assert clean.endswith(" no")
    assert clean.isprintable()
    assert len(clean) == len(f"yes {text} no")


WORDS = ["déjà vu", "می\u200cخواهم", "क्\u200dष", "👩\u200d🚀", "東京\u3000駅", "quoi\u202f?", "12\u00a0€"]


@pytest.mark.parametrize("text", WORDS)
def test_what_words_are_made_of_stays(text: str) -> None:
    assert printable(text) == text


def test_what_is_long_is_cut() -> None:
    assert printable("x" * 60_000, 10) == "xxxxxxx..."
    assert printable("x" * 10, 10) == "x" * 10
    assert shown("x" * 60_000) == "'" + "x" * 36 + "..."
    assert shown({"a": "\x1b"}) == r"{'a': '\x1b'}"


@given(st.text(st.characters(codec=None)), st.integers(3, 50))
def test_any_text_becomes_one_line_that_can_be_encoded(text: str, most: int) -> None:
    clean = printable(text, most)
    assert len(clean) <= most
    assert len(clean.splitlines()) <= 1
    assert clean == printable(clean)
    clean.encode()


def test_numbers_that_json_does_not_have_become_null() -> None:
    value = {"a": [math.nan, 1.5, (math.inf, -math.inf)], "b": {"c": "nan", "d": True, "e": None}}
    assert json.dumps(finite(value), allow_nan=False) == (
        '{"a": [null, 1.5, [null, null]], "b": {"c": "nan", "d": true, "e": null}}'
    )


def test_one_is_no_plural() -> None:
    assert [counted(number, "more end") for number in (0, 1, 2)] == ["0 more ends", "1 more end", "2 more ends"]


def test_what_may_have_been_meant() -> None:
    assert meant("lisen", ["listen", "replay"]) == "; did you mean listen?"
    assert meant("zzz", ["listen"]) == ""
