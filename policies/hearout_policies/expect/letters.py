"""What is spelled: letter by letter, "S as in Sam", "double l", with the spelling alphabet, with digits in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import UNLIKE, Reading, begun, whole
from hearout_policies.expect.lists import Lists, lists, words_of
from hearout_policies.expect.numbers import corrected, number_at
from hearout_policies.marks import bare, is_blankless

__all__ = ["Code", "Spelled", "letter_at", "run_of"]

_USUAL = 4  # characters from which a code of unknown length may be whole
_LONGEST = 64
_FEW = 3  # letters of the shortest usual name


def letter_at(words: Sequence[str], place: int, known: Lists) -> tuple[str, int]:
    """The letter, or letters, that the words from ``place`` on say, and how many words that are; none: 0."""
    word = words[place]
    if times := known.of("times", word):
        if place + 1 == len(words) or known.of("times", words[place + 1]):
            return "", 0
        letters, length = letter_at(words, place + 1, known)
        return (letters * int(times), 1 + length) if length and len(letters) == 1 else ("", 0)
    spelled = known.of("letters", word)
    letters = word.replace("-", "")  # "s", "s-m-i-t-h"
    if spelled is None and letters.isalpha() and all(len(part) == 1 for part in word.split("-")):
        spelled = None if is_blankless(word) else letters
    if spelled is None:
        return "", 0
    return spelled, 1 + _example(words, place + 1, spelled, known)


def _example(words: Sequence[str], place: int, letter: str, known: Lists) -> int:
    """How many words of "as in Sam" stand there."""
    if place + 1 < len(words) and words[place] in known.spelled_as:
        then = place + 1 + (words[place + 1] in known.spelled_in)
        if then < len(words) and len(words[then]) > 1 and words[then].startswith(letter):
            return then + 1 - place
    return 0


@dataclass(frozen=True, slots=True)
class Run:
    """What is spelled in a text.

    Attributes:
        value: letters and digits, in lower case.
        words: other words that may be what is spelled.
        dangling: something must follow: "double", "as in".
        opened: the text announces that something follows.
    """

    value: str
    words: tuple[str, ...]
    dangling: bool
    opened: bool


def run_of(text: str, known: Lists, *, upper: bool = False, most: int = _LONGEST, least: int = _LONGEST) -> Run:
    """What is spelled in ``text``.

    Args:
        upper: words in capitals are, too ("JPEG").
        most, least: how many characters there can be, which tells what a correction is for.
    """
    words = words_of(text, known)
    capitals = {bare(word) for word in text.split() if upper and word.isascii() and word.isupper()}
    parts: list[str] = [""]  # between corrections
    others: list[str] = []
    place = 0
    dangling = opened = False
    while place < len(words):
        word, spelled = words[place], "".join(parts)
        letters, length = _said_at(words, place, known, capitals)
        # "my a" announces, "b a" spells: what may announce spells behind a letter, or before one.
        if length and not spelled and word in known.openers and not _said_at(words, place + length, known, capitals)[1]:
            length = 0
        if length:
            parts[-1] += letters
            dangling = opened = False
        elif known.of("times", word) or (spelled and word in known.spelled_as):
            dangling, length = True, 1
        elif (length := known.starts(known.corrections, words, place)) and spelled:
            parts += [""] if parts[-1] else []
            dangling = True
        elif word in known.openers or word in known.polite or known.of("marks", word):
            opened |= word in known.openers
            length = 1
        else:
            others.append(word)
            length = 1
        place += length
    value = ""
    for part in parts:
        value = corrected(value, part, most, least)
    return Run(value, tuple(others), dangling, opened)


def _said_at(words: Sequence[str], place: int, known: Lists, capitals: set[str]) -> tuple[str, int]:
    """The letters or digits that the words from ``place`` on say, and how many words that are; none: 0."""
    if place >= len(words):
        return "", 0
    word = words[place]
    letters, length = letter_at(words, place, known)
    if length:
        return letters, length
    digits, length = number_at(words, place, known)
    if length:
        return digits, length
    plain = word.replace("-", "")
    mixed = any(map(str.isdigit, plain)) and plain.isalnum()  # "ab12", "ab-12"
    return (plain, 1) if mixed or (word in capitals and plain.isalnum()) else ("", 0)


@dataclass(frozen=True, slots=True)
class Code:
    """Letters and digits: ``Code(6)``; without a length it may be whole from four characters on.

    The value is in capitals, without blanks and dashes.

    Raises:
        ValueError: it cannot be so long.
    """

    name: ClassVar[str] = "code"
    length: int | None = None

    def __post_init__(self) -> None:
        if self.length is not None and (
            isinstance(self.length, bool) or not isinstance(self.length, int) or not 1 <= self.length <= _LONGEST
        ):
            raise ValueError(f"code: its length is a whole number from 1 to {_LONGEST}, not {self.length!r}")

    def read(self, text: str, language: str = "en") -> Reading:
        most = self.length or _LONGEST
        said = run_of(text, lists(language), upper=True, most=most, least=self.length or _LONGEST)
        value = said.value.upper()
        if not value:
            return begun() if said.opened and not said.words else UNLIKE
        if len(said.words) > 1 + len(value) / 2 or len(value) > most:
            return Reading("unlike", value)
        if said.dangling or len(value) < (self.length or _USUAL):
            return begun(value)
        return whole(value, final=len(value) == self.length)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name} | ({} if self.length is None else {"length": self.length})


@dataclass(frozen=True, slots=True)
class Spelled:
    """A name or a word, spelled or said. What is said and then spelled in full is final; else nobody knows its end.

    The value is in capitals.
    """

    name: ClassVar[str] = "spelled"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        said = run_of(text, known)
        spelled = said.value
        if not spelled:
            if said.words and len(said.words) <= 2 and not any(word in known.denials for word in said.words):
                return whole(" ".join(said.words).upper())
            return begun() if said.opened and not said.words else UNLIKE
        value = spelled.upper()
        if any(word in known.denials for word in said.words) or len(said.words) > 1 + len(value) / 2:
            return Reading("unlike", value)
        word = said.words[-1] if said.words else ""
        if said.dangling or len(value) < _FEW or (word.startswith(spelled) and word != spelled):
            return begun(value)
        return whole(value, final=spelled == word)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}
