"""Yes or no, one of several, and anything at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import UNLIKE, Reading, begun, whole
from hearout_policies.expect.lists import lists, words_of
from hearout_policies.marks import is_blankless, phrase

__all__ = ["OneOf", "Open", "YesNo"]

_MOST_OPTIONS = 1000


@dataclass(frozen=True, slots=True)
class YesNo:
    """Yes or no, by the first words. Final when nothing follows but thanks; what goes on behind it may go on longer."""

    name: ClassVar[str] = "yes_no"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        words = words_of(text, known)
        place = 0
        fillers = known.polite - known.yes - known.no
        while place < len(words) and words[place] in fillers and not known.starts(known.yes | known.no, words, place):
            place += 1
        length = known.starts(known.yes | known.no, words, place)
        if not length or known.starts(known.unsure, words, place) >= length:
            return UNLIKE
        value = "no" if known.starts(known.no, words, place) >= length else "yes"
        rest = words[place + length :]
        while rest and (more := known.starts(known.yes | known.no, rest, 0) or int(rest[0] in known.polite)):
            if rest[0] in known.conjunctions:
                break
            rest = rest[more:]
        if not rest:
            return whole(value, final=True)
        return begun(value) if rest[-1] in known.conjunctions else whole(value)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words or phrases, whichever was said last. Final when hardly anything else is said.

    Raises:
        ValueError: there is nothing to choose from.
    """

    name: ClassVar[str] = "one_of"
    options: Sequence[str]

    def __post_init__(self) -> None:
        options = self.options
        if isinstance(options, str) or not isinstance(options, (Sequence, frozenset, set)):
            raise ValueError(f"one_of: its options are a list of words or phrases, not {options!r}"[:120])
        options = tuple(options) if isinstance(options, Sequence) else tuple(sorted(options, key=str))
        object.__setattr__(self, "options", options)
        if not 1 <= len(options) <= _MOST_OPTIONS:
            raise ValueError(f"one_of: from 1 to {_MOST_OPTIONS} options, not {len(options)}")
        for option in options:
            if not isinstance(option, str) or not phrase(option):
                raise ValueError(f"one_of: an option is a word or a phrase, not {option!r}"[:120])
        if len({phrase(option) for option in options}) < len(options):
            raise ValueError("one_of: two of its options are the same words")

    def read(self, text: str, language: str = "en") -> Reading:
        known, also = lists(language), frozenset(filter(is_blankless, map(phrase, self.options)))
        words = words_of(text, known, also)
        options = {tuple(words_of(option, known, also)): option for option in self.options}
        longest = max(map(len, options))
        for end in range(len(words), 0, -1):
            # The longest that ends there: "large" lies within "extra large".
            lengths = (n for n in range(min(longest, end), 0, -1) if tuple(words[end - n : end]) in options)
            if length := next(lengths, 0):
                option = options[tuple(words[end - length : end])]
                if words[end:] and known.starts(known.corrections, words, len(words) - 1):
                    return begun(option)
                idle = known.polite | known.openers | known.corrections
                return whole(option, final=idle.issuperset(words[: end - length] + words[end:]))
        tails = (tuple(words[-n:]) for n in range(1, min(longest, len(words) + 1)))
        if any(option[: len(tail)] == tail for tail in tails for option in options):
            return begun()
        return UNLIKE

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name, "options": list(self.options)}


@dataclass(frozen=True, slots=True)
class Open:
    """Anything: nothing is read from it. Also says that what the agent seems to ask for is not meant."""

    name: ClassVar[str] = "open"

    def read(self, text: str, language: str = "en") -> Reading:
        return UNLIKE

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}
