"""What others sent, in messages of ours."""

from __future__ import annotations

__all__ = ["one_line", "shown"]


def one_line(text: str, most: int = 300) -> str:
    """``text`` in one line of at most so many characters, without anything that a terminal would obey."""
    text = "".join(c if c.isprintable() else " " for c in text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


def shown(value: object) -> str:
    """A value that came as JSON, in ASCII, cut after 80 characters."""
    try:
        text = ascii(value)
    except RecursionError:
        return "[[[..."
    return text if len(text) <= 80 else f"{text[:80]}..."
