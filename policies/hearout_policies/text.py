"""How a text ends: the cheapest evidence of whether its speaker has finished.

What the classes are worth stands in ``odds.toml``. Word lists are data, one TOML file a language in ``languages/``.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import resources

from hearout_policies.marks import COMMAS, QUESTIONS, STOPS, bare, end_marks, has_word, is_blankless, pieces

__all__ = ["Ending", "Language", "classify", "language", "languages"]


class Ending(Enum):
    """The classes a text's end falls into."""

    NOTHING = "nothing"
    QUESTION = "question"
    STOP = "stop"
    PLAIN = "plain"
    CONJUNCTION = "conjunction"
    FILLER = "filler"
    FUNCTION_WORD = "function_word"
    CUT_OFF = "cut_off"
    COMMA = "comma"
    DIGITS = "digits"


@dataclass(frozen=True)
class Language:
    """The word lists of one language; see ``languages/en.toml`` for their meaning."""

    conjunctions: frozenset[str]
    fillers: frozenset[str]
    function_words: frozenset[str]
    openers: frozenset[str]
    whole: frozenset[str]
    spelled: frozenset[str]
    letter_words: frozenset[str]
    joiners: frozenset[str]
    multipliers: frozenset[str]
    address_words: frozenset[str]
    articles: frozenset[str]
    units: frozenset[str]
    with_digits: frozenset[str]
    denials: frozenset[str]
    backchannels: frozenset[str]


def languages() -> list[str]:
    """The codes of the languages there are word lists for."""
    folder = resources.files("hearout_policies") / "languages"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


@cache
def language(code: str) -> Language:
    """Read the word lists of ``code`` ("en").

    Raises:
        ValueError: there are none.
    """
    if code not in languages():
        raise ValueError(f"no word lists for language {code!r}; there are: {', '.join(languages())}")
    source = resources.files("hearout_policies") / "languages" / f"{code}.toml"
    return Language(**{name: frozenset(words) for name, words in tomllib.loads(source.read_text("utf-8")).items()})


@cache
def _tails(lang: Language) -> tuple[str, ...]:
    return tuple(f" {opener}" for opener in lang.openers)


_LOOK_BACK = 16  # tokens; nothing here depends on more of the text than its end
_JOINTS = ("@", "_", "/", "\\")  # what joins the parts of an address is never its end
_DASHES = ("-", "\u2010", "\u2011", "\u2013", "\u2014", "\u2015")
_ELLIPSES = ("..", "\u2025", "\u2026")
_MEASURE = re.compile(r"[\d.,:-]+(\D+)")


def classify(text: str, lang: Language) -> Ending:
    """The class of how ``text`` ends. Works with and without punctuation, in any script."""
    tail = " ".join(text.rsplit(maxsplit=_LOOK_BACK)[-_LOOK_BACK:])
    tokens = [token for token in pieces(tail) if has_word(token) or token.endswith(_JOINTS)]
    if not tokens:
        return Ending.NOTHING
    words = [bare(token) for token in tokens]
    last, marks = words[-1], end_marks(tail)
    if not QUESTIONS.isdisjoint(marks) or (marks.endswith((";", "\u037e")) and _is_greek(last)):
        return Ending.QUESTION
    said = " ".join(words)
    if said in lang.denials:
        return Ending.STOP
    if last in lang.fillers:
        return Ending.FILLER
    if marks.endswith(_DASHES + _ELLIPSES):
        return Ending.CUT_OFF
    if _is_joined(words, marks, lang) or _is_read_out(tokens, words, lang):
        return Ending.DIGITS
    if marks.endswith(tuple(COMMAS)):
        return Ending.COMMA
    if marks.endswith(tuple(STOPS)):
        return Ending.STOP
    if said in lang.whole:
        return Ending.STOP
    if last in lang.conjunctions:
        return Ending.CONJUNCTION
    if last in lang.function_words or f" {said}".endswith(_tails(lang)):
        return Ending.FUNCTION_WORD
    return Ending.PLAIN


def _is_greek(word: str) -> bool:
    """Greek asks with a semicolon."""
    return unicodedata.name(word[-1:] or " ", "").startswith("GREEK")


def _is_read_out(tokens: list[str], words: list[str], lang: Language) -> bool:
    """The text ends in a group of three or more digits, in two or more digits or letters, or in a code ("K7").

    But "at 10" and "25" are two digits of one number, and "$250", "50%", "3rd" and "5pm" are no lists either.
    """
    run = items = certain = 0
    code = False
    for token, word in zip(reversed(tokens), reversed(words), strict=True):
        digits, letters = sum(c.isdigit() for c in word), [c for c in word if c.isalpha()]
        signs, sure = digits + len(letters), True
        if digits and any(c == "%" or unicodedata.category(c) == "Sc" for c in token):
            break
        if digits and letters:
            measure = _MEASURE.fullmatch(word)
            if not all(map(str.islower, letters)) or "@" in word or word in lang.with_digits:
                break
            if measure and measure[1] in lang.units:
                sure = False  # "7K" is one among codes, and "5k" is none elsewhere
            elif "." in word:
                break  # "example2.com"
            else:
                code = True
        elif not digits:
            if not items and word in lang.joiners | lang.multipliers:
                break  # see _is_joined
            if word not in lang.spelled and not (len(word) == 1 and letters and not is_blankless(word)):
                break
            signs, sure = 1, word not in lang.letter_words  # "a" and "i" are words, except among letters
        run += signs
        items += 1
        certain += signs if sure else 0
    if not certain:
        return False
    return code or run >= 3 or (items == 2 and (certain == 2 or not words[-1].isdigit()))


def _is_joined(words: list[str], marks: str, lang: Language) -> bool:
    """The text ends in what announces the next part of an address or a number: "dot", "at", "double".

    But "the dot" and "a double" are nouns, and only inside an address a full stop may come behind "at".
    """
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last.endswith(_JOINTS):
        return True
    after_sign = before in lang.spelled or (len(before) == 1 and before.isalnum() and before not in lang.letter_words)
    if last in lang.address_words:
        return after_sign or (len(words) > 2 and words[-3] in lang.joiners)
    if before in lang.articles:
        return False
    return last in lang.joiners or (last in lang.multipliers and (after_sign or not marks))
