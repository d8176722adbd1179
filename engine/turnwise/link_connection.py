"""One websocket connection: opening it, and saying in one line why that failed."""

from __future__ import annotations

import errno
import json
import math
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.frame_protocol import FrameProtocol

from turnwise.link_stream import WatchedStream
from turnwise.nursery import leaves_of, open_background
from turnwise.transcribers.base import Dialect, WireMessage

__all__ = ["Connection", "Connector", "LinkFailure", "masked", "open_connection", "open_stream", "redact"]

Connector = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]

_MOST_MESSAGE = 2**20  # bytes; a result with a minute of words has about 20 kB
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
_TRANSIENT = (408, 425, 429)


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
    """A websocket of trio-websocket, with a shorter way for the audio.

    Nine messages of ten are audio, and to send one through trio-websocket takes three trips through trio's scheduler
    instead of one. So audio is framed by wsproto, which does it for trio-websocket too, and goes to the same stream.
    Frames of a client do not depend on one another, so one more framer disturbs nothing; the stream sends one at a
    time. All the rest (handshake, reading, pings, closing) is trio-websocket's.
    """

    def __init__(self, websocket: WebSocketConnection, stream: WatchedStream) -> None:
        self.websocket = websocket
        self._stream = stream
        self._framer = FrameProtocol(client=True, extensions=[])

    async def send(self, message: WireMessage) -> None:
        """Send a whole message.

        Raises:
            ConnectionClosed, wsproto.utilities.LocalProtocolError: there is no connection any more.
        """
        if isinstance(message, str):
            await self.websocket.send_message(message)
            return
        if self.websocket.closed is not None:
            raise ConnectionClosed(self.websocket.closed)
        try:
            await self._stream.send_all(self._framer.send_data(message, fin=True))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(self._stream)  # so that whoever reads hears of it
            raise ConnectionClosed(self.websocket.closed or CloseReason(1006, None)) from None


async def open_stream(host: str, port: int, tls: bool) -> trio.abc.Stream:
    """Connect by TCP, with TLS when asked; certificates are verified, always.

    Raises:
        OSError, trio.BrokenResourceError: no connection, or no TLS on it.
    """
    if not tls:
        return await trio.open_tcp_stream(host, port)
    context = ssl.create_default_context()
    stream = await trio.open_ssl_over_tcp_stream(host, port, ssl_context=context, https_compatible=True)
    try:
        # Otherwise it happens inside trio-websocket, which does not say what failed.
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


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
                    message_queue_size=64,
                    max_message_size=_MOST_MESSAGE,
                    receive_buffer_size=_READ,
                )
            if stream is None or (websocket is None and not stream.ended.is_set()):
                raise LinkFailure(f"cannot connect to {host}:{port}: no answer within {patience:g} s", remedy=_REACH)
            if websocket is None:
                if refusal := stream.refusal():
                    raise refusal
                raise LinkFailure(f"cannot connect to {host}:{port}: it hung up in the handshake")
            stream.head = None
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
        if (untrusted := _untrusted(error)) is not None:
            # Another attempt would meet the same certificate, and nothing may be sent to whoever holds it.
            raise LinkFailure(
                f"cannot connect to {host}:{port}: its certificate is not to be trusted: {untrusted.verify_message}",
                permanent=True,
            ) from None
        raise LinkFailure(f"cannot connect to {host}:{port}: {_reason(error)}", remedy=_REACH) from None
    except Exception as error:
        if isinstance(error, LinkFailure) or block_failed:
            raise
        what = "broke the rules of the websocket" if websocket else "cannot be connected to"
        raise LinkFailure(f"{host} {what}: {_reason(error)}") from None
    finally:
        if stream is not None:
            await trio.aclose_forcefully(stream)


def redact(text: str, dialect: Dialect) -> str:
    """``text`` in one line of at most 300 characters, without the key, should a server repeat that."""
    return "".join(c if c.isprintable() else " " for c in masked(text, dialect))[:300].strip()


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
    return LinkFailure(line, permanent=status < 500 and status not in _TRANSIENT, retry_after=_retry_after(headers))


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


def _untrusted(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The refusal of a certificate, if that is why."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    return error


def _reason(error: BaseException) -> str:
    """The innermost cause has the text worth reading: trio's own says only that all attempts failed."""
    inner: BaseException | None = error
    while inner is not None:
        error = next(leaves_of(inner))
        inner = error.__cause__
    if (
        isinstance(error, OSError)
        and not isinstance(error, ssl.SSLError)
        and error.errno
        and error.errno in errno.errorcode
    ):
        return os.strerror(error.errno)  # trio's text repeats the address
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
