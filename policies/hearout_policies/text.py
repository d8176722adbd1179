"""How a text ends: the cheapest evidence of whether its speaker has finished.

The classes, and what they are worth, come from 9,845 pauses inside and 5,117 ends of turns of hand-timed
interviews (see `ENDING_ODDS`). Word lists are data, one TOML file a language in ``languages/``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import resources

__all__ = ["ENDING_ODDS", "Ending", "Language", "classify", "language", "languages"]


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


#: Probability that a pause after such an ending is the end of the turn. Computed from 27 interviews of the CORAAL
#: corpus (pauses of 0.2-5 s). DIGITS and NOTHING were not measured: the first is a list that goes on more often
#: than not, of the second nothing is known.
ENDING_ODDS: Mapping[Ending, float] = {
    Ending.QUESTION: 0.84,
    Ending.PLAIN: 0.46,
    Ending.STOP: 0.42,
    Ending.CONJUNCTION: 0.20,
    Ending.FILLER: 0.15,
    Ending.FUNCTION_WORD: 0.13,
    Ending.CUT_OFF: 0.11,
    Ending.COMMA: 0.08,
    Ending.DIGITS: 0.2,
    Ending.NOTHING: 0.0,
}


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


def bare(token: str) -> str:
    """A token in lower case without the punctuation around it."""
    return token.casefold().replace("’", "'").strip('.,!?;:…—–"()[]')


def classify(text: str, lang: Language) -> Ending:
    """The class of how ``text`` ends. Works with and without punctuation."""
    tokens = text.rsplit(maxsplit=_LOOK_BACK)
    if not tokens:
        return Ending.NOTHING
    last = tokens[-1]
    word = bare(last)
    if last.endswith("?"):
        return Ending.QUESTION
    if word in lang.fillers:
        return Ending.FILLER
    if last.endswith(("-", "—", "–", "...", "…")):
        return Ending.CUT_OFF
    if _is_read_out(tokens, lang):
        return Ending.DIGITS
    if last.endswith(","):
        return Ending.COMMA
    if last.endswith((".", "!")):
        return Ending.STOP
    said = " ".join(bare(token) for token in tokens)
    if said in lang.whole:
        return Ending.STOP
    if word in lang.conjunctions:
        return Ending.CONJUNCTION
    if word in lang.function_words or f" {said}".endswith(_tails(lang)):
        return Ending.FUNCTION_WORD
    return Ending.PLAIN


def _is_read_out(tokens: list[str], lang: Language) -> bool:
    """The text ends in two or more digits or letters said one by one, or in a group of three or more digits."""
    run = certain = 0
    for token in reversed(tokens):
        word = bare(token)
        digits = sum(c.isdigit() for c in word)
        if digits and digits == sum(c.isalnum() for c in word) and not token.startswith(("$", "€", "£")):
            signs = digits
        elif word in lang.spelled or (len(word) == 1 and word.isalpha()):
            signs = 1
        else:
            break
        run += signs
        certain += signs if word not in lang.letter_words else 0  # "a" and "i" are words, except among letters
    if not certain:
        return False
    # Two read-out signs already make a list; but "at 10" and "25" are two digits of one number.
    return run >= 3 or (run == 2 and len(tokens) >= 2 and not bare(tokens[-1]).isdigit())
