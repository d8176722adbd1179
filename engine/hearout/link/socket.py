"""A TCP connection, with TLS or without.

Python's sockets do not block when told so, those with TLS included, so that TLS needs no layer of its own.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable

import trio

__all__ = ["Connector", "SocketStream", "open_stream", "tls_context"]

Connector = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]  # as `open_stream`

_READ = 2**16  # bytes
_AT_ONCE = 4  # steps; with all at once 150 calls stood still for 57 to 125 ms, one by one they took 3 s to connect


class SocketStream(trio.abc.Stream):
    """A stream over a connected socket, which is the stream's from now on."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        with memoryview(data) as rest:
            sent = 0
            while sent < len(rest):
                try:
                    sent += self._socket.send(rest[sent:])
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    await self._wait(trio.lowlevel.wait_writable)
                except OSError as error:
                    raise self._broken(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._wait(trio.lowlevel.wait_writable)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                await self._wait(trio.lowlevel.wait_readable)
            try:
                return self._socket.recv(max_bytes or _READ)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError as error:
                raise self._broken(error) from error

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Agree upon TLS with ``host``.

        Raises:
            trio.BrokenResourceError: that failed; its cause says how.
        """
        async with _turn():
            secured = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = secured
        while True:
            try:
                async with _turn():
                    return secured.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait(trio.lowlevel.wait_readable)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable)
            except OSError as error:
                raise self._broken(error) from error

    async def aclose(self) -> None:
        """Close it at once. As with HTTPS, TLS is not told: what is said on top of it has an end of its own."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this end has been closed")
        await wait(self._socket)

    def _broken(self, error: OSError) -> Exception:
        if self._socket.fileno() < 0:
            return trio.ClosedResourceError("this end has been closed")
        return trio.BrokenResourceError(f"the connection is broken: {error}")


_turns: trio.lowlevel.RunVar[trio.Semaphore] = trio.lowlevel.RunVar("_turns")


def _turn() -> trio.Semaphore:
    """A few steps of handshakes in a pass of the scheduler: each takes up to a millisecond of the processor, and all
    calls are heard between two passes."""
    try:
        return _turns.get()
    except LookupError:
        _turns.set(trio.Semaphore(_AT_ONCE))
        return _turns.get()


_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}  # by what the environment tells OpenSSL
_making = threading.Lock()  # connections are made in any thread


def _settings() -> tuple[str | None, ...]:
    return tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))


def tls_context() -> ssl.SSLContext:
    """The one for all connections of the process. Reading the machine's authorities takes 25 to 50 ms, once."""
    with _making:
        settings = _settings()
        if settings not in _contexts:
            context = ssl.create_default_context()
            context.options |= ssl.OP_NO_RENEGOTIATION  # else sending might have to wait for something to read
            _contexts[settings] = context
        return _contexts[settings]


async def _context() -> ssl.SSLContext:
    """The same, made off the loop."""
    known = _contexts.get(_settings())
    return known if known is not None else await trio.to_thread.run_sync(tls_context)


async def open_stream(host: str, port: int, tls: bool) -> trio.abc.Stream:
    """Connect by TCP, with TLS when asked; certificates are verified, always.

    Raises:
        OSError, trio.BrokenResourceError: no connection, or no TLS on it.
    """
    context = await _context() if tls else None
    connected = await trio.open_tcp_stream(host, port)
    stream = SocketStream(socket.socket(fileno=connected.socket.detach()))
    if context is not None:
        try:
            await stream.start_tls(context, host)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    return stream
