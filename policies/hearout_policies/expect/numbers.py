"""Digits in a text, as they are said: in figures or words, several at once, corrected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hearout_policies.expect.lists import Lists, words_of

__all__ = ["Spoken", "corrected", "digits_in", "number_at"]

_FIGURES = re.compile(r"\+?[(]?\d[\d().,/\-]*")


@dataclass(frozen=True, slots=True)
class Spoken:
    """The digits of a text.

    Attributes:
        digits: in order, corrections done.
        plus: they begin with a plus.
        dangling: something must follow: "double", "no, sorry".
        opened: there are none, but the text announces some.
        strange: words that belong to nothing of this kind.
    """

    digits: str
    plus: bool
    dangling: bool
    opened: bool
    strange: int

    @property
    def unlike(self) -> bool:
        """Most of the text is about something else."""
        if not self.digits:
            return not self.opened or self.strange > 0
        return self.strange > 1 + len(self.digits) / 2


def digits_in(text: str, known: Lists, most: int = 64, least: int = 1) -> Spoken:
    """The digits of ``text``.

    Args:
        most, least: how many there can be, which tells what a correction is for.
    """
    words = words_of(text, known)
    parts: list[str] = [""]  # between corrections
    plus = dangling = opened = afresh = False
    strange = place = 0
    while place < len(words):
        word = words[place]
        if length := known.starts(known.restarts, words, place):
            parts, dangling = [""], True
            place += length
            continue
        digits, length = number_at(words, place, known)
        if length:
            parts[-1] += digits
            dangling = opened = afresh = False
        elif (length := known.starts(known.corrections, words, place)) and "".join(parts):
            if parts[-1]:
                parts.append("")
            dangling = True
        elif known.of("times", word):
            dangling, length = True, 1
        elif word in known.plus or word == "+":
            plus, opened, length = True, True, 1
        elif word in known.openers or word in known.polite or known.of("marks", word):
            opened |= word in known.openers
            length = 1
        else:
            strange, length = strange + 1, 1
        plus |= word.startswith("+") and not afresh
        place += length
    digits = ""
    for part in parts:
        digits = corrected(digits, part, most, least)
    return Spoken(digits, plus, dangling, opened, strange)


def corrected(before: str, after: str, most: int, least: int) -> str:
    """What was said, and what was said in its place: the last digit, more if all would be too long, or all of it."""
    if not before or not after or len(after) >= least > 1:
        return after or before
    replaced = max(1, len(before) + len(after) - most)
    return after if replaced > len(before) else before[:-replaced] + after


def number_at(words: Sequence[str], place: int, known: Lists) -> tuple[str, int]:
    """The digits that the words from ``place`` on say, and how many words that are; none: 0."""
    word = words[place]
    if _FIGURES.fullmatch(word):
        return re.sub(r"\D", "", word), 1
    if times := known.of("times", word):
        if place + 1 == len(words) or known.of("times", words[place + 1]):
            return "", 0
        digits, length = number_at(words, place + 1, known)
        if length:
            return digits[0] * int(times) + digits[1:], 1 + length
        return "", 0
    if "-" in word and (parts := [part for part in word.split("-") if part]) and len(parts) > 1:
        digits, length = _whole(parts, known)
        return (digits, 1) if length == len(parts) else ("", 0)
    if digit := known.of("digits", word):
        if place + 1 < len(words) and words[place + 1] in known.hundred:
            return _hundreds(digit, words, place, known)
        return digit, 1
    if teen := known.of("teens", word):
        if place + 1 < len(words) and words[place + 1] in known.hundred:
            return _hundreds(teen, words, place, known)
        return teen, 1
    if tens := known.of("tens", word):
        unit = known.of("digits", words[place + 1]) if place + 1 < len(words) else None
        if unit and unit != "0":
            return tens[0] + unit, 2
        return tens, 1
    if digit := known.of("homophones", word):
        sides = place > 0 and place + 1 < len(words)
        if sides and all(_is_digit(words[side], known) for side in (place - 1, place + 1)):
            return digit, 1
    return "", 0


def _is_digit(word: str, known: Lists) -> bool:
    return word.isdecimal() or known.of("digits", word) is not None


def _whole(words: Sequence[str], known: Lists) -> tuple[str, int]:
    """All of the words as one number, or several in a row."""
    said, place = "", 0
    while place < len(words):
        digits, length = number_at(words, place, known)
        if not length:
            return "", 0
        said, place = said + digits, place + length
    return said, place


def _hundreds(digits: str, words: Sequence[str], place: int, known: Lists) -> tuple[str, int]:
    """ "five hundred", "five hundred and twenty three"."""
    following = place + 2
    if following < len(words) and words[following] in known.joining:
        following += 1
    rest, length = number_at(words, following, known) if following < len(words) else ("", 0)
    if length and 0 < len(rest) <= 2:
        return digits + rest.zfill(2), following + length - place
    return digits + "00", 2
