"""Values in error messages."""

from __future__ import annotations

__all__ = ["shown"]


def shown(value: object) -> str:
    """``value`` as Python writes it, 60 characters at most."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python likes to print
        text = "a very large number"
    return text if len(text) <= 60 else text[:60] + "..."
