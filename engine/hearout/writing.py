"""What others have said, made fit to be shown: text in one line that no terminal obeys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["counted", "meant", "printable", "shown"]

# Not printable to Python, but part of words in Persian, Hindi, Japanese, French, and of emoji: the two joiners, the
# ideographic space, no-break spaces.
_KEPT = "\u200c\u200d\u3000\u00a0\u202f"


def printable(text: str, most: int | None = None) -> str:
    """``text`` in one line, without anything that a terminal obeys: escapes, line breaks, changes of direction.

    Such a character becomes a blank; half of a surrogate pair, which no output could encode, a question mark.

    Args:
        most: characters; what is longer is cut, and ends with three dots.
    """
    if most is not None and len(text) > most:
        text = text[: most - 3] + "..."
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(char: str) -> str:
    if char.isprintable() or char in _KEPT:
        return char
    return "?" if "\ud800" <= char <= "\udfff" else " "


def shown(value: object, most: int = 40) -> str:
    """``value`` as Python writes it, for an error message: printable, and at most ``most`` characters."""
    try:
        return printable(repr(value), most)
    except RecursionError:
        return "[[[..."
    except ValueError:  # an integer of more digits than Python likes to print
        return "a very large number"


def counted(number: int, noun: str) -> str:
    """``number`` and ``noun``, with an s unless there is one."""
    return f"{number} {noun}{'s' * (number != 1)}"


def meant(name: str, names: Iterable[str]) -> str:
    """The end of an error message about ``name``: which of ``names`` was meant, if one is near; else nothing."""
    names = list(names)
    words = set(_words(name))
    # Nearly the same letters, or a word in common: api_key is what most SDKs call the key.
    near = difflib.get_close_matches(name.lower(), names, 1, 0.65) or [one for one in names if words & set(_words(one))]
    return f"; did you mean {near[0]}?" if near else ""


def _words(name: str) -> list[str]:
    return re.findall("[a-z]{2,}", name.lower())
