"""Websockets from the side that is called: for audio that others bring to us, such as telephone calls.

A `WebSocketServer` takes connections, one task each, and hands them to a handler as a `Peer`. What goes wrong in one
is that connection's affair: it is closed with a code, and told in one line of the log (logger ``hearout``).
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from hearout.errors import HearoutError, SessionError, UsageError
from hearout.nursery import sole_error
from hearout.writing import printable

__all__ = [
    "Authorise",
    "Limits",
    "Peer",
    "ProtocolError",
    "Upgrade",
    "WebSocketServer",
    "address_of",
    "bearer_token",
    "is_loopback",
    "serve_websockets",
]

_log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 5.0  # seconds
_MOST_REASON = 123  # bytes of text in a close frame (RFC 6455)
# How a peer that is done closes: normally, a page that is left, a browser's close() without a code.
_IN_GOOD_ORDER = (1000, 1001, 1005)


class ProtocolError(HearoutError):
    """The other side broke the rules: one line that says which.

    Attributes:
        code: for the close frame (RFC 6455): 1002 order of messages, 1003 kind of data, 1007 content, 1008 policy,
            1009 size.
    """

    def __init__(self, detail: str, code: int = 1007) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The HTTP request that became a websocket.

    Attributes:
        path: with the query.
        headers: names in lower case; of equal ones the first.
        remote: the other side's address, for messages.
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server grants. Seconds and bytes.

    A connection holds at most ``message * (queue + 2)`` bytes that nobody has read yet. When the queue is full nothing
    more is read from the socket, and TCP makes the sender wait: live audio comes late then, but none is dropped.

    Attributes:
        connections: at the same time; who comes later gets 503.
        message: the largest that is taken.
        queue: messages.
        handshake: most time for the HTTP request.
        start: most time until the message that says what comes.
        idle: after so long without a message a ping asks for a sign of life.
        ping: and so long it may take. Then the connection counts as lost.
        send: most time for sending one message; who does not read for so long is gone.
    """

    connections: int = 100
    message: int = 2**16
    queue: int = 64
    handshake: float = 10.0
    start: float = 10.0
    idle: float = 30.0
    ping: float = 10.0
    send: float = 10.0


class Peer:
    """The other side of one connection. Not made by hand: a `WebSocketServer` gives it to its handler."""

    def __init__(
        self, upgrade: Upgrade, websocket: WebSocketConnection, transport: trio.abc.Stream, limits: Limits
    ) -> None:
        self.upgrade = upgrade
        self.limits = limits
        self._websocket = websocket
        self._transport = transport
        self._heard = trio.current_time()
        self._gone = ""  # why we gave the connection up

    async def receive(self) -> str | bytes | None:
        """The next message; None when the other side has closed the connection in good order.

        Raises:
            ProtocolError: a message was too large.
            SessionError: the connection broke.
        """
        try:
            message: str | bytes = await self._websocket.get_message()
        except ConnectionClosed as closed:
            code = 1006 if closed.reason is None else closed.reason.code
            if code in _IN_GOOD_ORDER:
                return None
            if code == 1009:
                raise ProtocolError(f"a message is larger than {self.limits.message} bytes", 1009) from None
            raise SessionError(f"the connection was lost: {self._gone or f'it broke (code {code})'}") from None
        self._heard = trio.current_time()
        return message

    async def send(self, message: str) -> bool:
        """Send a text; False when there is nobody any more who could read it: `receive` says why.

        Not cut short by a cancellation, because that would break the connection: it takes `Limits.send` at most.
        """
        sent = False
        with trio.CancelScope(shield=True), trio.move_on_after(self.limits.send) as timeout:
            try:
                await self._websocket.send_message(message)
                sent = True
            except (ConnectionClosed, LocalProtocolError):
                pass
        if timeout.cancelled_caught:
            await self._give_up(f"nothing was read there for {self.limits.send:g} s")
        await trio.lowlevel.checkpoint_if_cancelled()
        return sent

    async def _give_up(self, why: str) -> None:
        self._gone = why
        await trio.aclose_forcefully(self._transport)

    async def _watch(self) -> None:
        """Whoever is quiet for long must answer a ping."""
        while True:
            await trio.sleep_until(self._heard + self.limits.idle)
            if trio.current_time() < self._heard + self.limits.idle:
                continue
            with trio.move_on_after(self.limits.ping) as timeout:
                try:
                    await self._websocket.ping()
                except ConnectionClosed:
                    break
            if timeout.cancelled_caught:
                await self._give_up(f"no message for {self.limits.idle:g} s, and no answer to a ping")
                break
            self._heard = max(self._heard, trio.current_time())

    async def _close(self, code: int, reason: str) -> None:
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await self._websocket.aclose(code, _cut(reason))


def _cut(reason: str) -> str:
    return reason.encode()[:_MOST_REASON].decode(errors="ignore")


Handler = Callable[[Peer], Awaitable[None]]


class WebSocketServer:
    """Serves websockets on any trio stream.

    The handler's end is the end of its connection: closed with 1000 when it returns, with the code of a
    `ProtocolError`, with 1011 for everything else. A `HearoutError` is logged as a warning of one line; any other
    exception is a bug in the handler, logged with its traceback, and does not harm the other connections.

    Args:
        handler: a coroutine function for one connection.
        authorise: says who may connect, before anything is accepted (403); None: everybody.
        name: what it is, for the log.
    """

    def __init__(
        self, handler: Handler, *, authorise: Authorise | None = None, limits: Limits | None = None, name: str
    ) -> None:
        self.authorised = authorise is not None
        self._handler = handler
        self._authorise = authorise
        self._limits = limits or Limits()
        self._name = name
        self._open = 0

    async def serve(self, transport: trio.abc.Stream) -> None:
        """Serve one connection to its end."""
        if self._open >= 2 * self._limits.connections:  # a flood: not even an answer
            return await trio.aclose_forcefully(transport)
        self._open += 1
        try:
            async with transport, trio.open_nursery() as nursery:
                with trio.fail_after(self._limits.handshake):
                    request = await wrap_server_stream(
                        nursery,
                        transport,
                        message_queue_size=self._limits.queue,
                        max_message_size=self._limits.message,
                        receive_buffer_size=2**14,
                    )
                    upgrade = _upgrade(request)
                    status = self._refusal(upgrade)
                    if status is not None:
                        await request.reject(status)
                    else:
                        websocket = await request.accept()
                if status is None:
                    peer = Peer(upgrade, websocket, transport, self._limits)
                    nursery.start_soon(peer._watch)
                    await peer._close(*await self._handle(peer))
                else:
                    _log.warning("%s: %s refused with %d", self._name, upgrade.remote, status)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client went away, or never said what it wanted
        except* Exception as group:
            _log.warning("%s: a connection failed: %r", self._name, sole_error(group))
        finally:
            self._open -= 1
        return None

    def _refusal(self, upgrade: Upgrade) -> int | None:
        if self._open > self._limits.connections:
            return 503
        if self._authorise is not None and not self._authorise(upgrade):
            return 403
        return None

    async def _handle(self, peer: Peer) -> tuple[int, str]:
        """Code and reason for the close frame."""
        try:
            await self._handler(peer)
        except Exception as exc:
            error = sole_error(exc)
            if not isinstance(error, HearoutError):
                _log.exception("%s: %s: the handler failed", self._name, peer.upgrade.remote)
                return 1011, "internal error"
            _log.warning("%s: %s: %s", self._name, peer.upgrade.remote, printable(str(error), 300))
            return (error.code if isinstance(error, ProtocolError) else 1011), str(error)
        return 1000, ""


def _upgrade(request: WebSocketRequest) -> Upgrade:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return Upgrade(request.path, headers, str(request.remote))


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
    if not 0 <= port <= 65_535:
        raise UsageError(f"{port} is not a port: give one from 0 to 65535")
    try:
        # "localhost" may stand for two addresses, which with port 0 would get a port each.
        plain = await trio.open_tcp_listeners(port, host="127.0.0.1" if host == "localhost" else host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use: give another one, or 0 for a free one") from None
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    listeners: list[trio.abc.Listener[Any]] = list(plain)
    if tls is not None:
        listeners = [trio.SSLListener(listener, tls, https_compatible=True) for listener in plain]
    await trio.serve_listeners(server.serve, listeners, task_status=task_status)


def address_of(listener: trio.abc.Listener[Any]) -> str:
    """HOST:PORT."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    assert isinstance(listener, trio.SocketListener)
    host, port, *_ = listener.socket.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Is this an address, or the name, that only this machine can reach?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
