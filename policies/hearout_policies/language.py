"""The words of one language, by what they say of a text that ends in them: shipped, or of one's own.

Lists are data, one TOML file a language in ``languages/``; each file names its sources. What stands in ``none.toml`` is
no language's own and counts in all of them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib import resources
from typing import Any

from hearout_policies.marks import has_word, is_blankless, phrase, pieces
from hearout_policies.params import shown

__all__ = [
    "DEFAULT",
    "ENDING_LISTS",
    "NONE",
    "Language",
    "code_of",
    "language",
    "languages",
    "read_language",
    "table_language",
]

DEFAULT = "en"  # where nobody names another
NONE = "none"  # no language: no word means anything
# ISO 639-3, and where it has another one the code that ISO 639-2 sorts books by.
_LONG = {
    **{"deu": "de", "eng": "en", "spa": "es", "fra": "fr", "hin": "hi", "ita": "it", "jpn": "ja", "por": "pt"},
    **{"zho": "zh", "cmn": "zh", "ger": "de", "fre": "fr", "chi": "zh"},
}
_LARGEST = 1_000_000  # bytes of a file; the lists of a language have some thousand
_FARTHEST = 32  # characters of a text without blanks in which what is read out is looked for
_SUFFIX = "-"  # an entry that begins with it is what a text may end in, in scripts without blanks

#: The lists that may have such entries, in the order in which they count.
ENDING_LISTS = ("fillers", "whole", "questions", "conjunctions", "function_words", "openers", "joiners")


@dataclass(frozen=True)
class Language:
    """The lists of one language. ``languages/en.toml`` says what each is for.

    Attributes:
        name: its code, or the file it was read from.
        base: code of the shipped language whose lists it has where it has none of its own; the words of answers
            (`hearout_policies.expect`) are those.
    """

    name: str = NONE
    base: str = NONE
    conjunctions: frozenset[str] = frozenset()
    fillers: frozenset[str] = frozenset()
    function_words: frozenset[str] = frozenset()
    openers: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    spelled: frozenset[str] = frozenset()
    letter_words: frozenset[str] = frozenset()
    joiners: frozenset[str] = frozenset()
    multipliers: frozenset[str] = frozenset()
    address_words: frozenset[str] = frozenset()
    articles: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    with_digits: frozenset[str] = frozenset()
    denials: frozenset[str] = frozenset()
    backchannels: frozenset[str] = frozenset()

    @cached_property
    def opening(self) -> tuple[str, ...]:
        """``openers`` as ends of a text with a blank before it."""
        return tuple(f" {opener}" for opener in self.openers)

    @cached_property
    def asking(self) -> tuple[str, ...]:
        """``questions`` likewise."""
        return tuple(f" {words}" for words in self.questions)

    @cached_property
    def _suffixes(self) -> tuple[dict[str, str], tuple[int, ...]]:
        """In which list each suffix stands, and how long they are, longest first."""
        found = {entry[1:]: name for name in ENDING_LISTS for entry in getattr(self, name) if entry.startswith(_SUFFIX)}
        return found, tuple(sorted({len(suffix) for suffix in found}, reverse=True))

    @cached_property
    def _signs(self) -> re.Pattern[str] | None:
        """Any of ``spelled`` in a script without blanks, several in a row, at the end of a text."""
        signs = sorted((sign for sign in self.spelled if is_blankless(sign)), key=len, reverse=True)
        return re.compile(f"(?:{'|'.join(signs)})+$") if signs else None

    def spelled_at_end(self, run: str) -> tuple[int, bool]:
        """How many of ``spelled`` a text without blanks ends in, and whether that is all of it."""
        found = self._signs.search(run[-_FARTHEST:]) if self._signs else None
        return (found.end() - found.start(), found.start() == 0 and len(run) <= _FARTHEST) if found else (0, False)

    def ends_in(self, text: str) -> str | None:
        """The list with the longest suffix that ``text``, of a script without blanks, ends in."""
        found, lengths = self._suffixes
        return next((found[end] for n in lengths if (end := text[-n:]) in found), None)

    def to_table(self) -> dict[str, Any]:
        """What `table_language` takes: ``base``, and the lists that are not those of the base."""
        base = language(self.base)
        own = {name: sorted(getattr(self, name)) for name in _LISTS if getattr(self, name) != getattr(base, name)}
        return {"base": self.base, **own}


_LISTS = tuple(f.name for f in fields(Language) if f.name not in ("name", "base"))


@cache
def languages() -> tuple[str, ...]:
    """The codes of the languages there are word lists for, ``none`` among them."""
    folder = resources.files("hearout_policies") / "languages"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def code_of(name: str) -> str | None:
    """The shipped language that a BCP 47 tag means, by its first part ("es-419": "es"); None: there is none.

    A code of ISO 639-3 means its language, too ("spa").
    """
    code = name.strip().replace("_", "-").partition("-")[0].casefold()
    code = _LONG.get(code, code)
    return code if code in languages() else None


@cache
def language(name: str) -> Language:
    """The shipped lists of a language, by its code ("es") or a longer tag ("es-419").

    Raises:
        ValueError: there are none.
    """
    code = code_of(name)
    if code is None:
        raise ValueError(f"no word lists for language {shown(name)}; there are: {', '.join(languages())}, or a file")
    if code != name:
        return language(code)
    source = resources.files("hearout_policies") / "languages" / f"{code}.toml"
    lists = _lists(tomllib.loads(source.read_text("utf-8")), f"languages/{code}.toml")
    if code != NONE:
        always = language(NONE)
        lists = {list_: lists.get(list_, frozenset()) | getattr(always, list_) for list_ in _LISTS}
    return Language(code, code, **lists)


def read_language(path: str) -> Language:
    """Lists of one's own, from a TOML file.

    Each takes the place of that of the language that ``base`` names; without a base there are no others.

    Raises:
        ValueError: it cannot be read, or something is wrong in it; the message names the file and the list.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ValueError(f"cannot read language file {path}: {getattr(error, 'strerror', error)}") from None
    if len(text) > _LARGEST:
        raise ValueError(f"language file {path} is larger than {_LARGEST} bytes; a language has some thousand")
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"language file {path} is not valid TOML: {error}") from None
    return table_language(table, f"language file {path}")


def table_language(table: Mapping[str, Any], where: str = "language") -> Language:
    """Likewise, from the lists themselves; ``where`` is how errors name them.

    Raises:
        ValueError: something is wrong in them.
    """
    own = dict(table)
    base = own.pop("base", NONE)
    code = code_of(base) if isinstance(base, str) else None
    if code is None:
        raise ValueError(f"{where}: base is one of {', '.join(languages())}, not {shown(base)}")
    usual = language(code)
    lists = {name: getattr(usual, name) for name in _LISTS} | _lists(own, where)
    return Language(where.removeprefix("language file "), code, **lists)


def _lists(table: Mapping[str, Any], where: str) -> dict[str, frozenset[str]]:
    """The lists of a table, each entry as `marks.phrase` makes it."""
    lists = {}
    for name, entries in table.items():
        if name not in _LISTS:
            raise ValueError(f"{where} has no list {shown(name)}; there are: base, {', '.join(_LISTS)}")
        if not isinstance(entries, (list, tuple)):
            raise ValueError(f"{where}: {name} is a list of words or phrases, not {shown(entries)}")
        lists[name] = frozenset(_entry(entry, name, f"{where}: {name}") for entry in entries)
    return lists


def _entry(entry: Any, name: str, where: str) -> str:
    if not isinstance(entry, str) or not has_word(entry):
        raise ValueError(f"{where} has words or phrases in it, not {shown(entry)}")
    said = phrase(entry)
    if not entry.startswith(_SUFFIX):
        return said
    if name not in ENDING_LISTS or not all(map(is_blankless, pieces(entry[1:]))):
        raise ValueError(
            f"{where}: {shown(entry)}: only {', '.join(ENDING_LISTS)} have endings, in scripts without blanks"
        )
    return _SUFFIX + said
