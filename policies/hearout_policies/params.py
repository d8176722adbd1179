"""Numbers of a rule or a policy that can be set by key."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["param"]


def param(default: float, low: float, high: float, why: str, unit: str = "s") -> Any:
    """A numeric parameter of a rule or policy, with what `hearout policies` prints about it."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "why": why})
