"""One websocket connection: opening it, and saying in one line why that failed."""

from __future__ import annotations

import errno
import json
import math
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from turnwise.nursery import leaves_of, open_background
from turnwise.transcribers.base import Dialect

__all__ = ["Connector", "LinkFailure", "masked", "open_connection", "open_stream", "redact"]

Connector = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]

_MOST_MESSAGE = 2**20  # bytes; a result with a minute of words has about 20 kB
_READ = 2**16
_MOST_ANSWER = 2**20  # bytes of an answer to the handshake
_SECRET = 12  # characters; a shorter key is none, but may well be a word that was said

# What to do about a refusal. Statuses that are not here: below 500 it is permanent, from 500 on it is not.
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
    """

    def __init__(
        self, detail: str, *, permanent: bool = False, retry_after: float | None = None, remedy: str = ""
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.permanent = permanent
        self.retry_after = retry_after
        self.remedy = remedy


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
async def open_connection(dialect: Dialect, connect: Connector, patience: float) -> AsyncIterator[WebSocketConnection]:
    """A websocket to ``dialect``'s address, for the length of a block; afterwards the stream is closed.

    Raises:
        LinkFailure: no connection within ``patience`` seconds, or it was refused; or the server broke the
            rules of the protocol later on.
    """
    address = urlsplit(dialect.address())
    host, tls = address.hostname or "", address.scheme == "wss"
    port = address.port or (443 if tls else 80)
    resource = f"{address.path or '/'}?{address.query}"
    headers = [(name.encode(), value.encode()) for name, value in dialect.headers()]
    stream: _WatchedStream | None = None
    websocket: WebSocketConnection | None = None
    block_failed = False
    try:
        async with open_background() as nursery:  # the reader task of trio-websocket lives in it
            with trio.move_on_after(patience) as handshake:
                stream = _WatchedStream(await connect(host, port, tls))
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
                yield websocket
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


class _WatchedStream(trio.abc.Stream):
    """A stream that remembers when nothing more comes out of it, and what came first.

    Attributes:
        head: the first bytes received, of which at most 4 kB are kept; None: not collected any more.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.ended = trio.Event()
        self.head: bytes | None = b""
        self._stream = stream
        self._read = 0

    def refusal(self) -> ConnectionRejected | None:
        """The HTTP response whose body ends with the connection; trio-websocket waits for a length."""
        start, _, body = (self.head or b"").partition(b"\r\n\r\n")
        try:
            version, status = start.split()[:2]
            if version.startswith(b"HTTP/1.") and int(status) >= 300:
                lines = [line.partition(b":") for line in start.split(b"\r\n")[1:]]
                headers = tuple((name.strip(), value.strip()) for name, _, value in lines)
                return ConnectionRejected(int(status), headers, body)
        except ValueError:
            pass
        return None

    async def cancel_when_ended(self, scope: trio.CancelScope) -> None:
        await self.ended.wait()
        scope.cancel()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if self.head is not None:
            self.head = (self.head + data)[:4096]
            self._read += len(data)
            if self._read > _MOST_ANSWER:
                data = b""  # trio-websocket would collect it for ever
        if not data:
            self.ended.set()
        return data

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


def _refusal(error: ConnectionRejected, dialect: Dialect, host: str) -> LinkFailure:
    status = error.status_code
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
    said = headers.get("dg-error") or _body_text(error.body or b"")
    line = f"{host} refused the connection: HTTP {status}"
    if said := redact(said, dialect):
        line += f" ({said})"
    if remedy := _REMEDIES.get(status):
        line += "; " + remedy
    try:
        retry_after = float(headers["retry-after"])
    except (KeyError, ValueError):
        retry_after = None
    if retry_after is not None and not (math.isfinite(retry_after) and retry_after >= 0):
        retry_after = None
    return LinkFailure(line, permanent=status < 500 and status not in _TRANSIENT, retry_after=retry_after)


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
