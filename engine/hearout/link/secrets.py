"""What a server says, without the secrets it may repeat: cut, or with their characters escaped as JSON does it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from hearout.transcribers.base import Dialect, WireMessage
from hearout.writing import printable

__all__ = ["masked", "masked_message", "redact", "without"]

_SECRET = 12  # characters; a shorter key is none, but may well be a word that was said
_TELLING = 8  # characters at the beginning or end of a key; fewer tell nothing of it
# How options that hold a secret are named; "keyterm" and "keywords" hold words that are said.
_NAMED = re.compile("key$|token|secret|passw|auth|signature|credential", re.IGNORECASE)
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["/\\]))')


def redact(text: str, dialect: Dialect) -> str:
    """``text`` in one line of at most 300 characters, without the key."""
    return printable(masked(text, dialect), 300).strip()


def masked(text: str, dialect: Dialect) -> str:
    """``text`` without the key."""
    plain, secrets = _plain(text), _secrets(dialect)
    return without(plain, secrets) if _tell(plain, secrets) else text


def masked_message(message: WireMessage, dialect: Dialect) -> WireMessage:
    """A message without the key in any of its strings."""
    secrets = _secrets(dialect)
    if isinstance(message, bytes) or not _tell(_plain(message), secrets):
        return message  # as nearly all do
    try:
        return json.dumps(_clean(json.loads(message), secrets), ensure_ascii=False)
    except (ValueError, RecursionError):
        return masked(message, dialect)


def without(text: str, secrets: Sequence[str]) -> str:
    """``text`` without these, and without their first and last characters where there are enough to tell of them."""
    if _tell(text, secrets):
        for secret in secrets:
            for length in range(len(secret), min(len(secret), _TELLING) - 1, -1):
                text = text.replace(secret[:length], "***").replace(secret[-length:], "***")
    return text


def _clean(data: Any, secrets: Sequence[str]) -> Any:
    match data:
        case str():
            return without(data, secrets)
        case list():
            return [_clean(item, secrets) for item in data]
        case dict():
            return {_clean(key, secrets): _clean(value, secrets) for key, value in data.items()}
    return data


def _plain(text: str) -> str:
    """What ``text`` says if it is JSON. Of the characters that a key may have, no other escape stands for one."""
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def _tell(text: str, secrets: Sequence[str]) -> bool:
    return any(secret[:_TELLING] in text or secret[-_TELLING:] in text for secret in secrets)


def _secrets(dialect: Dialect) -> list[str]:
    """The key, and what else its user has given it under the name of a secret, in the url or in ``extra``."""
    words = [value.split()[-1] for _, value in dialect.headers()]
    url: object = getattr(dialect, "url", None)
    words += _in_query(url if isinstance(url, str) else dialect.address())
    words += _in_options(getattr(dialect, "extra", None))
    return [word for word in words if len(word) >= _SECRET]


def _in_query(url: str) -> Iterator[str]:
    for pair in url.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if _NAMED.search(name):
            yield from {value, unquote_plus(value)}


def _in_options(options: object, *, secret: bool = False) -> Iterator[str]:
    match options:
        case str() if secret:
            yield options
        case Mapping():
            for name, value in options.items():
                yield from _in_options(value, secret=secret or _NAMED.search(str(name)) is not None)
        case list() | tuple():
            for value in options:
                yield from _in_options(value, secret=secret)
