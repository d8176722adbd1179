"""Connections that become peers of a handler."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from hearout.errors import HearoutError, UsageError
from hearout.nursery import sole_error
from hearout.serving.authorise import Authorise, foreign_page, is_loopback, own_pages_only
from hearout.serving.limits import Limits
from hearout.serving.listening import listen
from hearout.serving.peer import Peer, ProtocolError
from hearout.serving.plain import Pages
from hearout.serving.reception import Applicant, Reception
from hearout.writing import printable

__all__ = ["Handler", "WebSocketServer", "serve_websockets"]

_log = logging.getLogger(__name__)

Handler = Callable[[Peer], Awaitable[None]]


class WebSocketServer:
    """Serves websockets on any trio stream.

    The handler's end is the end of its connection: closed with 1000 when it returns, with the code of a
    `ProtocolError`, with 1011 for everything else. A `HearoutError` is logged as a warning of one line; any other
    exception is a bug in the handler, logged with its traceback, and does not harm the other connections.

    Args:
        handler: a coroutine function for one connection.
        authorise: says who may connect, before anything is accepted (403); None: everybody who reaches it, but no
            pages of other sites: a browser would let any of them connect to this machine.
        name: what it is, for the log.
        pages: what plain requests on the same port get, by path; ``authorise`` is not asked about those.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        authorise: Authorise | None = None,
        limits: Limits | None = None,
        name: str,
        pages: Pages | None = None,
    ) -> None:
        self.authorised = authorise is not None
        self._handler = handler
        self._authorise = authorise or own_pages_only
        self._limits = limits or Limits()
        self._name = name
        self._reception = Reception(self._answer, self._limits, name, pages)

    async def serve(self, transport: trio.abc.Stream) -> None:
        """Serve one connection to its end."""
        await self._reception.serve(transport)

    async def _answer(self, arrival: Applicant) -> None:
        if not self._authorise(arrival.upgrade):
            why = None if self.authorised else foreign_page(arrival.upgrade)
            return await self._refuse(arrival, 403, why or "not authorised: no token, or not the right one")
        if not arrival.admit():
            return await self._refuse(arrival, 503, "there are as many connections as may be")
        peer = Peer(arrival, await arrival.accept(), self._limits)
        arrival.nursery.start_soon(peer._watch)
        return await peer._close(*await self._handle(peer))

    async def _refuse(self, arrival: Applicant, status: int, why: str) -> None:
        self._reception.complain(f"{arrival.upgrade.remote} refused with {status}: {why}")
        await arrival.reject(status, [(b"content-type", b"text/plain; charset=utf-8")], f"{why}\n".encode())

    async def _handle(self, peer: Peer) -> tuple[int, str]:
        """Code and reason for the close frame."""
        try:
            await self._handler(peer)
        except Exception as exc:
            error = sole_error(exc)
            if not isinstance(error, HearoutError):
                _log.exception("%s: %s: the handler failed", self._name, peer.upgrade.remote)
                return 1011, "internal error"
            told = printable(str(error), 300)
            _log.warning("%s: %s: %s", self._name, peer.upgrade.remote, told)
            return (error.code if isinstance(error, ProtocolError) else 1011), told
        return 1000, ""


async def serve_websockets(
    server: WebSocketServer,
    port: int,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[Sequence[trio.abc.Listener[Any]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. ``await nursery.start(serve_websockets, server, 0)`` gives the listeners: `address_of`.

    Args:
        port: 0: one that is free.
        host: the address to listen on; by default this machine alone.
        tls: a server context; None: plain ``ws://``, for this machine or behind a proxy that does TLS.

    Raises:
        UsageError: the address cannot be used, or could be reached by anybody.
    """
    if not is_loopback(host) and not server.authorised:
        raise UsageError(f"{host} can be reached from other machines: say who may connect (a token, a signature)")
    plain = await listen(port, host)
    listeners: list[trio.abc.Listener[Any]] = list(plain)
    if tls is not None:
        listeners = [trio.SSLListener(listener, tls, https_compatible=True) for listener in plain]
    await trio.serve_listeners(server.serve, listeners, task_status=task_status)
