"""One connection's bytes, below the websocket."""

from __future__ import annotations

import trio

__all__ = ["READ", "Line"]

READ = 2**14  # bytes
_FAREWELL = 1.0  # seconds


class Line(trio.abc.Stream):
    """What trio-websocket reads from and writes to. Closing it leaves the transport open, for `farewell`.

    Attributes:
        heard_at: when something came last, on trio's clock; trio-websocket answers pings by itself and tells nobody.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.heard_at = trio.current_time()
        self._transport = transport
        self._ahead = b""  # was peeked at, and not received yet
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._check()
        if self._ahead:
            await trio.lowlevel.checkpoint()
            data, self._ahead = self._ahead, b""
            return data
        return await self._receive(max_bytes)

    async def peek(self) -> bytes:
        """More bytes, which will be received all the same; none: no more come."""
        data = bytes(await self._receive(READ))
        self._ahead += data
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._check()
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()

    async def abort(self) -> None:
        """Close the transport at once."""
        await trio.aclose_forcefully(self._transport)

    async def farewell(self) -> None:
        """Let the last that was sent arrive: a socket that is closed with something unread in it is reset."""
        with trio.move_on_after(_FAREWELL):
            if isinstance(self._transport, trio.abc.HalfCloseableStream):
                await self._transport.send_eof()
            while await self._transport.receive_some(READ):
                pass

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        data = await self._transport.receive_some(max_bytes)
        self.heard_at = trio.current_time()
        return data

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
