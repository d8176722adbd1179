"""What others sent, in messages of ours."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str, most: int = 300) -> str:
    """``text`` in one line of at most so many characters, without anything that a terminal would obey."""
    text = "".join(c if c.isprintable() else " " for c in text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."
