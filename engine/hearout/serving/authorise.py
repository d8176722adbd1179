"""Who may connect."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from hearout.errors import UsageError

__all__ = ["Authorise", "Upgrade", "bearer_token", "is_loopback", "own_pages_only"]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The HTTP request that is to become a websocket.

    Attributes:
        path: with the query.
        headers: names in lower case; of equal ones the first.
        remote: the other side's address, HOST:PORT, for messages.
    """

    path: str
    headers: Mapping[str, str]
    remote: str


Authorise = Callable[[Upgrade], bool]


def bearer_token(token: str) -> Authorise:
    """Lets in who sends ``Authorization: Bearer TOKEN``.

    Raises:
        UsageError: the token is empty.
    """
    if not token:
        raise UsageError("the token that clients must send is empty")

    def authorise(upgrade: Upgrade) -> bool:
        scheme, _, given = upgrade.headers.get("authorization", "").partition(" ")
        return scheme.lower() in ("bearer", "token") and hmac.compare_digest(given.strip().encode(), token.encode())

    return authorise


def own_pages_only(upgrade: Upgrade) -> bool:
    """Keeps out pages of other sites: a browser lets any of them connect to this machine, but tells who asks."""
    origin = upgrade.headers.get("origin")
    try:
        return origin is None or is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Is this an address, or the name, that only this machine can reach?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
