"""Web addresses in messages and traces."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from hearout.writing import printable

__all__ = ["is_web_address", "secrets_in", "without_secrets"]

_MOST = 1000  # characters
_SECRET = 4  # characters; what is shorter may be a part of any word


def is_web_address(source: str) -> bool:
    """An http or https address, and no path."""
    return source.lower().startswith(("http://", "https://"))


def without_secrets(url: str) -> str:
    """``url`` in one line, without what may be secret in it: user, password, query (tokens, signatures), fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return printable(url.partition(":")[0], _MOST) + "://..."
    return printable(f"{parts.scheme}://{host}{parts.path}", _MOST) + ("?..." if parts.query else "")


def secrets_in(url: str) -> list[str]:
    """What may be secret in it, in the forms in which a server may repeat it; the longest first."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    login = parts.netloc.rpartition("@")[0]
    values = [parts.query, login, *login.split(":", 1), *(value for _, value in parse_qsl(parts.query))]
    found = {form for value in values for form in (value, unquote(value)) if len(form) >= _SECRET}
    return sorted(found, key=len, reverse=True)
