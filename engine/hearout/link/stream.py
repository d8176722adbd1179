"""The stream below the websocket of a connection, with a shorter way for messages.

trio-websocket makes the handshake, answers pings and closes. But a message that goes through it takes three trips
through trio's scheduler, either way, and there are fifteen a second and call. So behind the handshake the messages
are taken out of the stream here; trio-websocket reads the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import trio
from trio_websocket import ConnectionRejected

from hearout.link.messages import Messages
from hearout.transcribers.base import WireMessage

__all__ = ["SendsNow", "WatchedStream"]

_MOST_ANSWER = 2**20  # bytes of an answer to the handshake
_HEAD_END = re.compile(rb"\n\r?\n")


@runtime_checkable
class SendsNow(Protocol):
    """A stream that need not wait, as `hearout.link.socket.SocketStream`. Others do, but cost more."""

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send as much of ``data`` as goes at once; how many bytes. Never raises."""


class WatchedStream(trio.abc.Stream):
    """A stream for a websocket: tells when it has ended, what came first, and lets several tasks send.

    Attributes:
        ended: nothing more comes out of it.
        error: what the receiver of the messages raised; the stream has ended with it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.ended = trio.Event()
        self.error: Exception | None = None
        self._stream = stream
        self._willing = stream if isinstance(stream, SendsNow) else None
        self._sending = trio.Lock()
        self._rest: bytes | bytearray | memoryview = b""
        self._answer = bytearray()  # to the handshake, until it is accepted
        self._messages: Messages | None = None  # once it is
        self._unread = b""
        self._receiver: Callable[[WireMessage], None] | None = None
        self._wanted = trio.Event()

    def refusal(self) -> ConnectionRejected | None:
        """The HTTP response whose body ends with the connection; trio-websocket waits for a length."""
        start, *rest = _HEAD_END.split(bytes(self._answer), maxsplit=1)
        body = b"".join(rest)
        try:
            version, status = start.split()[:2]
            if version.startswith(b"HTTP/1.") and int(status) >= 300:
                lines = [line.partition(b":") for line in start.splitlines()[1:]]
                headers = tuple((name.strip(), value.strip()) for name, _, value in lines)
                return ConnectionRejected(int(status), headers, body)
        except ValueError:
            pass
        return None

    async def cancel_when_ended(self, scope: trio.CancelScope) -> None:
        await self.ended.wait()
        scope.cancel()

    def pour_into(self, receiver: Callable[[WireMessage], None]) -> None:
        """``receiver`` gets all messages, from within the reading. Before, nothing is read behind the handshake."""
        self._receiver = receiver
        self._wanted.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """For trio-websocket: the handshake, and what is no message."""
        if self._messages is None:
            return self._shake_hands(await self._receive(max_bytes))
        if self._receiver is None:
            await self._wanted.wait()
            assert self._receiver is not None
        while True:
            data, self._unread = self._unread or await self._receive(max_bytes), b""
            try:
                rest = self._messages.take(data, self._receiver)
            except Exception as error:
                self.error = error
                return b""
            if rest or not data:
                return rest

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        return data

    def _shake_hands(self, data: bytes | bytearray) -> bytes | bytearray:
        known = len(self._answer)
        self._answer += data
        if known + len(data) > _MOST_ANSWER:  # trio-websocket would collect it for ever
            self.ended.set()
            return b""
        end = _HEAD_END.search(self._answer, max(known - 2, 0))
        if end is None or bytes(self._answer[:20]).split()[1:2] != [b"101"]:
            return data
        self._messages, self._unread = Messages(), bytes(self._answer[end.end() :])
        self._answer.clear()
        return data[: len(data) - len(self._unread)]

    @property
    def blocked(self) -> bool:
        """`send_now` has left something for `send_all` to send."""
        return bool(self._rest)

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send as much of ``data`` as goes without waiting; how many bytes. Not while `blocked`.

        The rest goes before anything else, whoever sends next: it may be the second half of a frame.
        """
        assert not self._rest
        sent = 0 if self._willing is None or self._sending.locked() else self._willing.send_now(data)
        self._rest = data[sent:]
        return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._sending:
            try:
                if self._rest:
                    await self._stream.send_all(self._rest)
                    self._rest = b""
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.ended.set()
                raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
