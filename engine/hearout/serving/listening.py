"""Addresses to listen on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import trio

from hearout.errors import UsageError
from hearout.writing import shown

__all__ = ["SharedListener", "address_of", "listen"]

_PAUSE = 0.02  # seconds that others have
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


async def listen(port: int, host: str) -> list[trio.SocketListener]:
    """Listen on an address of this machine; port 0: one that is free.

    Raises:
        UsageError: the address cannot be used.
    """
    if not 0 <= port <= 65_535:
        raise UsageError(f"there is no port {port}: give one from 0 to 65535 with --port")
    try:
        # "localhost" may stand for two addresses, which with port 0 would get a port each.
        return await trio.open_tcp_listeners(port, host="127.0.0.1" if host == "localhost" else host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use: give another with --port, or 0 for a free one") from None
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    except UnicodeError:
        raise UsageError(f"cannot listen on {shown(host)}: that is no name of a machine") from None


def address_of(listener: trio.abc.Listener[Any]) -> str:
    """HOST:PORT."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    assert isinstance(listener, trio.SocketListener | SharedListener)
    host, port, *_ = listener.socket.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class SharedListener(trio.abc.Listener[trio.SocketStream]):
    """A socket at which other processes wait, too: one that would only refuse lets them come first.

    Args:
        listening: does not block.
        refuses: tells whether it would.
    """

    def __init__(self, listening: socket.socket, refuses: Callable[[], bool]) -> None:
        self.socket = listening
        self._refuses = refuses

    async def accept(self) -> trio.SocketStream:
        while True:
            await trio.lowlevel.wait_readable(self.socket)
            if self._refuses():
                await trio.sleep(_PAUSE)
            try:
                connection, _ = self.socket.accept()
            except OSError as error:
                if error.errno in _NO_ROOM or self.socket.fileno() == -1:
                    raise  # `trio.serve_listeners` tries again later
                continue  # somebody else was first; or the one who came is gone (accept(2))
            return trio.SocketStream(trio.socket.from_stdlib_socket(connection))

    async def aclose(self) -> None:
        trio.lowlevel.notify_closing(self.socket)
        self.socket.close()
        await trio.lowlevel.checkpoint()
