"""What an expectation is, and what it makes of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

__all__ = ["UNLIKE", "Expectation", "Reading", "begun", "read_all", "whole"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text is as an answer.

    Attributes:
        state: ``complete``: a whole one; ``partial``: the beginning of one; ``unlike``: none, which changes nothing.
        value: what was read so far, in its usual form; None: nothing yet.
        final: nothing can sensibly follow.
    """

    state: Literal["complete", "partial", "unlike"]
    value: str | None = None
    final: bool = False


UNLIKE = Reading("unlike")


def begun(value: str | None = None) -> Reading:
    """The beginning of an answer."""
    return Reading("partial", value or None)


def whole(value: str, *, final: bool = False) -> Reading:
    """A whole answer."""
    return Reading("complete", value, final)


class Expectation(Protocol):
    """What was asked for. Equal ones are equal, and they can be hashed: the same text is read once.

    Attributes:
        name: in JSON, and in `hearout.TurnCompleted.answer`.
    """

    name: ClassVar[str]

    def read(self, text: str, language: str = "en") -> Reading:
        """What ``text``, the whole turn so far, is as an answer; the same for the same text."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, which `expectation` takes."""


_RANK = {"partial": 1, "complete": 2}


def read_all(
    expectations: Sequence[Expectation], text: str, language: str = "en"
) -> tuple[Expectation, Reading] | None:
    """The expectation that ``text`` meets best, and how: the first of those that are final, complete, or begun.

    None: it is unlike all of them.
    """
    readings = [(one, one.read(text, language)) for one in expectations]
    liked = [(one, reading) for one, reading in readings if reading.state != "unlike"]
    return max(liked, key=lambda two: _RANK[two[1].state] + two[1].final, default=None)
