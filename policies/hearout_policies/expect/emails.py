"""Addresses of e-mail, written or said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import UNLIKE, Reading, begun, whole
from hearout_policies.expect.letters import letter_at
from hearout_policies.expect.lists import Lists, lists, words_of
from hearout_policies.expect.numbers import digits_in

__all__ = ["Email"]

_MARKS = "@._-+/"
_LONG = 6  # words in a row without a mark of an address: a sentence


@dataclass(frozen=True, slots=True)
class Email:
    """An address of e-mail: "john dot smith at example dot com", spelled or not. The value is in lower case."""

    name: ClassVar[str] = "email"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        words = words_of(re.sub(r"\s*@\s*", "@", text), known)
        address, plain = _joined(words, known)
        local, at, domain = address.partition("@")
        if not at:
            if any(word in known.denials for word in words) or plain > _LONG:
                return UNLIKE
            opened = bool(words) and words[-1] in known.openers
            return begun(local) if local or opened else UNLIKE
        if not local or "@" in domain:
            return UNLIKE
        host, dot, last = domain.rpartition(".")
        if not dot or not host or not last:
            return begun(address)
        if last in known.domains_open or (not known.domains and len(last) < 2):
            return begun(address)
        if known.domains and last not in known.domains:
            return begun(address)
        return whole(address, final=True)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}


def _joined(words: list[str], known: Lists) -> tuple[str, int]:
    """The address that the words make together, and how many plain words stand in a row in it."""
    address, plain, longest, place = "", 0, 0, 0
    while place < len(words):
        word = words[place]
        mark = known.of("marks", word)
        behind = bool(address) and address[-1] not in _MARKS  # a vowel sign is no letter to Python
        letters, length = letter_at(words, place, known)
        if "@" in word or re.fullmatch(r"[\w.+-]+\.[\w.-]+", word):
            address, length, plain = address + word, 1, 0
        elif word in known.at and behind and "@" not in address:
            address, length, plain = address + "@", 1, 0
        elif mark and behind:
            address, length, plain = address + mark, 1, 0
        elif not address and (word in known.openers or word in known.polite):
            length = 1
        elif length:
            address, plain = address + letters, plain + 1
        elif (said := digits_in(word, known)).digits and not said.strange:
            address, length = address + said.digits, 1
        elif word in known.polite and "@" in address:
            length = 1
        elif length := (known.starts(known.corrections, words, place) or known.starts(known.restarts, words, place)):
            address, plain = "", 0  # said again from the beginning, as whoever corrects an address does
        elif word in known.openers or word in known.conjunctions:
            return "", _LONG + 1  # a word that joins others: this is a sentence
        else:
            address, length, plain = address + word, 1, plain + 1
        longest = max(longest, plain)
        place += length
    return address.strip("."), longest
