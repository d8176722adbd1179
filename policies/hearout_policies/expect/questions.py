"""What an agent asks for, read off its own words."""

from __future__ import annotations

import re
from functools import lru_cache

from hearout_policies.expect.base import Expectation
from hearout_policies.expect.choices import OneOf, Open
from hearout_policies.expect.digits import Digits
from hearout_policies.expect.lists import Lists, lists
from hearout_policies.expect.registry import expectation
from hearout_policies.marks import QUESTIONS, STOPS, phrase

__all__ = ["asked"]

_ENDS = re.escape("".join(sorted((QUESTIONS | STOPS) - {"."})))
_SENTENCE = re.compile(rf"[^.{_ENDS}]+(?:\.(?=\w)[^.{_ENDS}]*)*[.{_ENDS}]*")


@lru_cache(maxsize=256)
def asked(text: str, language: str = "en") -> tuple[Expectation, ...]:
    """What the last question, or request, in ``text`` asks for; nothing: that is open, or nothing is asked."""
    known = lists(language)
    if not known.asking:
        return ()
    for sentence in reversed(_SENTENCE.findall(text)):
        said = phrase(sentence)
        if not said:
            continue
        asks = any(mark in QUESTIONS for mark in sentence) or re.search(known.asking["requests"], said)
        if asks:
            return _meant(said, known)
    return ()


def _meant(question: str, known: Lists) -> tuple[Expectation, ...]:
    assert known.asking
    asking = re.sub(known.asking["front"], "", question).strip()
    for entry in known.questions:
        found = re.search(entry["pattern"], asking)
        if found is None:
            continue
        if entry["expect"] == OneOf.name:
            options = found["one"], found["two"]
            return (OneOf(options),) if options[0] != options[1] else ()
        if entry["expect"] == Digits.name:
            count = known.of("digits", found["count"]) or known.of("teens", found["count"]) or found["count"]
            if not count.isascii() or not count.isdecimal() or not 1 <= int(count) <= 64:
                continue
            return (Digits(int(count)),)
        return () if entry["expect"] == Open.name else (expectation(entry["expect"]),)
    return ()
