"""What every server of websockets does first: take a connection, read its request, answer it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from hearout.nursery import sole_error
from hearout.serving.admission import Admission, Visitor
from hearout.serving.authorise import SUBPROTOCOL, Upgrade
from hearout.serving.limits import Limits
from hearout.serving.line import READ, Line
from hearout.serving.plain import Pages, PlainRequests, first_of_each
from hearout.serving.protocol import ServerProtocol
from hearout.writing import printable

__all__ = ["Applicant", "Reception", "Upgrade"]

_log = logging.getLogger(__name__)

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Applicant:
    """Somebody who has said what it wants, and waits for the answer."""

    upgrade: Upgrade
    line: Line
    protocol: ServerProtocol
    visitor: Visitor
    nursery: trio.Nursery
    _request: WebSocketRequest
    _admission: Admission

    def admit(self, places: int = 1) -> bool:
        """Give it so many places (more); False when they are not there."""
        return self._admission.admit(self.visitor, places)

    async def accept(self, headers: Headers = ()) -> WebSocketConnection:
        """Make it a websocket."""
        offered = SUBPROTOCOL in self._request.proposed_subprotocols
        return await self._request.accept(subprotocol=SUBPROTOCOL if offered else None, extra_headers=list(headers))

    async def reject(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """Answer with an error of HTTP."""
        await self._request.reject(status, extra_headers=list(headers), body=body)


Answer = Callable[[Applicant], Awaitable[None]]


class Reception:
    """Takes connections on any trio stream, and keeps what goes wrong in one from all others.

    Args:
        answer: a coroutine function for one arrival; its end is the end of the connection.
        name: what is served, for the log.
        pages: what plain requests get; without any, they are refused as bad ones.
    """

    def __init__(self, answer: Answer, limits: Limits, name: str, pages: Pages | None = None) -> None:
        self._answer = answer
        self._plain = PlainRequests(pages) if pages else None
        self._limits = limits
        self._name = name
        self._admission = Admission(limits, lambda: self.complain("too many connections that say nothing: closing one"))
        self._quiet_until = -1.0
        self._untold = 0

    @property
    def admitted(self) -> int:
        """How many places are taken."""
        return self._admission.taken

    @property
    def strangers(self) -> int:
        """How many have come, and are not admitted."""
        return self._admission.strangers

    async def serve(self, transport: trio.abc.Stream) -> None:
        """Serve one connection to its end."""
        host, remote = _address(transport)
        try:
            async with transport, trio.open_nursery() as nursery:
                with self._admission.visitor(host) as visitor:
                    line, protocol = Line(transport), ServerProtocol(self._limits.message)
                    if self._plain is not None and await self._plain.answer(line, remote):
                        await line.farewell()
                        return
                    request = await self._request(nursery, line, protocol)
                    if request is not None:
                        upgrade = _upgrade(request, remote)
                        arrival = Applicant(upgrade, line, protocol, visitor, nursery, request, self._admission)
                        await self._answer(arrival)
                    if protocol.failure is not None:
                        await line.farewell()
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client went away
        except* Exception as group:
            self.complain(f"a connection failed: {sole_error(group)!r}")

    async def _request(self, nursery: trio.Nursery, line: Line, protocol: ServerProtocol) -> WebSocketRequest | None:
        # As `trio_websocket.wrap_server_stream` does it, with a protocol of our own.
        connection = WebSocketConnection(
            line,
            protocol,
            message_queue_size=self._limits.queue,
            max_message_size=self._limits.message,
            receive_buffer_size=READ,
        )
        with trio.CancelScope() as waiting:

            async def read() -> None:
                await connection._reader_task()
                waiting.cancel()  # who has hung up will ask for nothing any more

            nursery.start_soon(read)
            return await connection._get_request()
        return None

    def complain(self, line: str) -> None:
        """A warning in the log. One a second is told: strangers must not be able to fill the disk with it."""
        now = trio.current_time()
        if now < self._quiet_until:
            self._untold += 1
            return
        more = f" (and {self._untold} more such lines)" if self._untold else ""
        self._quiet_until, self._untold = now + 1.0, 0
        _log.warning("%s: %s%s", self._name, printable(line, 300), more)


def _upgrade(request: WebSocketRequest, remote: str) -> Upgrade:
    headers = first_of_each(request.headers)
    if request.proposed_subprotocols:  # wsproto has taken them out
        headers["sec-websocket-protocol"] = ", ".join(request.proposed_subprotocols)
    return Upgrade(request.path, headers, remote)


def _address(transport: trio.abc.Stream) -> tuple[str, str]:
    """Host, and HOST:PORT, of the other side; what is no connection of IP has a name like any other."""
    if isinstance(transport, trio.SSLStream):
        transport = transport.transport_stream
    if isinstance(transport, trio.SocketStream):
        try:
            host, port, *_ = transport.socket.getpeername()
        except (OSError, ValueError):  # gone already; or a socket of the file system
            return "", "a socket"
        return host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "", type(transport).__name__
