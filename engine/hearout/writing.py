"""What others have said, made fit to be shown: text in one line that no terminal obeys."""

from __future__ import annotations

__all__ = ["counted", "printable", "shown"]

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
