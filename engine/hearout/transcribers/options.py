"""A provider's options: what cannot work is refused before there is a connection, in one line; and their query."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlencode, urlsplit

from hearout.errors import UsageError
from hearout.fields import is_number
from hearout.writing import shown

__all__ = [
    "check_extra",
    "check_key",
    "check_one_channel",
    "check_range",
    "check_types",
    "check_url",
    "given",
    "with_query",
]


def check_key(provider: str, key: object, variable: str) -> None:
    """``key`` can stand in a header; ``variable`` is where people keep it. The key itself is never shown."""
    if not (isinstance(key, str) and re.fullmatch("[!-~]+", key)):
        raise UsageError(f"{provider}: the key is empty or not plain text; set {variable}")


def check_url(provider: str, url: str, variable: str) -> None:
    """``url`` is the address of a websocket, and holds no secret."""
    if "@" in url:
        raise UsageError(f"{provider}: no name or password in the url; the key goes into {variable}")
    try:
        address = urlsplit(url)
        valid = address.scheme in ("ws", "wss") and bool(address.hostname) and address.port != 0
        valid = valid and re.fullmatch("[!-~]+", url) is not None
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{provider}: url {_without_query(url)} must be ws://HOST/... or wss://HOST/...")


def _without_query(url: str) -> str:
    """``url`` for a message: a query may hold a token."""
    place, asks, _ = url.partition("?")
    return shown(place + "?..." * bool(asks), 200)


def check_types(provider: str, options: Any) -> None:
    """Every field of the dataclass ``options`` has the type it is declared with.

    Looked at are bool, int, float, str (which must not be empty), ``Sequence[str]`` and ``Mapping[str, Any]``, each by
    itself or with None; the class checks what is declared otherwise.
    """
    for name, kind, or_none in _declared(options.__class__):
        value = getattr(options, name)
        if (value is None and or_none) or _FITS[kind](value):
            if isinstance(value, str) and not _is_encodable(value):
                raise UsageError(f"{provider}: {name} holds half a character, which nothing can encode")
            if isinstance(value, Mapping) and not _is_json(value):
                raise UsageError(f"{provider}: {name} must be what JSON can hold")
            continue
        if kind is str and value == "":
            raise UsageError(f"{provider}: {name} must not be empty")
        named = kind.__name__ if isinstance(kind, type) else str(kind).replace("collections.abc.", "")
        named = named.replace("typing.", "") + " | None" * or_none
        instead = "" if kind == Mapping[str, Any] else f", not {shown(value)}"  # in `extra` a secret may stand
        raise UsageError(f"{provider}: {name} must be of type {named}{instead}")


def check_one_channel(provider: str, channels: int) -> None:
    if channels != 1:
        raise UsageError(f"{provider}: it transcribes one channel; open a session for each channel")


def check_extra(provider: str, options: Any, *more: str) -> None:
    """``extra`` of the dataclass ``options`` sets none of its fields, nor what else the class sees to: ``more``."""
    for name in options.extra:
        if name in {*more, *(f.name for f in fields(options))} - {"extra"}:
            raise UsageError(f"{provider}: extra must not set {shown(name)}; it is an option of its own")


def given(options: Any, *without: str) -> dict[str, Any]:
    """Fields of the dataclass ``options`` that say something, by name: not None, False or empty, nor ``without``."""
    values = {f.name: getattr(options, f.name) for f in fields(options) if f.init and f.name not in without}
    return {name: value for name, value in values.items() if value not in (None, False, ())}


def with_query(url: str, query: Mapping[str, Any]) -> str:
    """``url`` with ``query`` behind the one it may have; a value that is several stands there several times."""
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(texts, doseq=True, quote_via=quote)}"


def check_range(provider: str, name: str, value: float | None, least: float, most: float) -> None:
    """``value`` lies between ``least`` and ``most``; None means the provider's default, and is right."""
    if value is not None and not least <= value <= most:
        raise UsageError(f"{provider}: {name} must be {least:g} to {most:g}, not {shown(value)}")


def _is_encodable(text: str) -> bool:
    """Half of a surrogate pair is no text that could be sent."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_texts(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(item, str) and item and _is_encodable(item) for item in value)
    )


def _is_json(value: Mapping[str, Any]) -> bool:
    """JSON can hold it, without NaN and infinities, and it can be encoded."""
    try:
        json.dumps(dict(value), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


_FITS: Mapping[Any, Callable[[object], bool]] = {
    bool: lambda value: isinstance(value, bool),
    int: lambda value: is_number(value) and isinstance(value, int),
    float: is_number,
    str: lambda value: isinstance(value, str) and value != "",
    Sequence[str]: _is_texts,
    Mapping[str, Any]: lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
}


@cache
def _declared(options: type) -> Sequence[tuple[str, Any, bool]]:
    """By field: its name, its type if that is one of `_FITS`, and whether it may be None."""
    hints = get_type_hints(options)
    found = []
    for f in fields(options):
        hint = hints[f.name]
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        known = [kind for kind in kinds if kind is not NoneType]
        if len(known) == 1 and known[0] in _FITS:
            found.append((f.name, known[0], len(kinds) > 1))
    return found
