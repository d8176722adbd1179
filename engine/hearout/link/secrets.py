"""What a server says, without the key: it may repeat that, cut, or with its characters escaped as JSON does it."""

from __future__ import annotations

import json
import re
from typing import Any

from hearout.transcribers.base import Dialect, WireMessage
from hearout.writing import printable

__all__ = ["masked", "masked_message", "redact"]

_SECRET = 12  # characters; a shorter key is none, but may well be a word that was said
_TELLING = 8  # characters at the beginning or end of a key; fewer tell nothing of it
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["/\\]))')


def redact(text: str, dialect: Dialect) -> str:
    """``text`` in one line of at most 300 characters, without the key."""
    return printable(masked(text, dialect), 300).strip()


def masked(text: str, dialect: Dialect) -> str:
    """``text`` without the key."""
    for secret in _secrets(dialect):
        plain = _ESCAPE.sub(_unescaped, text) if "\\" in text else text
        if _tells(plain, secret):
            text = _masked(plain, secret)
    return text


def masked_message(message: WireMessage, dialect: Dialect) -> WireMessage:
    """A message without the key in any of its strings."""
    if isinstance(message, bytes):
        return message
    secrets = _secrets(dialect)
    if "\\" not in message and not any(_tells(message, secret) for secret in secrets):
        return message  # as nearly all do
    try:
        data = json.loads(message)
    except (ValueError, RecursionError):
        return masked(message, dialect)
    clean = _clean(data, secrets)
    return message if clean == data else json.dumps(clean, ensure_ascii=False)


def _clean(data: Any, secrets: list[str]) -> Any:
    match data:
        case str():
            for secret in secrets:
                if _tells(data, secret):
                    data = _masked(data, secret)
            return data
        case list():
            return [_clean(item, secrets) for item in data]
        case dict():
            return {_clean(key, secrets): _clean(value, secrets) for key, value in data.items()}
    return data


def _tells(text: str, secret: str) -> bool:
    return secret[:_TELLING] in text or secret[-_TELLING:] in text


def _masked(text: str, secret: str) -> str:
    for length in range(len(secret), _TELLING - 1, -1):
        text = text.replace(secret[:length], "***").replace(secret[-length:], "***")
    return text


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def _secrets(dialect: Dialect) -> list[str]:
    words = [value.split()[-1] for _, value in dialect.headers()]
    return [word for word in words if len(word) >= _SECRET]
