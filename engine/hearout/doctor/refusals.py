"""How a server refuses what it must refuse: a wrong key, and a parameter that cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError

from hearout.doctor.checks import Finding, differs, ok
from hearout.link.secrets import redact
from hearout.link.socket import Connector
from hearout.transcribers.base import Dialect
from hearout.transcribers.deepgram import Deepgram

__all__ = ["HandshakeAnswer", "ask", "named", "refused"]


@dataclass(frozen=True, slots=True)
class HandshakeAnswer:
    """An answer to the handshake; status 0: there was none."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()


async def ask(dialect: Dialect, address: str, connect: Connector, patience: float) -> HandshakeAnswer:
    """Status and headers of the answer to a handshake; trio-websocket would wait for a body, too."""
    parts = urlsplit(address)
    tls = parts.scheme == "wss"
    connection = WSConnection(ConnectionType.CLIENT)
    with trio.move_on_after(patience):
        try:
            port = parts.port or (443 if tls else 80)
            async with await connect(parts.hostname or "", port, tls) as stream:
                request = Request(
                    host=parts.netloc,
                    target=f"{parts.path or '/'}?{parts.query}",
                    extra_headers=[(name.encode(), value.encode()) for name, value in dialect.headers()],
                )
                await stream.send_all(connection.send(request))
                while data := await stream.receive_some():
                    connection.receive_data(bytes(data))
                    for event in connection.events():
                        if isinstance(event, AcceptConnection):
                            return HandshakeAnswer(101, named(event.extra_headers, dialect))
                        if isinstance(event, RejectConnection):
                            return HandshakeAnswer(event.status_code, named(event.headers, dialect))
        except (OSError, trio.BrokenResourceError, RemoteProtocolError):
            pass
    return HandshakeAnswer()


def named(headers: Iterable[tuple[bytes, bytes]], dialect: Dialect) -> tuple[tuple[str, str], ...]:
    """Headers as text, without the key."""
    return tuple((k.decode("latin-1").lower(), redact(v.decode("latin-1"), dialect)) for k, v in headers)


def refused(check: str, expected: tuple[int, ...], answer: HandshakeAnswer, dialect: Dialect) -> Finding:
    """Was the handshake refused with one of these statuses, and, by Deepgram, with its reason?"""
    headers = dict(answer.headers)
    said = headers.get("dg-error", "")
    if not answer.status:
        return differs(check, "no answer to the handshake")
    detail = f"HTTP {answer.status}" if answer.status != 101 else "accepted (HTTP 101)"
    wanted = " or ".join(f"HTTP {status}" for status in expected)
    good = answer.status in expected
    if isinstance(dialect, Deepgram):
        detail += f", dg-error: {said[:120]}" if said else ", no dg-error"
        detail += "" if headers.get("dg-request-id") else ", no dg-request-id"
        wanted += " with a dg-error"
        good = good and said != "" and "dg-request-id" in headers
    return ok(check, detail) if good else differs(check, f"{detail}; {wanted} was expected")
