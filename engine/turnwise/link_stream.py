"""The stream below the websocket of a connection."""

from __future__ import annotations

import trio
from trio_websocket import ConnectionRejected

__all__ = ["WatchedStream"]

_MOST_ANSWER = 2**20  # bytes of an answer to the handshake


class WatchedStream(trio.abc.Stream):
    """A stream for a websocket: tells when it has ended, what came first, and lets several tasks send.

    Attributes:
        ended: nothing more comes out of it.
        head: the first bytes received, of which at most 4 kB are kept; None: not collected any more.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.ended = trio.Event()
        self.head: bytes | None = b""
        self._stream = stream
        self._read = 0
        self._sending = trio.Lock()

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
            self._sending.acquire_nowait()  # the usual case, without a trip through the scheduler
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        finally:
            self._sending.release()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
