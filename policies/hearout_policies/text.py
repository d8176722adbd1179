"""How a text ends: the cheapest evidence of whether its speaker has finished.

What the classes are worth stands in ``odds.toml``, the words of a language in `hearout_policies.language`.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum

from hearout_policies.language import ENDING_LISTS, Language
from hearout_policies.marks import COMMAS, QUESTIONS, STOPS, bare, end_marks, has_word, is_blankless, phrase, pieces

__all__ = ["Ending", "classify"]


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


_LOOK_BACK = 16  # tokens; nothing here depends on more of the text than its end
_JOINTS = ("@", "_", "/", "\\")  # what joins the parts of an address is never its end
_CUT_OFF = ("-", "\u2010", "\u2011", "\u2013", "\u2014", "\u2015", "..", "\u2025", "\u2026")  # dashes, ellipses
_MEASURE = re.compile(r"[\d.,:-]+(\D+)")
_CLOCK = re.compile(r"\d{1,2}h\d{2}")
_HYPHENED = re.compile(r"[^\W_](?:-[^\W_])+")  # "J-O-H-N", as Whisper's family writes what is spelled


# What a text is that ends in a word of these lists.
_CLASSES = {
    "fillers": Ending.FILLER,
    "whole": Ending.STOP,
    "questions": Ending.QUESTION,
    "conjunctions": Ending.CONJUNCTION,
    "function_words": Ending.FUNCTION_WORD,
    "openers": Ending.FUNCTION_WORD,
    "joiners": Ending.DIGITS,
}


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
    if is_blankless(tokens[-1]):
        said = phrase(tail)
        by_words = _by_characters(said, _last_run(tail), lang)
    else:
        said = " ".join(words)
        by_words = _by_words(said, last, lang)
    if said in lang.denials:
        return Ending.STOP
    if by_words is Ending.FILLER:
        return Ending.FILLER
    if marks.endswith(_CUT_OFF):
        return Ending.CUT_OFF
    if by_words is Ending.DIGITS or _is_joined(words, marks, lang) or _is_read_out(tokens, words, lang):
        return Ending.DIGITS
    if marks[-1:] in COMMAS:
        return Ending.COMMA
    if by_words is Ending.QUESTION:
        return Ending.QUESTION
    if marks[-1:] in STOPS:
        return Ending.STOP
    return by_words or Ending.PLAIN


def _by_words(said: str, last: str, lang: Language) -> Ending | None:
    """What the words at the end of a text say; ``last`` is its last one, ``said`` all of it."""
    if last in lang.fillers:
        return Ending.FILLER
    if said in lang.whole:
        return Ending.STOP
    if lang.questions and f" {said}".endswith(lang.asking):
        return Ending.QUESTION
    if last in lang.conjunctions:
        return Ending.CONJUNCTION
    if last in lang.function_words or f" {said}".endswith(lang.opening):
        return Ending.FUNCTION_WORD
    return None


def _by_characters(said: str, run: str, lang: Language) -> Ending | None:
    """Likewise where the end of the text has no blanks between words.

    ``run``, all that stands behind the last mark, is an entry itself, or ends in one that begins with a hyphen in its
    list: of several the longest counts.
    """
    if said in lang.whole:
        return Ending.STOP
    named = next((name for name in ENDING_LISTS if run in getattr(lang, name)), None) or lang.ends_in(run)
    return _CLASSES[named] if named else None


def _last_run(tail: str) -> str:
    """What stands behind the last mark, or the last word of another script; marks behind it do not count."""
    run = ""
    for piece in reversed(pieces(tail)):
        if is_blankless(piece):
            run = bare(piece) + run
        elif run:
            break
    return run


def _is_greek(word: str) -> bool:
    """Greek asks with a semicolon."""
    return unicodedata.name(word[-1:] or " ", "").startswith("GREEK")


def _is_read_out(tokens: list[str], words: list[str], lang: Language) -> bool:
    """The text ends in a group of three or more digits, in two or more digits or letters, or in a code ("K7").

    But "at 10" and "25" are two digits of one number, and "$250", "50%", "3rd" and "5pm" are no lists either.
    """
    run = items = certain = 0
    code, beside = False, words[-2] if len(words) > 1 else ""  # the word behind, or before the last
    for token, word in zip(reversed(tokens), reversed(words), strict=True):
        if is_blankless(word):
            signs, all_of_it = lang.spelled_at_end(word)
            if signs < (1 if all_of_it else 3):  # "on the first" ends in one
                break
            run, items, certain = run + signs, items + signs, certain + signs
            if not all_of_it:
                break
            continue
        if word in lang.conjunctions and not (len(beside) == 1 and beside.isalpha()):
            break  # "treinta y cinco", "uno o"; but "p e d r o"
        digits, letters = sum(c.isdigit() for c in word), [c for c in word if c.isalpha()]
        signs, sure = digits + len(letters), True
        if digits and any(c == "%" or unicodedata.category(c) == "Sc" for c in token):
            break
        if digits and letters:
            measure = _MEASURE.fullmatch(word)
            if not all(map(str.islower, letters)) or "@" in word or word in lang.with_digits:
                break
            if (measure and measure[1] in lang.units) or _CLOCK.fullmatch(word):
                sure = False  # "7K" is one among codes, and "5k" is none elsewhere
            elif "." in word:
                break  # "example2.com"
            else:
                code = True
        elif not digits:
            if not items and word in lang.joiners | lang.multipliers:
                break  # see _is_joined
            if _HYPHENED.fullmatch(word):
                items += len(letters) - 1
            elif word in lang.spelled or (len(word) == 1 and letters):
                signs, sure = 1, word not in lang.letter_words  # "a" and "i" are words, except among letters
            else:
                break
        run += signs
        items += 1
        beside = word
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
