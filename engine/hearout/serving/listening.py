"""Addresses to listen on."""

from __future__ import annotations

import errno
import socket
from typing import Any

import trio

from hearout.errors import UsageError

__all__ = ["address_of", "listen"]


async def listen(port: int | socket.socket, host: str) -> list[trio.SocketListener]:
    """Listen on an address of this machine; port 0: one that is free; or on a socket that listens already.

    Raises:
        UsageError: the address cannot be used.
    """
    if isinstance(port, socket.socket):
        return [trio.SocketListener(trio.socket.from_stdlib_socket(port))]
    if not 0 <= port <= 65_535:
        raise UsageError(f"{port} is not a port: give one from 0 to 65535")
    try:
        # "localhost" may stand for two addresses, which with port 0 would get a port each.
        return await trio.open_tcp_listeners(port, host="127.0.0.1" if host == "localhost" else host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use: give another with --port, or 0 for a free one") from None
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def address_of(listener: trio.abc.Listener[Any]) -> str:
    """HOST:PORT."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    assert isinstance(listener, trio.SocketListener)
    host, port, *_ = listener.socket.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
