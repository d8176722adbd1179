"""Reading JSON that people or programs wrote: what is wrong is a ValueError.

Its message is one short line that names the field, says what it must be, and shows what it is. `Fields` is strict: for
what is written for hearout. The functions `object_in`, `field_of`, `objects_of`, `number_of`, `time_of`, `span_of` and
`speaker_of` are for the messages of a provider, which may have more fields than are known, and null for those that say
nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from hearout.writing import printable

__all__ = [
    "Fields",
    "field_of",
    "finite",
    "is_number",
    "number_of",
    "object_in",
    "object_of",
    "objects_of",
    "refuse",
    "shown",
    "span_of",
    "speaker_of",
    "time_of",
]

_LONGEST = 1e9  # seconds, 31 years: more is no time of a session
_MOST = 1e12  # milliseconds, if that is the unit; no stream lasts longer, and a JSON integer may overflow a float
_LABEL = 40  # characters of a speaker's label
_MOST_DIGITS = 300  # what has more need not fit into a float


def refuse(message: str) -> NoReturn:
    """Say what is wrong."""
    raise ValueError(message)


def shown(value: Any) -> str:
    """``value`` as JSON for an error message, 40 characters at most."""
    try:
        return printable(json.dumps(value, ensure_ascii=False), 40)
    except RecursionError:
        return "[[[..."
    except ValueError:  # an integer of more digits than Python likes to print
        return "a very large number"


def finite(value: Any) -> Any:
    """``value`` with None for the numbers that JSON has not: NaN and the infinities."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def object_of(text: str) -> dict[str, Any]:
    """The JSON object that ``text`` is, strictly: finite numbers, each key once.

    Raises:
        ValueError: it is none.
    """

    def constant(name: str) -> NoReturn:
        refuse(f"{name} is not JSON; numbers must be finite")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            keys = [key for key, _ in pairs]
            refuse(f"key {shown(next(key for key in keys if keys.count(key) > 1))} stands twice in one object")
        return out

    def whole(digits: str) -> int:
        return int(digits) if len(digits) <= _MOST_DIGITS else refuse(f"a number of {len(digits)} digits")

    try:
        value = json.loads(text, parse_constant=constant, parse_int=whole, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        wrong = error.msg.rstrip(": ").removesuffix(" at")  # some messages of Python's end so
        refuse(f"not JSON: {wrong} at column {error.colno}; every line is one JSON object")
    except RecursionError:
        refuse("nested too deeply")
    if not isinstance(value, dict):
        refuse(f"{shown(value)} is not a JSON object; every line is one")
    return value


def is_number(value: object) -> bool:
    """A number; to Python, and to nobody else, true and false are numbers too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def object_in(message: str | bytes, sender: str) -> dict[str, Any]:
    """The JSON object that a text message of ``sender`` holds."""
    if isinstance(message, bytes):
        refuse(f"a binary message; {sender} sends text only")
    try:
        data = json.loads(message)
    except (ValueError, RecursionError) as error:
        refuse(f"not JSON: {printable(str(error), 80)}")
    if not isinstance(data, dict):
        refuse(f"not a JSON object but {shown(data)}")
    return data


def field_of(data: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """``data[key]``, which is of type ``kind``; ``default`` when it is absent or null."""
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        refuse(f'"{key}" must be of type {kind.__name__}, not {shown(value)}')
    return value


def objects_of(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """``data[key]``, a list of objects; none when it is absent or null."""
    items: list[Any] = field_of(data, key, list, [])
    if not all(isinstance(item, dict) for item in items):
        refuse(f'"{key}" must hold objects, not {shown(items)}')
    return items


def number_of(data: Mapping[str, Any], key: str) -> float | None:
    """``data[key]``, a time or length in whatever unit: 0 or more, and finite; None when it is absent or null."""
    value = data.get(key)
    if value is None:
        return None
    if not is_number(value) or not 0 <= value < _MOST:
        refuse(f'"{key}" must be a time, not {shown(value)}')
    return float(value)


def time_of(data: Mapping[str, Any], key: str) -> float:
    """``data[key]``, a time or length as `number_of` takes it, in a field that must be there."""
    value = number_of(data, key)
    if value is None:
        refuse(f'"{key}" is missing')
    return value


def span_of(word: Mapping[str, Any]) -> tuple[float, float]:
    """``start`` and ``end`` of a word, in whatever unit; both must be there, and in order."""
    start, end = time_of(word, "start"), time_of(word, "end")
    if end < start:
        refuse(f"a word ends at {end:g}, before it starts at {start:g}")
    return start, end


def speaker_of(word: Mapping[str, Any]) -> str | None:
    """The label of the voice that says ``word``, a number or a text; None: there is none.

    Raises:
        ValueError: it is something else.
    """
    label = word.get("speaker")
    if label is None or (isinstance(label, (str, int)) and not isinstance(label, bool)):
        return None if label is None else str(label)[:_LABEL] or None
    raise ValueError(f'"speaker" must be a number or a text, not {shown(label)}')


class Fields:
    """Takes the keys of one object, checks each, and in the end refuses those that were not taken.

    A method without ``default`` takes a key that must be there. All raise ValueError.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def _take(self, key: str, default: Any, wanted: str, kinds: tuple[type, ...]) -> Any:
        self._known.append(key)
        if key not in self._data:
            if default is ...:
                refuse(f'"{key}" is missing; it must be {wanted}')
            return default
        value = self._data[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            refuse(f'"{key}" must be {wanted}, not {shown(value)}')
        return value

    def seconds(self, key: str, default: Any = ...) -> Any:
        """A float."""
        value = self._take(key, default, "a number of seconds, 0 or more", (int, float))
        if value is default:
            return value
        if not 0 <= value < math.inf:
            refuse(f'"{key}" must be a number of seconds, 0 or more, not {shown(value)}')
        if value > _LONGEST:
            refuse(f'"{key}" must be a number of seconds, {_LONGEST:g} at most, not {shown(value)}')
        return float(value)

    def number(self, key: str, default: Any, least: float, most: float) -> Any:
        """A float or int in a range."""
        wanted = f"a number from {least:g} to {most:g}"
        value = self._take(key, default, wanted, (int, float))
        if value is not default and not least <= value <= most:
            refuse(f'"{key}" must be {wanted}, not {shown(value)}')
        return value

    def whole(self, key: str, default: Any = ..., least: int = 0) -> Any:
        """An int."""
        value = self._take(key, default, f"a whole number, {least} or more", (int,))
        if value is not default and value < least:
            refuse(f'"{key}" must be a whole number, {least} or more, not {shown(value)}')
        return value

    def word(self, key: str, *allowed: str) -> Any:
        """One of some strings."""
        wanted = " or ".join(f'"{word}"' for word in allowed)
        value = self._take(key, ..., wanted, (str,))
        if value not in allowed:
            refuse(f'"{key}" must be {wanted}, not {shown(value)}')
        return value

    def string(self, key: str, default: Any = ...) -> Any:
        return self._take(key, default, "a string", (str,))

    def boolean(self, key: str, default: Any = ...) -> Any:
        return self._take(key, default, "true or false", (bool,))

    def mapping(self, key: str, default: Any = ...) -> Any:
        return self._take(key, default, "an object", (dict,))

    def either(self, key: str, wanted: str, *kinds: type) -> Any:
        """Of one of some types."""
        return self._take(key, ..., wanted, kinds)

    def sequence(self, key: str) -> Any:
        return self._take(key, ..., "a list", (list,))

    def done(self, what: str) -> None:
        """There is no other key: ``what`` has only those that were taken."""
        for key in self._data:
            if key not in self._known:
                refuse(f"unknown key {shown(key)}; {what} has {', '.join(dict.fromkeys(self._known))}")
