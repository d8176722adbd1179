"""Who may connect."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hearout.errors import UsageError
from hearout.writing import printable

__all__ = [
    "SUBPROTOCOL",
    "Authorise",
    "Upgrade",
    "bearer_token",
    "foreign_page",
    "is_loopback",
    "own_pages_only",
    "token_bytes",
]

#: What a browser must offer beside its token, and what is accepted: a server may not choose the token.
SUBPROTOCOL = "hearout"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The HTTP request that is to become a websocket, or gets an answer of its own.

    Attributes:
        path: with the query.
        headers: names in lower case; of equal ones the first. Not in its repr: a token may be among them.
        remote: the other side's address, HOST:PORT, for messages.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    remote: str


Authorise = Callable[[Upgrade], bool]


def bearer_token(token: str) -> Authorise:
    """Lets in who sends ``Authorization: Bearer TOKEN``.

    A browser cannot. It offers the subprotocols ``hearout`` and ``token.CODED``, the token in base64url without its
    padding: an address, which the token could be in, is kept in histories and logs.

    Raises:
        UsageError: the token is empty, or no text.
    """
    wanted = token_bytes(token)

    def authorise(upgrade: Upgrade) -> bool:
        return any(hmac.compare_digest(given, wanted) for given in _given(upgrade))

    return authorise


def token_bytes(token: str) -> bytes:
    """In UTF-8.

    Raises:
        UsageError: it is empty, or has what is no character. The message does not hold it.
    """
    if not token:
        raise UsageError("the token that clients must send is empty")
    try:
        return token.encode()
    except UnicodeEncodeError:
        raise UsageError("the token that clients must send is no text in UTF-8") from None


def _given(upgrade: Upgrade) -> Iterator[bytes]:
    scheme, _, given = upgrade.headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):
        yield given.strip().encode()
        with suppress(ValueError):  # headers are read as Latin-1, and not all clients write them so
            yield given.strip().encode("latin-1")
    for offered in upgrade.headers.get("sec-websocket-protocol", "").split(","):
        kind, _, coded = offered.strip().partition(".")
        if kind == "token":
            with suppress(ValueError):
                yield base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))


def own_pages_only(upgrade: Upgrade) -> bool:
    """Keeps out pages of other sites: a browser lets any of them connect to this machine, but tells who asks."""
    return foreign_page(upgrade) is None


def foreign_page(upgrade: Upgrade) -> str | None:
    """Why `own_pages_only` keeps it out, in a line; None: it does not."""
    origin = upgrade.headers.get("origin")
    with suppress(ValueError):
        if origin is None or is_loopback(urlsplit(origin).hostname or ""):
            return None
    if origin in ("null", "file://"):  # some browsers in other programs say the latter
        return "a page opened as a file may not connect: open it at the address that hearout serve --page prints"
    return f"a page of {printable(str(origin), 100)} may not connect: without a token only pages of this machine may"


def is_loopback(host: str) -> bool:
    """Is this an address, or the name, that only this machine can reach?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
