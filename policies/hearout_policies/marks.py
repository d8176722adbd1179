"""Marks and words in the scripts of all languages: where a word is, and what remains when only the marks change.

What a mark is comes from Unicode: its general categories, and the properties Terminal_Punctuation and
Sentence_Terminal of PropList.txt, which the standard library does not know and which stand here in part (the Basic
Multilingual Plane, Unicode 14).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = [
    "COMMAS",
    "QUESTIONS",
    "STOPS",
    "bare",
    "count_words",
    "end_marks",
    "has_word",
    "is_blankless",
    "phrase",
    "pieces",
    "spoken",
]

#: Sentence_Terminal, and the Khmer signs that newer versions of Unicode count to it.
STOPS = frozenset(
    "!.?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b\u1362"
    "\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f"
    "\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f"
    "\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01"
    "\uff0e\uff1f\uff61"
)
#: Those among them that ask.
QUESTIONS = frozenset("?\u061f\u1367\u1945\u203d\u2047\u2048\u2049\u2e2e\u2e54\ua60f\ua6f7\ufe56\uff1f")
#: Terminal_Punctuation that ends no sentence: commas, colons and semicolons.
COMMAS = frozenset(
    ",:;\u037e\u0387\u05c3\u060c\u061b\u0703\u0704\u0705\u0706\u0707\u0708\u0709\u070a\u070c\u07f8\u0830\u0831\u0832\u0833"
    "\u0834\u0835\u0836\u0838\u083a\u083b\u083c\u085e\u0e5a\u0e5b\u0f08\u0f0d\u0f0e\u0f0f\u0f10\u0f11\u0f12\u1361\u1363"
    "\u1364\u1365\u1366\u16eb\u16ec\u16ed\u17d6\u17da\u1802\u1804\u1805\u1808\u1b5d\u1c3d\u1c3e\u1c3f\u2e41\u2e4c\u2e4e"
    "\u2e4f\u3001\ua4fe\ua60d\ua6f4\ua6f5\ua6f6\ua9c7\uaadf\ufe50\ufe51\ufe54\ufe55\uff0c\uff1a\uff1b\uff64"
)

# ASCII punctuation that belongs to what is said: in addresses, amounts and words cut off.
_SAID = frozenset("#%&*-/@\\_")
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\u2010\u2011", "'''--")  # one way to write what has several

# Scripts that put no blanks between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese.
_BLANKLESS = (
    "\u0e00-\u0e3e\u0e40-\u0e4f\u0e80-\u0ecf\u1000-\u103f\u104c-\u108f\u109a-\u109f\u1780-\u17d3\u17d7\u17dc\u17dd"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u3040-\u309f\u30a1-\u30fa\u30fc-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
_PIECES = re.compile(f"[{_BLANKLESS}]+|[^\\s{_BLANKLESS}]+")
_RUN = re.compile(f"[{_BLANKLESS}]+")

# Characters, signs of vowels and tones not counted, to a word of such a script. The four corpora of the second Chinese
# segmentation bakeoff (Emerson 2005) have 1.5 to 1.7; rounded up, so that the "hai" of a listener is one word.
_A_WORD = 2


def has_word(text: str) -> bool:
    """There is a letter or a digit in ``text``, of any script. Marks alone are what a cough is written as."""
    return text.isalnum() or any(map(str.isalnum, text))


def pieces(text: str) -> list[str]:
    """``text`` at its blanks, and where a script that has none meets another, or a mark."""
    return _PIECES.findall(text)


def is_blankless(piece: str) -> bool:
    """``piece``, one of `pieces`, is in a script without blanks between words."""
    return not piece.isascii() and _RUN.match(piece) is not None


def count_words(text: str) -> int:
    """The words in ``text``; where a script has no blanks between them, by its characters."""
    words = characters = 0
    for piece in pieces(text):
        if is_blankless(piece):
            characters += sum(map(str.isalnum, piece))
        else:
            words += has_word(piece)
    return words + -(-characters // _A_WORD)


@lru_cache(maxsize=4096)
def bare(token: str) -> str:
    """A token in lower case without the punctuation around it, in the one of several ways to write the same."""
    text = unicodedata.normalize("NFKC", token.casefold().translate(_APOSTROPHES))
    start, end = 0, len(text)
    while start < end and _is_mark(text[start]):
        start += 1
    while start < end and _is_mark(text[end - 1]):
        end -= 1
    return text[start:end]


def phrase(text: str) -> str:
    """The words of ``text``, each `bare`, with a blank between two where their script has blanks."""
    said, blank = "", False
    for piece in pieces(text):
        if has_word(word := bare(piece)):
            apart = not is_blankless(piece)
            said += f" {word}" if said and (apart or blank) else word
            blank = apart
    return said


def end_marks(text: str) -> str:
    """The marks that ``text`` ends in, without the quotes, brackets and blanks among them."""
    end = len(text)
    while end and (_is_mark(text[end - 1]) or text[end - 1].isspace() or _category(text[end - 1]) == "Pd"):
        end -= 1
    return "".join(c for c in text[end:] if _category(c) in ("Po", "Pd") and c not in "\"'")


@lru_cache(maxsize=4096)
def _category(char: str) -> str:
    return unicodedata.category(char)


def _is_mark(char: str) -> bool:
    """Punctuation around words, or an invisible sign of layout (a joiner, the direction of writing)."""
    category = _category(char)
    return (category[0] == "P" and char not in _SAID) or category == "Cf"


# What `spoken` makes of the marks: nothing, a blank, or themselves, when they may be part of a number or an address.
_INNER = ".,:-"


class _Form(dict[int, str]):
    """For `str.translate`: worked out once a character."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = _category(char)
        if char == "\u2212":
            form = "-"  # the minus sign
        elif category == "Pd" and char != "-":
            form = " "
        elif category == "Cf" or (category[0] == "P" and char not in _SAID and char not in _INNER and char != "\u066b"):
            form = "" if char not in STOPS | COMMAS else " "
        else:
            form = char
        self[code] = form
        return form


_FORM = _Form()
# Each begins with the mark itself, which is found fast, and then looks behind.
_ABBREVIATION = re.compile(r"\.(?<=\b[^\W\d_]\.)(?=[^\W\d_]\b)")  # the dots inside "p.m."
_THOUSANDS = re.compile(r",(?<=\d,)(?=\d{3}(?!\d))")
_LOOSE = re.compile(
    r"[.,:-](?:"
    r"(?<=\.)(?:(?!\w)|(?<!\w.)(?!\d))"  # a full stop; but not in "15.50", "$.50" or "example.com"
    r"|(?<=[,:])(?:(?<!\d.)|(?!\d))"  # but not in "15,50" or "10:30"
    r"|(?<=-)(?:(?<=\w.)|(?![\d.$€£¥])))"  # a hyphen or a dash; but not in "-5"
)


def spoken(text: str) -> str:
    """``text`` as it would be said: what remains equal when only case and punctuation change.

    Marks that change a value remain: signs ("$", "%", "-5", "@"), the point in "15.50", and signs of vowels, which
    Unicode counts to no letter.
    """
    text = unicodedata.normalize("NFC", text.casefold()).translate(_FORM)
    text = _THOUSANDS.sub("", _ABBREVIATION.sub("", text))
    return " ".join(_LOOSE.sub(" ", text).split())
