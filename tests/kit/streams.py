"""Streams that do what a test says, and a connection over one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import trio
from trio_websocket import CloseReason
from wsproto.frame_protocol import FrameProtocol

from hearout.link.connection import Connection
from hearout.link.stream import WatchedStream
from hearout.transcribers.base import WireMessage

__all__ = ["PONG", "Given", "Willing", "frames", "half", "over", "whole"]

PONG = bytes(FrameProtocol(client=True, extensions=[]).pong(b"!"))


class Given(trio.abc.Stream):
    """Gives pieces of data and then the end, or an error; keeps what is sent. Sending takes until ``gate`` is set."""

    def __init__(self, pieces: Iterable[bytes] = (), error: Exception | None = None) -> None:
        self.pieces = iter(pieces)
        self.error = error
        self.sent = bytearray()
        self.gate = trio.Event()
        self.gate.set()

    def shut(self) -> None:
        self.gate = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if (piece := next(self.pieces, None)) is not None:
            return piece
        if self.error is not None:
            raise self.error
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.sent += data

    async def wait_send_all_might_not_block(self) -> None:
        await self.gate.wait()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Willing(Given):
    """Takes at once as many bytes as ``share`` says of those that are to go; none while the gate is shut."""

    def __init__(self, share: Callable[[int], int], pieces: Iterable[bytes] = ()) -> None:
        super().__init__(pieces)
        self._share = share

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        size = self._share(len(data)) if self.gate.is_set() else 0
        self.sent += data[:size]
        return size


def half(size: int) -> int:
    return size // 2


def whole(size: int) -> int:
    return size


def over(stream: trio.abc.Stream, closed: CloseReason | None = None) -> Connection:
    """A connection over ``stream``, which is open, or has ended."""
    return Connection(cast(Any, SimpleNamespace(closed=closed)), WatchedStream(stream))


def frames(data: bytes | bytearray) -> list[WireMessage]:
    """The payloads of a client's frames, which are whole."""
    framer = FrameProtocol(client=False, extensions=[])
    framer.receive_bytes(bytes(data))
    received = list(framer.received_frames())
    assert all(frame.message_finished for frame in received)
    return [frame.payload for frame in received]  # type: ignore[misc]
