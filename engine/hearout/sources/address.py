"""Web addresses in messages and traces."""

from __future__ import annotations

from urllib.parse import urlsplit

from hearout.writing import printable

__all__ = ["is_web_address", "without_secrets"]

_MOST = 1000  # characters


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
