"""The words that answers are made of, by language."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from importlib import resources
from typing import Any

from hearout_policies.marks import bare, has_word, is_blankless, phrase, pieces

__all__ = ["Lists", "lists", "words_of"]

_LONGEST = 4  # words of an entry
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
    phone: tuple[int, ...] = ()
    day_first: bool = False
    decimal_comma: bool = False

    @property
    def figures_only(self) -> Lists:
        """Without the words for numbers: where those beyond 99 are not known, an amount or a year is half of it."""
        return replace(self, digits=None, teens=None, tens=None, a=frozenset(), half=frozenset(), joining=frozenset())

    def of(self, table: str, word: str) -> str | None:
        """What ``word`` stands for in one of the tables."""
        found: dict[str, str] | None = getattr(self, table)
        return found.get(word) if found else None

    def starts(self, listed: frozenset[str], words: list[str], place: int) -> int:
        """How many words from ``place`` on are an entry of ``listed``, the longest there is; 0: none."""
        for length in range(min(_LONGEST, len(words) - place), 0, -1):
            if " ".join(words[place : place + length]) in listed:
                return length
        return 0

    @cached_property
    def phrases(self) -> frozenset[str]:
        """Entries of the tables that are several words: "guion bajo", "quatre-vingt-dix"."""
        return frozenset(entry for entry in self._keys() if " " in entry)

    @cached_property
    def unspaced(self) -> frozenset[str]:
        """All entries, of lists too, in a script without blanks."""
        lists_ = (getattr(self, f.name) for f in fields(self))
        listed = (entry for entries in lists_ if isinstance(entries, frozenset) for entry in entries)
        return frozenset(entry for entry in (*self._keys(), *listed) if is_blankless(entry))

    def _keys(self) -> Iterator[str]:
        for f in fields(self):
            if isinstance(table := getattr(self, f.name), dict) and f.name != "asking":
                yield from table


@cache
def lists(language: str) -> Lists:
    """Those of a language, by its code."""
    file = resources.files("hearout_policies.expect") / f"{language}.toml"
    if not re.fullmatch(r"[a-z]{2,3}", language) or not file.is_file():
        return Lists()
    data = tomllib.loads(file.read_text("utf-8"))
    if both := data.get("compound"):
        data["teens"] = dict(_compounds(both, data["tens"], data["digits"])) | data["teens"]
    return Lists(**{f.name: _of_kind(f.name, data[f.name]) for f in fields(Lists) if f.name in data})


def _compounds(form: str, tens: dict[str, str], digits: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The numbers from 21 to 99 where a language builds them regularly, as ``form`` says: "{tens} y {unit}"."""
    for ten, value in tens.items():
        for unit, digit in digits.items():
            if digit != "0":
                yield form.format(tens=ten, unit=unit), value[0] + digit


def _of_kind(name: str, value: Any) -> Any:
    if name == "asking" or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {bare(key) or key: meant for key, meant in value.items()}
    return frozenset(map(phrase, value)) if all(isinstance(one, str) for one in value) else tuple(value)


def words_of(text: str, known: Lists | None = None, also: frozenset[str] = frozenset()) -> list[str]:
    """The words of a text, without case and outer marks; of a long one those at its end.

    Entries of ``known`` that are several words are one; where a script has no blanks, those and ``also`` are parted
    from what stands around them, the longest first.
    """
    words: list[str] = []
    entries = known.unspaced if known else also
    if also:
        entries |= also
    for piece in pieces(text)[-_MOST:]:
        if has_word(word := bare(piece)):
            words += _parted(word, entries) if entries and is_blankless(word) else [word]
    return _joined(words, known.phrases) if known and known.phrases else words


def _parted(run: str, entries: frozenset[str]) -> list[str]:
    run = run[-_MOST:]
    longest = max(map(len, entries))
    words, place, rest = [], 0, 0
    while place < len(run):
        lengths = (n for n in range(min(longest, len(run) - place), 0, -1) if run[place : place + n] in entries)
        if length := next(lengths, 0):
            words += [run[rest:place]] if rest < place else []
            words.append(run[place : place + length])
            rest = place + length
        place += length or 1
    return words + ([run[rest:]] if rest < len(run) else [])


def _joined(words: list[str], phrases: frozenset[str]) -> list[str]:
    found, place = [], 0
    while place < len(words):
        lengths = range(min(_LONGEST, len(words) - place), 0, -1)
        spans = ((n, " ".join(words[place : place + n]).replace("-", " ")) for n in lengths)
        length, word = next((span for span in spans if span[1] in phrases), (1, words[place]))
        found.append(word)
        place += length
    return found
