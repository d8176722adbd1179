"""Numbers of a rule or a policy that can be set by key, and how errors show what was set instead."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["param", "shown"]


def param(default: float, low: float, high: float, why: str, unit: str = "s") -> Any:
    """A numeric parameter of a rule or policy, with what `hearout policies` prints about it."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "why": why})


def shown(value: object, most: int = 60) -> str:
    """``value`` as an error repeats it."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python likes to print
        text = "a very large number"
    return text if len(text) <= most else text[:most] + "..."
