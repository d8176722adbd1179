"""Options of a dialect that change what its messages mean: a trace has them, so that a replay reads them alike.

A dialect names them in a class attribute ``decoding``. A session records those that are not as usual, once, as if
they were sent to the transcriber: ``{"type": "Options", "format_turns": true}``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hearout.errors import UsageError
from hearout.fields import refuse
from hearout.transcribers.base import Dialect
from hearout.transcribers.foreign import code_of_others
from hearout.writing import printable

__all__ = ["apply_options", "options_record"]

_TYPE = "Options"


def options_record(dialect: Dialect) -> dict[str, Any] | None:
    """What a trace says of the options that are not as usual; None: all are."""
    if not is_dataclass(dialect):
        return None
    usual = {field.name: field.default for field in fields(dialect)}
    options = {name: getattr(dialect, name) for name in _names(dialect) if getattr(dialect, name) != usual.get(name)}
    return {"type": _TYPE, **options} if options else None


def apply_options(dialect: Dialect, message: Mapping[str, Any]) -> bool:
    """Set the options of a message that `options_record` has made; False: it is another one.

    Raises:
        ValueError: the dialect has no such option, or refuses its value.
    """
    if message.get("type") != _TYPE:
        return False
    options = {name: value for name, value in message.items() if name != "type"}
    for name in options:
        if name not in _names(dialect):
            refuse(f"{dialect.name} has no option {printable(name, 40)} that changes what its messages mean")
    try:
        with code_of_others(f"{dialect.name}: it does not take the options of the trace"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever made the trace was warned
            if is_dataclass(dialect) and not isinstance(dialect, type):
                replace(dialect, **options)
            for name, value in options.items():
                setattr(dialect, name, value)
    except UsageError as error:
        refuse(str(error))
    return True


def _names(dialect: Dialect) -> Sequence[str]:
    names: Sequence[str] = getattr(dialect, "decoding", ())
    return names
