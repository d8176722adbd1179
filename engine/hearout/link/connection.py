"""One websocket connection: opening it, and saying in one line why that failed."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.frame_protocol import FrameProtocol

from hearout.backoff import may_pass
from hearout.errors import reason_of, untrusted
from hearout.link.stream import WatchedStream
from hearout.nursery import open_background
from hearout.transcribers.base import Dialect, WireMessage
from hearout.writing import printable

__all__ = ["Connection", "Connector", "LinkFailure", "masked", "open_connection", "redact"]

Connector = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]

_READ = 2**16
_SECRET = 12  # characters; a shorter key is none, but may well be a word that was said

# What to do about a refusal; a dialect may know better. Statuses that are not here: below 500 it is permanent, from 500
# on it is not.
_REMEDIES = {
    400: "check the options",
    401: "check the key",
    402: "the account has no credit left",
    403: "the key has no right to use this model or feature",
    404: "check the url",
    429: "too many connections at once",
}
_REACH = "check address and network"


class LinkFailure(Exception):
    """A connection could not be opened, or ended.

    Attributes:
        detail: one line, without secrets.
        permanent: another attempt with the same settings would fail too.
        retry_after: seconds which the server asks us to wait; None when it does not.
        remedy: what the user can do about it; empty when nothing is known.
        planned: it is no failure; the connection was left in time for another one.
    """

    def __init__(
        self,
        detail: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        remedy: str = "",
        planned: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.permanent = permanent
        self.retry_after = retry_after
        self.remedy = remedy
        self.planned = planned


class Connection:
    """A websocket of trio-websocket's, whose messages go to and come from its stream directly.

    Frames of a client do not depend on one another, and the stream sends one at a time, so whatever trio-websocket
    sends by itself goes in between.
    """

    def __init__(self, websocket: WebSocketConnection, stream: WatchedStream) -> None:
        self.websocket = websocket
        self._stream = stream
        self._framer = FrameProtocol(client=True, extensions=[])

    @property
    def blocked(self) -> bool:
        """No message can be put before `flush` is through."""
        return self._stream.blocked

    def put(self, message: WireMessage) -> None:
        """Send a message, as far as that goes without waiting. Not while `blocked`."""
        if self.websocket.closed is None:  # else whoever receives is about to hear of it
            self._stream.send_now(self._framer.send_data(message, fin=True))

    async def flush(self) -> None:
        """Send what is left of the last message.

        Raises:
            ConnectionClosed: there is no connection any more.
        """
        if self.websocket.closed is not None:
            raise ConnectionClosed(self.websocket.closed)
        try:
            await self._stream.send_all(b"")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(self._stream)  # so that whoever reads hears of it
            raise ConnectionClosed(self.websocket.closed or CloseReason(1006, None)) from None

    async def send(self, message: WireMessage) -> None:
        """Send a whole message; raises what `flush` does."""
        if self.websocket.closed is not None:
            raise ConnectionClosed(self.websocket.closed)
        self.put(message)
        if self.blocked:
            await self.flush()

    async def receive(self, receiver: Callable[[WireMessage], None]) -> None:
        """Give ``receiver`` what comes, as it comes, until the connection ends.

        Raises:
            ConnectionClosed: it has ended.
            Exception: whatever the receiver raises.
        """
        self._stream.pour_into(receiver)
        try:
            await self.websocket.get_message()  # there are none for it to give
        finally:
            if self._stream.error is not None:
                raise self._stream.error


@asynccontextmanager
async def open_connection(dialect: Dialect, connect: Connector, patience: float) -> AsyncIterator[Connection]:
    """A connection to ``dialect``'s address, for the length of a block; afterwards the stream is closed.

    Raises:
        LinkFailure: no connection within ``patience`` seconds, or it was refused; or the server broke the
            rules of the protocol later on.
    """
    address = urlsplit(dialect.address())
    host, tls = address.hostname or "", address.scheme == "wss"
    port = address.port or (443 if tls else 80)
    resource = f"{address.path or '/'}?{address.query}"
    headers = [(name.encode(), value.encode()) for name, value in dialect.headers()]
    stream: WatchedStream | None = None
    websocket: WebSocketConnection | None = None
    block_failed = False
    try:
        async with open_background() as nursery:  # the reader task of trio-websocket lives in it
            with trio.move_on_after(patience) as handshake:
                stream = WatchedStream(await connect(host, port, tls))
                # trio-websocket would wait for ever for an answer on a connection that is closed.
                nursery.start_soon(stream.cancel_when_ended, handshake)
                websocket = await wrap_client_stream(
                    nursery,
                    cast(Any, stream),
                    address.netloc,
                    resource,
                    extra_headers=headers,
                    receive_buffer_size=_READ,
                )
            if stream is None or (websocket is None and not stream.ended.is_set()):
                raise LinkFailure(f"cannot connect to {host}:{port}: no answer within {patience:g} s", remedy=_REACH)
            if websocket is None:
                if refusal := stream.refusal():
                    raise refusal
                raise LinkFailure(f"cannot connect to {host}:{port}: it hung up in the handshake")
            try:
                yield Connection(websocket, stream)
            except Exception:
                block_failed = True
                raise
    except ConnectionRejected as error:
        raise _refusal(error, dialect, host) from None
    except (OSError, trio.BrokenResourceError) as error:
        if block_failed:
            raise
        if (refused := untrusted(error)) is not None:
            # Another attempt would meet the same certificate, and nothing may be sent to whoever holds it.
            raise LinkFailure(
                f"cannot connect to {host}:{port}: its certificate is not to be trusted: {refused.verify_message}",
                permanent=True,
            ) from None
        raise LinkFailure(f"cannot connect to {host}:{port}: {reason_of(error)}", remedy=_REACH) from None
    except Exception as error:
        if isinstance(error, LinkFailure) or block_failed:
            raise
        what = "broke the rules of the websocket" if websocket else "cannot be connected to"
        raise LinkFailure(f"{host} {what}: {reason_of(error)}") from None
    finally:
        if stream is not None:
            await trio.aclose_forcefully(stream)


def redact(text: str, dialect: Dialect) -> str:
    """``text`` in one line of at most 300 characters, without the key, should a server repeat that."""
    return printable(masked(text, dialect), 300).strip()


def masked(text: str, dialect: Dialect) -> str:
    """``text`` without the key, should a server repeat that."""
    for _, value in dialect.headers():
        if len(secret := value.split()[-1]) >= _SECRET:
            text = text.replace(secret, "***")
    return text


def _refusal(error: ConnectionRejected, dialect: Dialect, host: str) -> LinkFailure:
    status = error.status_code
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
    said = headers.get("dg-error") or _body_text(error.body or b"")
    line = f"{host} refused the connection: HTTP {status}"
    if said := redact(said, dialect):
        line += f" ({said})"
    remedies: Mapping[int, str] = _REMEDIES | getattr(dialect, "remedies", {})
    if remedy := remedies.get(status):
        line += "; " + remedy
    return LinkFailure(line, permanent=not may_pass(status), retry_after=_retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now; the header has seconds or a date (RFC 9110, 10.2.3). None where it says nothing of use."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        until, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)
        # The server's clock against itself, where it tells it: ours may be wrong.
        seconds = (until - now).total_seconds() if until else math.nan
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000", or none: HTTP knows UTC only


def _body_text(body: bytes) -> str:
    text = body[:2000].decode("utf-8", "replace")
    try:
        data = json.loads(text)
        return ": ".join(str(data[key]) for key in ("err_code", "err_msg", "error_message") if key in data)
    except (ValueError, TypeError, RecursionError):
        return text[:200]
