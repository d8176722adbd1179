"""Amounts, of money mostly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import UNLIKE, Reading, begun, whole
from hearout_policies.expect.lists import Lists, lists, words_of

__all__ = ["Amount"]

_FIGURES = re.compile(r"([$€£]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,2}))?([$€£]?)")


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount: "twenty three dollars and fifty cents", "$23.50", "about three hundred".

    Final once its unit was said. The value is a decimal number, and a currency behind it where one was named:
    ``23.50 USD``.
    """

    name: ClassVar[str] = "amount"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        if not known.scales:
            known = known.figures_only
        if known.decimal_comma:
            text = re.sub(r"(?<=\d)[.,](?=\d)", lambda mark: "," if mark[0] == "." else ".", text)
        # Signs of currencies are marks to everybody else.
        words = words_of(re.sub(r"([$€£])\s*(?=\d)", r"\1", text), known)
        return _Sum(known).read(words, set(re.findall("[$€£]", text)))

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}


class _Sum:
    """Adds up what the words of an amount say."""

    def __init__(self, known: Lists) -> None:
        self._known = known
        self.total = self.part = 0.0  # of thousands and millions; below them
        self.cents: int | None = None
        self.unit = False  # what it is an amount of was said
        self.currency = ""
        self.numbers = self.strange = 0
        self.dangling = self.opened = False
        self._last = 0  # size of the number before: 1 for units, 10 for tens and teens, 100 for hundreds

    def read(self, words: list[str], signs: set[str]) -> Reading:
        known = self._known
        for sign in signs:
            self.currency = known.of("currencies", sign) or self.currency
        for place, word in enumerate(words):
            parts = [word] if known.of("ordinals", word) or "-" not in word else [w for w in word.split("-") if w]
            for part in parts:
                self._take(part, words[place + 1 :])
        if not self.numbers:
            return begun() if self.opened and not self.strange else UNLIKE
        if self.strange > 2 + self.numbers:
            return UNLIKE
        value = self.total + self.part
        value_text = f"{value:g}" if value == int(value) else f"{value:.2f}"
        if value == int(value):
            value_text = f"{int(value)}"
        if self.cents is not None:
            value_text = f"{int(value)}.{self.cents:02d}"
        value_text = f"{value_text} {self.currency}".strip()
        if self.dangling:
            return begun(value_text)
        return whole(value_text, final=self.unit or bool(self.currency))

    def _take(self, word: str, rest: list[str]) -> None:
        known = self._known
        figures = _FIGURES.fullmatch(word)
        number = known.of("digits", word) or known.of("teens", word) or known.of("tens", word)
        if figures:
            self._number(float(figures[2].replace(",", "")), 1000)
            self.cents = int(figures[3].ljust(2, "0")) if figures[3] else self.cents
            for sign in (figures[1], figures[4]):
                self.currency = known.of("currencies", sign) or self.currency
        elif number is not None:
            self._number(float(number), 10 if len(number) > 1 else 1)
        elif scale := known.of("scales", word):
            self._scale(float(scale))
        elif word in known.half:
            self.part += 0.5
            self.dangling = False
        elif currency := known.of("currencies", word):
            self.currency, self.dangling, self._last = currency, False, -1
        elif known.of("cents", word) is not None:
            if self.cents is None and self._last >= 0:
                self.cents, self.part = int(self.part), 0.0
            self.dangling = False
            self.unit = True
        elif word in known.joining:
            self.dangling = bool(self.numbers)
        elif word in known.a:
            self.opened = True
        elif word in known.openers or word in known.polite:
            self.opened |= word in known.openers
        else:
            self.strange += 1

    def _number(self, value: float, size: int) -> None:
        self.numbers += 1
        self.dangling = False
        if self._last == -1:  # behind "dollars"
            self.cents = int(value) if self.cents is None or size == 10 else self.cents + int(value)
            self._last = -1
            return
        if self._last and size >= self._last and self._last <= 10 and 0 < value < 100:
            # "twenty three fifty": what is not added to what came before is cents.
            self.cents = int(value)
            self._last = -1
            return
        self.part += value
        self._last = size

    def _scale(self, scale: float) -> None:
        self.numbers += 1
        self.dangling = False
        if scale == 100:
            self.part = (self.part or 1) * scale
        else:
            self.total, self.part = self.total + (self.part or 1) * scale, 0.0
        self._last = 100
