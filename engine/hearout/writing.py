"""What others have said, made fit to be shown: text in one line that no terminal obeys, and JSON that parses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["finite", "printable", "shown"]

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
    return printable(repr(value), most)


def finite(value: Any) -> Any:
    """``value``, of which JSON is to be made, with None for what JSON has no number for: NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
