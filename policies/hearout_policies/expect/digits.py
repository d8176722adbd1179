"""Numbers that are read out digit by digit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import Reading, begun, whole
from hearout_policies.expect.lists import lists
from hearout_policies.expect.numbers import digits_in

__all__ = ["Digits", "Phone"]

_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Digits:
    """So many digits: ``Digits(10)``, ``Digits(8, 12)``.

    "double five", "oh", "twenty three" are read, figures too, and "no, sorry, seven" corrects the digit before.

    Args:
        least: how many at least.
        most: how many at most; None: as ``least``.

    Raises:
        ValueError: there cannot be so many.
    """

    name: ClassVar[str] = "digits"
    least: int
    most: int | None = None

    def __post_init__(self) -> None:
        if self.most is None:
            object.__setattr__(self, "most", self.least)
        for value in (self.least, self.most):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"digits: a number of digits is a whole number, not {value!r}")
        if not 1 <= self.least <= self._most <= _LONGEST:
            raise ValueError(f"digits: from 1 to {_LONGEST} of them, not {self.least} to {self.most}")

    @property
    def _most(self) -> int:
        assert self.most is not None
        return self.most

    def read(self, text: str, language: str = "en") -> Reading:
        said = digits_in(text, lists(language), self._most, self.least)
        count = len(said.digits)
        if said.unlike or count > self._most:
            return Reading("unlike", said.digits or None)
        if said.dangling or count < self.least:
            return begun(said.digits)
        return whole(said.digits, final=count == self._most)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name, "least": self.least, "most": self._most}


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone number, by how it begins.

    With 1 to 9 it is one of the North American plan: seven digits are whole, ten final (eleven behind a 1). With 0 it
    is one of a national plan, as in Britain: ten are whole, eleven final. Behind a plus it is international (E.164):
    eight are whole, 15 final; behind +1 eleven, behind +44 twelve. In other languages than English a number without a
    plus is as long as in the countries that speak them. The value has digits only, and the plus.
    """

    name: ClassVar[str] = "phone"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        said = digits_in(text, known, 15, 7)
        digits = said.digits
        least, most = known.phone if known.phone and not said.plus else _plan(digits, plus=said.plus)
        value = f"+{digits}" if said.plus and digits else digits
        if said.unlike or len(digits) > most:
            return Reading("unlike", value or None)
        if said.dangling or len(digits) < least:
            return begun(value)
        return whole(value, final=len(digits) == most)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}


def _plan(digits: str, *, plus: bool) -> tuple[int, int]:
    """From how many digits on a number is whole, and how many there are at most."""
    if plus:
        known = {"1": (11, 11), "44": (12, 12)}
        return next((plan for code, plan in known.items() if digits.startswith(code)), (8, 15))
    if digits.startswith("0"):
        return 10, 11
    return (11, 11) if digits.startswith("1") else (7, 10)
