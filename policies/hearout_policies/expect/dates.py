"""Days, said or written."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import UNLIKE, Reading, begun, whole
from hearout_policies.expect.lists import Lists, lists, words_of
from hearout_policies.expect.numbers import digits_in

__all__ = ["Date"]

_WRITTEN = re.compile(r"(\d{1,4})[/.-](\d{1,2})(?:[/.-](\d{2,4}))?")
_IDEOGRAPHS = re.compile(r"(?:(\d{4})\s*年\s*)?(\d{1,2})\s*月\s*(\d{1,2})\s*[日号號]")  # 2024年5月3日
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?")
_PIVOT = 30  # years of two digits up to here are of this century


@dataclass(frozen=True, slots=True)
class Date:
    """A day: "the third of May", "May 3rd, 2024", "5/3/2024" (the month first), "tomorrow".

    Final with its year. The value is ISO 8601: ``2024-05-03``, ``--05-03`` without a year, or the word for a day that
    needs no figure.
    """

    name: ClassVar[str] = "date"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        if not known.months:
            known = known.figures_only
        words = words_of(_IDEOGRAPHS.sub(_with_dashes, text), known)
        if not words:
            return UNLIKE
        return _Parts(known).read(words)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}


def _with_dashes(date: re.Match[str]) -> str:
    return "-".join(part.zfill(2) for part in date.groups() if part)


class _Parts:
    """Day, month and year, from the words of a date."""

    def __init__(self, known: Lists) -> None:
        self._known = known
        self.day: int | None = None
        self.month: int | None = None
        self.year: int | None = None
        self.named = ""
        self.strange = 0
        self.dangling = self.opened = False
        self._rest: list[str] = []  # words of a number behind day and month

    def read(self, words: list[str]) -> Reading:
        place = 0
        while place < len(words):
            place += self._take(words, place)
        self._take_year()
        if self.named and self.day is None:
            return begun(self.named) if self.dangling else whole(self.named)
        if self.day is None and self.month is None:
            return begun() if self.opened and not self.strange else UNLIKE
        if self.strange > 4:
            return UNLIKE
        if self.day is None or self.month is None or self.dangling:
            return begun()
        return self._dated()

    def _dated(self) -> Reading:
        assert self.day is not None
        assert self.month is not None
        try:
            date = datetime.date(self.year or 2000, self.month, self.day)  # 2000 has a 29 February
        except ValueError:
            return begun()
        return whole(date.isoformat(), final=True) if self.year else whole(f"--{date:%m-%d}")

    def _take(self, words: list[str], place: int) -> int:
        known, word = self._known, words[place]
        if written := _WRITTEN.fullmatch(word):
            self._written(*(int(part) if part else None for part in written.groups()))
        elif (month := known.of("months", word)) and self.month is None:
            self.month, self.dangling = int(month), False
        elif day := known.of("days", word):
            self.named, self.dangling = day, False
        elif (
            not known.day_first and self.month is None and self.day is None and (length := self._american(words, place))
        ):
            return length
        elif self.day is None and (found := self._day(words, place)):
            self.day, length = found
            self.dangling = False
            return length
        elif word.isdecimal() or digits_in(word, known).digits or (word in known.joining and self._rest):
            self._rest.append(word)
            self.dangling = False
        elif known.of("scales", word) and self._rest:
            self._rest.append(word)
        elif word in known.openers or word in known.polite:
            self.opened |= word in known.openers
            self.dangling = word in known.openers and (self.day is not None or self.month is not None)
        else:
            self.strange += 1
        return 1

    def _american(self, words: list[str], place: int) -> int:
        """How many words say the month in "ten twenty seven sixty two": the first of several numbers; none: 0."""
        month, length = self._plain(words, place)
        following = place + length
        if not 1 <= month <= 12 or following >= len(words) or not 1 <= self._plain(words, following)[0] <= 31:
            return 0
        self.month = month
        return length

    def _day(self, words: list[str], place: int) -> tuple[int, int] | None:
        """The day that the words say, and how many words: "third", "twenty first", "3rd", "twenty four"."""
        known, word = self._known, words[place]
        if ordinal := known.of("ordinals", word):
            return int(ordinal), 1
        first, _, second = word.partition("-")
        if second and (tens := known.of("tens", first)) and (unit := known.of("ordinals", second)):
            return int(tens) + int(unit), 1
        following = words[place + 1] if place + 1 < len(words) else ""
        if (tens := known.of("tens", word)) and (unit := known.of("ordinals", following)) and int(unit) < 10:
            return int(tens) + int(unit), 2
        if (figures := _DAY.fullmatch(word)) and 1 <= int(figures[1]) <= 31:
            return int(figures[1]), 1
        number, length = self._plain(words, place)
        return (number, length) if 1 <= number <= 31 else None

    def _plain(self, words: list[str], place: int) -> tuple[int, int]:
        """The number below a hundred that the words say, and how many words: "twenty four"; none: 0."""
        known, word = self._known, words[place]
        following = words[place + 1] if place + 1 < len(words) else ""
        if tens := known.of("tens", word):
            unit = known.of("digits", following) or "0"
            return (int(tens) + int(unit), 2) if unit != "0" else (int(tens), 1)
        return int(known.of("teens", word) or known.of("digits", word) or 0), 1

    def _written(self, first: int | None, second: int | None, third: int | None) -> None:
        assert first is not None
        assert second is not None
        self.dangling = False
        if first > 31:
            self.year, self.month, self.day = first, second, third or 1
            return
        usual, other = (second, first) if self._known.day_first else (first, second)
        self.month, self.day = (other, usual) if usual > 12 >= other else (usual, other)
        if third is not None:
            self.year = _century(third)

    def _take_year(self) -> None:
        digits = digits_in(" ".join(self._rest), self._known).digits
        if len(digits) == 2 and digits in ("19", "20") and not self._rest[-1].isdecimal():
            self.dangling = True  # "nineteen" ... "eighty four"
        elif self.year is None and len(digits) in (2, 4):
            self.year = _century(int(digits)) if len(digits) == 2 else int(digits)
        elif digits and self.year is None:
            self.dangling = True


def _century(year: int) -> int:
    return year if year > 99 else year + (2000 if year <= _PIVOT else 1900)
