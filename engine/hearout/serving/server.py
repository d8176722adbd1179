"""Connections that become peers of a handler."""

from __future__ import annotations

import logging
import math
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import trio

from hearout.errors import HearoutError, UsageError
from hearout.lag import LOOK, watch_load
from hearout.nursery import open_background, sole_error
from hearout.serving.authorise import Authorise, foreign_page, is_loopback, own_pages_only
from hearout.serving.calls import call_id, new_call_id
from hearout.serving.health import RETRY_AFTER, Status, health_pages
from hearout.serving.limits import Limits
from hearout.serving.listening import SharedListener, listen
from hearout.serving.peer import Peer, last_word
from hearout.serving.plain import Pages
from hearout.serving.pressure import Pressure
from hearout.serving.reception import Applicant, Reception
from hearout.serving.signals import ending_signals, insisted
from hearout.writing import printable

__all__ = ["GRACE", "Handler", "WebSocketServer", "serve_websockets"]

#: Seconds for the last words of a process that is told to end. `docker stop` kills after 10 s, Kubernetes after 30 s
#: (``terminationGracePeriodSeconds``), systemd after 90 s.
GRACE = 8.0

_log = logging.getLogger(__name__)

_FAREWELL = 1.0  # seconds of the grace, of a short one a quarter, that are kept for closing the connections
_STANDSTILL = 5  # times `Limits.lag`: 0.1 s, twice what 200 that come at once take of a core (docs/benchmarks-load.md)
_GOING_AWAY = (1001, "the server is shutting down")

Handler = Callable[[Peer], Awaitable[None]]


class WebSocketServer:
    """Serves websockets on any trio stream.

    The handler's end is the end of its connection: closed with 1000 when it returns, with the code of a
    `ProtocolError`, with 1011 for everything else, and with 1001 when the server ends (`drain`). A `HearoutError` is
    logged as a warning of one line; any other exception is a bug in the handler, logged with its traceback, and does
    not harm the other connections.

    Args:
        handler: a coroutine function for one connection.
        authorise: says who may connect, before anything is accepted (403); None: everybody who reaches it, but no
            pages of other sites: a browser would let any of them connect to this machine.
        name: what it is, for the log.
        pages: what plain requests on the same port get, by path, besides ``/healthz`` and ``/livez``; ``authorise`` is
            not asked about those.

    Attributes:
        authorised: somebody is asked who may connect.
        refused: connections with 403, and with 503 by the `status` at that time.
        pressure: what the event loop has left.
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
        self.refused: Counter[Status | Literal["forbidden"]] = Counter()
        self.pressure = Pressure(self._limits)
        self._reception = Reception(self._answer, self._limits, name, {**health_pages(self), **(pages or {})})
        self._peers: set[Peer] = set()
        self._looked = math.inf  # when `_look` was called last; before that and without it: no matter
        self._drained = trio.Event()  # no peer is left, and none will come
        self._deadline: float | None = None  # of the handlers, once the server drains

    async def serve(self, transport: trio.abc.Stream) -> None:
        """Serve one connection to its end."""
        await self._reception.serve(transport)

    async def drain(self, grace: float = GRACE) -> None:
        """End in good order; returns when no connection is left, ``grace`` seconds from now at the latest.

        Who connects from now on gets 503. For the handlers of open connections it is as if the other side had ended:
        `Peer.receive` gives None, so audio ends, the last turn is told, and the handler returns. A handler that has
        not returned a second before the end (of less than 4 s, a quarter) is cancelled. All are closed with 1001. When
        this is cancelled, they are cut off at once.
        """
        now = trio.current_time()
        self._deadline = now + grace - min(_FAREWELL, grace / 4)
        _log.info("%s: takes no more calls; %d open have %g s for their last words", self._name, self.calls, grace)
        for peer in self._peers:
            peer._drain(self._deadline)
        if not self.calls:
            self._drained.set()
        try:
            with trio.move_on_at(now + grace):
                await self._drained.wait()
        finally:
            for peer in list(self._peers):
                await peer._give_up("the server has ended")

    @property
    def calls(self) -> int:
        """Connections that were let in, and are open."""
        return self._reception.admitted

    @property
    def status(self) -> Status:
        """``ready``; ``full``: no place, or no time, for one more call; ``draining``: it is about to end."""
        if self._deadline is not None:
            return "draining"
        return "full" if self.calls >= self._limits.connections or self.pressure.full(self.calls) else "ready"

    def _refuses(self) -> bool:
        """Would one be that came now, behind those who have come and say yet who they are?"""
        coming = self.calls + self._reception.strangers
        return self.status != "ready" or coming >= self._limits.connections or not self.pressure.takes(self.calls)

    @property
    def _stands_still(self) -> bool:
        """It is late at this moment: a crowd is in the door, and what its calls take will show later."""
        return self.calls > 0 and trio.current_time() > self._looked + LOOK + _STANDSTILL * self._limits.lag

    def _look(self, lag: float, busy: float) -> None:
        self._looked = trio.current_time()
        self.pressure.look(lag, busy, self.calls)

    async def _answer(self, arrival: Applicant) -> None:
        if not self._authorise(arrival.upgrade):
            why = None if self.authorised else foreign_page(arrival.upgrade)
            return await self._refuse(arrival, "forbidden", why or "not authorised: no token, or not the right one")
        if self._deadline is not None:
            return await self._refuse(arrival, "draining", "the server is shutting down")
        if self._stands_still or not self.pressure.admits(self.calls):
            return await self._refuse(arrival, "full", "no time left for another call")
        if not arrival.admit():
            return await self._refuse(arrival, "full", "there are as many connections as may be")
        try:
            await self._serve(arrival)
        finally:
            if self._deadline is not None and self.calls == 1:  # this one
                self._drained.set()
        return None

    async def _serve(self, arrival: Applicant) -> None:
        peer = Peer(arrival, await arrival.accept(), self._limits)
        call_id.set(new_call_id())
        arrival.nursery.start_soon(peer._watch)
        self._peers.add(peer)
        began = trio.current_time()
        _log.info("%s: a call from %s", self._name, arrival.upgrade.remote)
        if self._deadline is not None:  # since a moment ago
            peer._drain(self._deadline)
        try:
            code, reason = await self._handle(peer)
            await peer._close(code, reason)
            _log.info("%s: the call ended after %.1f s, closed with %d", self._name, trio.current_time() - began, code)
        finally:
            self._peers.remove(peer)

    async def _refuse(self, arrival: Applicant, reason: Status | Literal["forbidden"], why: str) -> None:
        self.refused[reason] += 1
        status = 403 if reason == "forbidden" else 503
        self._reception.complain(f"{arrival.upgrade.remote} refused with {status}: {why}")
        body = f"{why}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", str(RETRY_AFTER).encode()))
        await arrival.reject(status, headers, body)

    async def _handle(self, peer: Peer) -> tuple[int, str]:
        """Code and reason for the close frame."""
        try:
            with peer._scope:
                await self._handler(peer)
        except Exception as exc:
            error = sole_error(exc)
            if isinstance(error, HearoutError):
                _log.warning("%s: %s: %s", self._name, peer.upgrade.remote, printable(str(error), 300))
            else:
                _log.exception("%s: %s: the handler failed", self._name, peer.upgrade.remote)
            return last_word(error)
        return _GOING_AWAY if peer.draining else (1000, "")


async def serve_websockets(
    server: WebSocketServer,
    port: int | socket.socket,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    grace: float | None = None,
    task_status: trio.TaskStatus[Sequence[trio.abc.Listener[Any]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until a signal.

    ``await nursery.start(serve_websockets, server, 0)`` gives the listeners: `address_of`.

    Args:
        port: 0: one that is free; or a socket that listens already, on ``host``, perhaps with other processes.
        host: the address to listen on; by default this machine alone.
        tls: a server context; None: plain ``ws://``, for this machine or behind a proxy that does TLS.
        grace: SIGTERM, SIGINT or SIGHUP (unless that is ignored) begins a `WebSocketServer.drain` of so many seconds,
            a second one ends it at once.
            Needs the main thread. None: signals are the application's affair.

    Raises:
        UsageError: the address cannot be used, or could be reached by anybody.
    """
    if not is_loopback(host) and not server.authorised:
        raise UsageError(f"{host} can be reached from other machines: say who may connect (a token, a signature)")
    listeners: list[trio.abc.Listener[Any]]
    if isinstance(port, socket.socket):
        port.setblocking(False)
        listeners = [SharedListener(port, server._refuses)]
    else:
        listeners = [*await listen(port, host)]
    if tls is not None:
        listeners = [trio.SSLListener(listener, tls, https_compatible=True) for listener in listeners]
    with watch_load(server._look):
        if grace is None:
            await trio.serve_listeners(server.serve, listeners, task_status=task_status)
        else:
            await _serve_until_signal(server, listeners, grace, task_status)


async def _serve_until_signal(
    server: WebSocketServer,
    listeners: Sequence[trio.abc.Listener[Any]],
    grace: float,
    task_status: trio.TaskStatus[Sequence[trio.abc.Listener[Any]]],
) -> None:
    with trio.open_signal_receiver(*ending_signals()) as signals:
        async with open_background() as nursery:
            task_status.started(await nursery.start(trio.serve_listeners, server.serve, listeners))
            await anext(signals)
            async with open_background() as patience:

                async def lose_it() -> None:
                    await insisted(signals)
                    patience.cancel_scope.cancel()

                patience.start_soon(lose_it)
                await server.drain(grace)
