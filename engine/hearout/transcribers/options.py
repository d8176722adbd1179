"""Checks of a provider's options: what cannot work is refused before there is a connection, in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from hearout.errors import UsageError
from hearout.writing import shown

__all__ = ["check_key", "check_range", "check_types", "check_url"]


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
        valid = address.scheme in ("ws", "wss") and address.hostname and address.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{provider}: url {shown(url, 200)} must be ws://HOST/... or wss://HOST/...")


def check_types(provider: str, options: Any) -> None:
    """Every field of the dataclass ``options`` has the type it is declared with; other types are not looked at."""
    for f in fields(options):
        _check_type(provider, f.name, str(f.type), getattr(options, f.name))


def check_range(provider: str, name: str, value: float | None, least: float, most: float) -> None:
    """``value`` lies between ``least`` and ``most``; None means the provider's default, and is right."""
    if value is not None and not least <= value <= most:
        raise UsageError(f"{provider}: {name} must be {least:g} to {most:g}, not {value:g}")


def _check_type(provider: str, name: str, kind: str, value: object) -> None:
    number = not isinstance(value, bool)
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and number,
        "float": isinstance(value, (int, float)) and number,
        "str": isinstance(value, str) and value != "",
        "Sequence[str]": isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(v, str) and v for v in value),
        "Mapping[str, Any]": isinstance(value, Mapping) and all(isinstance(k, str) for k in value),
    }
    base = kind.removesuffix(" | None")
    if base == "str" and value == "":
        raise UsageError(f"{provider}: {name} must not be empty")
    if base in fits and not fits[base] and not (value is None and kind.endswith("None")):
        raise UsageError(f"{provider}: {name} must be of type {kind}, not {shown(value)}")
