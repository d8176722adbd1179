"""A key as long as they are, and whether a text tells of it."""

from __future__ import annotations

__all__ = ["KEY", "told"]

KEY = "7c3f9b1e5d2a8046fe19c0b7a35d48e2f6019bd3"


def told(text: str, key: str = KEY) -> str | None:
    """Eight characters of the key that stand in ``text``."""
    return next((key[at : at + 8] for at in range(len(key) - 7) if key[at : at + 8] in text), None)
