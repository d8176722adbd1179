"""Reading a provider's JSON: ValueError, with one short line, for what is not as it must be."""

from __future__ import annotations

import json
from typing import Any

from hearout.transcribers.base import WireMessage
from hearout.writing import printable, shown

__all__ = ["field_of", "number_of", "object_in", "time_of"]

_LONGEST = 1e12  # milliseconds, if that is the unit; no stream lasts longer, and a JSON integer may overflow a float


def object_in(message: WireMessage, provider: str) -> dict[str, Any]:
    """The JSON object that a text message holds."""
    if isinstance(message, bytes):
        raise ValueError(f"a binary message; {provider} sends text only")
    try:
        data = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {printable(str(error), 80)}") from None
    if not isinstance(data, dict):
        raise ValueError(f"not a JSON object but {shown(data)}")
    return data


def field_of(data: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    """``data[key]``, which is of type ``kind``; ``default`` when it is absent or null."""
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise ValueError(f'"{key}" must be of type {kind.__name__}, not {shown(value)}')
    return value


def number_of(data: dict[str, Any], key: str) -> float | None:
    """``data[key]``, a time or length in whatever unit: 0 or more, and finite; None when it is absent or null."""
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LONGEST:
        raise ValueError(f'"{key}" must be a time, not {shown(value)}')
    return float(value)


def time_of(data: dict[str, Any], key: str) -> float:
    """``data[key]``, a time or length as `number_of` takes it, in a field that must be there."""
    value = number_of(data, key)
    if value is None:
        raise ValueError(f'"{key}" is missing')
    return value
