"""Web addresses in messages and traces."""

from __future__ import annotations

from urllib.parse import urlsplit

from hearout.serving import one_line

__all__ = ["is_web_address", "shown"]

_MOST = 1000  # characters


def is_web_address(source: str) -> bool:
    """An http or https address, and no path."""
    return source.lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """``url`` in one line, without what may be secret in it: user, password, query (tokens, signatures), fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return one_line(url.partition(":")[0], _MOST) + "://..."
    return one_line(f"{parts.scheme}://{host}{parts.path}", _MOST) + ("?..." if parts.query else "")
