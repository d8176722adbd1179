"""The websocket to a transcriber: trio-websocket's, with the limits it lacks, and with a reason when there is none.

A message takes two or three trips through trio's scheduler in it, either way, and a call has fifteen a second. Framing
them here and putting them straight on the socket saved 4 to 12 % of the calls a core (`benchmarks.capacity`, kind
``pushed``), and took twice the code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, wrap_client_stream

from hearout.errors import reason_of, untrusted
from hearout.link.refusal import LinkFailure, refusal_in
from hearout.link.socket import Connector
from hearout.nursery import open_background
from hearout.transcribers.base import Dialect, WireMessage

__all__ = ["WebSocket", "Wire", "open_websocket"]

_READ = 2**16  # bytes at once
_MOST_ANSWER = 2**20  # bytes of an answer to the handshake
_MOST = 2**20  # characters or bytes of a message; a result with a minute of words has about 20 kB
_MOST_UNFINISHED = 5 * _MOST  # bytes; a character has up to 4. Of empty fragments trio-websocket would collect more
_REACH = "check address and network"


class Wire(trio.abc.Stream):
    """The stream below trio-websocket: keeps what comes before there is a websocket, and ends what has no end.

    Attributes:
        ended: nothing more comes out of it.
        answer: what came until the handshake was accepted; from then on None.
        unfinished: bytes that came; whoever hears a message sets it back to 0.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.ended = trio.Event()
        self.answer: bytearray | None = bytearray()
        self.unfinished = 0
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream does, until there is too much: then it is as if it had ended."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        self.unfinished += len(data)
        if self.answer is not None:
            self.answer += data
        if self.endless:
            data = b""
        if not data:
            self.ended.set()
        return data

    @property
    def endless(self) -> bool:
        """What comes has no end that can be waited for."""
        return self.unfinished > (_MOST_UNFINISHED if self.answer is None else _MOST_ANSWER)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class WebSocket:
    """A connection that is open, or was."""

    def __init__(self, inner: WebSocketConnection, wire: Wire) -> None:
        self._inner = inner
        self._wire = wire

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Those of the server's answer to the handshake."""
        return self._inner.handshake_headers

    @property
    def closed(self) -> CloseReason | None:
        """Why there is no connection any more."""
        return self._inner.closed

    async def send(self, message: WireMessage) -> None:
        """Send a whole message.

        Raises:
            ConnectionClosed, wsproto.utilities.LocalProtocolError: there is no connection any more.
        """
        await self._inner.send_message(message)

    async def receive(self, receiver: Callable[[WireMessage], None]) -> None:
        """Give ``receiver`` what comes, as it comes, until the connection ends. Only meanwhile pings are answered.

        Raises:
            ConnectionClosed: it has ended.
            LinkFailure: a message came that has no end.
            Exception: whatever the receiver raises.
        """
        while True:
            try:
                message = await self._inner.get_message()
            except ConnectionClosed:
                if self._wire.endless:
                    raise LinkFailure("the transcriber sends a message without end") from None
                raise
            self._wire.unfinished = 0
            receiver(message)

    async def ping(self) -> None:
        """Wait for a sign of life. What was said before it has been received then; raises what `send` does."""
        await self._inner.ping()

    async def aclose(self) -> None:
        """End it in good order; waits for the server to agree."""
        await self._inner.aclose()


@asynccontextmanager
async def open_websocket(dialect: Dialect, connect: Connector, patience: float) -> AsyncIterator[WebSocket]:
    """A connection to ``dialect``'s address, for the length of a block; afterwards the stream is closed.

    Raises:
        LinkFailure: no connection within ``patience`` seconds, or it was refused; or the server broke the
            rules of the protocol later on.
    """
    host, port, tls, _ = _place(dialect)  # the query, which may hold a token, stays in no frame
    wire: Wire | None = None
    websocket: WebSocketConnection | None = None
    block_failed = False
    try:
        async with open_background() as nursery:  # the reader task of trio-websocket lives in it
            with trio.move_on_after(patience) as handshake:
                wire = Wire(await connect(host, port, tls))
                nursery.start_soon(_cancel_when_ended, wire, handshake)
                websocket = await wrap_client_stream(
                    nursery,
                    cast(Any, wire),
                    *_place(dialect)[3],
                    extra_headers=[(name.encode(), value.encode()) for name, value in dialect.headers()],
                    max_message_size=_MOST,
                    receive_buffer_size=_READ,
                )
            if wire is None or websocket is None:
                hung_up = wire is not None and wire.ended.is_set()
                why = "it hung up in the handshake" if hung_up else f"no answer within {patience:g} s"
                raise OSError(why)
            wire.answer = None
            try:
                yield WebSocket(websocket, wire)
            except Exception:
                block_failed = True
                raise
    except LinkFailure:
        raise
    except Exception as error:
        if block_failed:
            raise
        if websocket is not None:
            raise LinkFailure(f"{host} broke the rules of the websocket: {reason_of(error)}") from None
        raise _no_websocket(error, wire, dialect, host, port) from None
    finally:
        if wire is not None:
            await trio.aclose_forcefully(wire)


def _place(dialect: Dialect) -> tuple[str, int, bool, tuple[str, str]]:
    """Of the address: host, port, whether TLS; and what a request has of it, host and port together, path and query."""
    address = urlsplit(dialect.address())
    tls = address.scheme == "wss"
    port = address.port or (443 if tls else 80)
    return address.hostname or "", port, tls, (address.netloc, f"{address.path or '/'}?{address.query}")


async def _cancel_when_ended(wire: Wire, handshake: trio.CancelScope) -> None:
    """Else trio-websocket would wait for ever for an answer, or the end of one, on a connection that has ended."""
    await wire.ended.wait()
    handshake.cancel()


def _no_websocket(error: Exception, wire: Wire | None, dialect: Dialect, host: str, port: int) -> LinkFailure:
    """What is wrong with the server, if it said something; else with the way to it."""
    if wire is not None and wire.answer and (refusal := refusal_in(wire.answer, dialect, host)) is not None:
        return refusal
    if (refused := untrusted(error)) is not None:
        # Another attempt would meet the same certificate, and nothing may be sent to whoever holds it.
        why = f"its certificate is not to be trusted: {refused.verify_message}"
        return LinkFailure(f"cannot connect to {host}:{port}: {why}", permanent=True)
    return LinkFailure(f"cannot connect to {host}:{port}: {reason_of(error)}", remedy=_REACH)
