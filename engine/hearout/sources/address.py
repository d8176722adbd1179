"""Web addresses in messages and traces."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_web_address", "without_secrets"]


def is_web_address(source: str) -> bool:
    """An http or https address, and no path."""
    return source.lower().startswith(("http://", "https://"))


def without_secrets(url: str) -> str:
    """``url`` without what may be secret in it: user and password, the query (tokens, signatures), the fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return url.partition(":")[0] + "://..."
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")
