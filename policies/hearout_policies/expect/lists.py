"""The words that answers are made of, by language."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from hearout_policies.marks import bare, has_word, phrase, pieces

__all__ = ["Lists", "lists", "words_of"]

_MOST = 400  # words of a text that are read: what is longer is no answer, and its end is what counts


@dataclass(frozen=True)
class Lists:
    """See ``en.toml`` for their meaning. All are empty in a language that has no file."""

    openers: frozenset[str] = frozenset()
    polite: frozenset[str] = frozenset()
    corrections: frozenset[str] = frozenset()
    restarts: frozenset[str] = frozenset()
    denials: frozenset[str] = frozenset()
    at: frozenset[str] = frozenset()
    plus: frozenset[str] = frozenset()
    spelled_as: frozenset[str] = frozenset()
    spelled_in: frozenset[str] = frozenset()
    hundred: frozenset[str] = frozenset()
    joining: frozenset[str] = frozenset()
    half: frozenset[str] = frozenset()
    a: frozenset[str] = frozenset()
    yes: frozenset[str] = frozenset()
    no: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    conjunctions: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    domains_open: frozenset[str] = frozenset()
    digits: dict[str, str] | None = None
    homophones: dict[str, str] | None = None
    teens: dict[str, str] | None = None
    tens: dict[str, str] | None = None
    scales: dict[str, str] | None = None
    times: dict[str, str] | None = None
    marks: dict[str, str] | None = None
    letters: dict[str, str] | None = None
    months: dict[str, str] | None = None
    ordinals: dict[str, str] | None = None
    days: dict[str, str] | None = None
    currencies: dict[str, str] | None = None
    cents: dict[str, str] | None = None
    asking: dict[str, str] | None = None
    questions: tuple[dict[str, str], ...] = ()

    def of(self, table: str, word: str) -> str | None:
        """What ``word`` stands for in one of the tables."""
        found: dict[str, str] | None = getattr(self, table)
        return found.get(word) if found else None

    def starts(self, listed: frozenset[str], words: list[str], place: int) -> int:
        """How many words from ``place`` on are an entry of ``listed``, the longest there is; 0: none."""
        for length in range(min(4, len(words) - place), 0, -1):
            if " ".join(words[place : place + length]) in listed:
                return length
        return 0


@cache
def lists(language: str) -> Lists:
    """Those of a language, by its code."""
    file = resources.files("hearout_policies.expect") / f"{language}.toml"
    if not re.fullmatch(r"[a-z]{2,3}", language) or not file.is_file():
        return Lists()
    data = tomllib.loads(file.read_text("utf-8"))
    return Lists(**{f.name: _of_kind(data[f.name]) for f in fields(Lists) if f.name in data})


def _of_kind(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return frozenset(map(phrase, value)) if all(isinstance(one, str) for one in value) else tuple(value)


def words_of(text: str) -> list[str]:
    """The words of a text, without case and outer marks; of a long one those at its end."""
    return [word for piece in pieces(text)[-_MOST:] if has_word(word := bare(piece))]
