"""Who breaks the rules of the websocket is told which, by every server: 1002, 1007, 1009."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing

from hearout.errors import HearoutError
from hearout.serving import Limits, ProtocolError, address_of, serve_websockets
from hearout.sources.twilio import twilio_server
from hearout.sources.websocket import websocket_server
from tests.kit.callers import dialling
from tests.kit.twilio_line import numbered, start

REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: bot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Token any\r\n\r\n"
)
HEADER = b'{"sample_rate": 16000}'


def frame(payload: bytes, opcode: int = 0x82) -> bytes:
    """One frame of a client, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes([opcode, 0x80 | size])
    elif size < 2**16:
        head = struct.pack(">BBH", opcode, 0xFE, size)
    else:
        head = struct.pack(">BBQ", opcode, 0xFF, size)
    return head + bytes(4) + payload


def text(payload: bytes) -> bytes:
    return frame(payload, 0x81)


TEXT, FIRST_TEXT, MORE, LAST, CLOSE, PING = 0x81, 0x01, 0x00, 0x80, 0x88, 0x89
BAD: dict[str, tuple[bytes, int]] = {
    "no mask": (b"\x82\x02hi", 1002),
    "an opcode nobody knows": (frame(b"hi", 0x83), 1002),
    "a control opcode nobody knows": (frame(b"hi", 0x8B), 1002),
    "a reserved bit": (frame(b"hi", 0xC2), 1002),
    "a ping in pieces": (frame(b"hi", 0x09), 1002),
    "a ping too long": (frame(bytes(126), PING), 1002),
    "the middle of nothing": (frame(b"hi", MORE), 1002),
    "a message in a message": (frame(b"hi", FIRST_TEXT) + text(b"hi"), 1002),
    "a length of too many bytes": (b"\x82\xfe\0\x05" + bytes(9), 1002),
    "a length of far too many bytes": (b"\x82\xff" + bytes(8) + bytes(4), 1002),
    "a length below zero": (b"\x82\xff\xff" + bytes(7) + bytes(4), 1002),
    "no UTF-8": (text(b"\xc3\x28"), 1007),
    "half a surrogate": (text(b"\xed\xa0\x80"), 1007),
    "a letter that breaks off": (text(b"abc\xc3"), 1007),
    "no UTF-8, in pieces": (frame(b"\xc3", FIRST_TEXT) + frame(b"\x28", LAST), 1007),
    "a close of one byte": (frame(b"\x03", CLOSE), 1002),
    "a close that nobody may send": (frame(struct.pack(">H", 1006), CLOSE), 1002),
    "a close beyond all numbers": (frame(struct.pack(">H", 999), CLOSE), 1002),
    "a close that is no UTF-8": (frame(struct.pack(">H", 1000) + b"\xff", CLOSE), 1007),
    "too large": (frame(bytes(2**16 + 1)), 1009),
    "too large, in pieces": (frame(bytes(2**15), 0x02) + frame(bytes(2**15), MORE) + frame(b"x", LAST), 1009),
    "too large in bytes": (text("é".encode() * (2**15 + 1)), 1009),
    "empty pieces without end": (frame(b"", FIRST_TEXT) + frame(b"", MORE) * 2**16, 1009),
    "small pieces without end": (frame(b"x", FIRST_TEXT) + frame(b"x", MORE) * 2**16, 1009),
}


class Raw:
    """A connection without a websocket of its own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.read = bytearray()

    async def shake_hands(self, path: bytes) -> None:
        await self.stream.send_all(REQUEST % path)
        while b"\r\n\r\n" not in self.read:
            self.read += await self.stream.receive_some()
        head, _, rest = bytes(self.read).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.read = bytearray(rest)

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the last frame, after which the stream ends."""
        while data := await self.stream.receive_some():
            self.read += data
        while self.read[0] != CLOSE:
            size, at = self.read[1], 2
            if size == 126:
                size, at = int.from_bytes(self.read[2:4], "big"), 4
            del self.read[: at + size]
        assert len(self.read) == 2 + self.read[1], "something comes after the close"
        return int.from_bytes(self.read[2:4], "big"), self.read[4:].decode()


@asynccontextmanager
async def raw(server: Any, path: bytes = b"/") -> AsyncIterator[Raw]:
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(server.serve, theirs)
        connection = Raw(ours)
        await connection.shake_hands(path)
        yield connection
        await ours.aclose()


class Bot:
    """Keeps what it hears, and the error at its end."""

    def __init__(self) -> None:
        self.heard = 0
        self.error: Exception | None = None

    async def listen(self, call: Any) -> None:
        try:
            async for pcm in call:
                self.heard += len(pcm)
        except HearoutError as error:
            self.error = error
            raise


def opening(kind: str) -> Sequence[bytes]:
    return [text(HEADER)] if kind == "serve" else [text(message.encode()) for message in numbered(start())]


SERVERS = {"serve": websocket_server, "twilio": twilio_server}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("bad", BAD)
def test_who_breaks_the_rules_is_told(kind: str, bad: str, run_virtual: Callable[..., Any]) -> None:
    data, code = BAD[bad]

    async def main() -> None:
        bot = Bot()
        async with raw(SERVERS[kind](bot.listen)) as caller:
            for message in opening(kind):
                await caller.stream.send_all(message)
            await trio.testing.wait_all_tasks_blocked()
            await caller.stream.send_all(data)
            told, reason = await caller.closed()
        assert (told, bool(reason)) == (code, True)
        assert isinstance(bot.error, ProtocolError)
        assert bot.error.code == code

    run_virtual(main)


def test_what_came_before_is_heard(run_virtual: Callable[..., Any]) -> None:
    """Also what waits in the queue when the rules are broken."""

    async def main() -> None:
        bot = Bot()
        for data, code in BAD.values():
            bot.heard = 0
            async with raw(websocket_server(bot.listen)) as caller:
                await caller.stream.send_all(text(HEADER) + 20 * frame(bytes(640)) + data)
                assert (await caller.closed())[0] == code
            assert bot.heard == 20 * 640

    run_virtual(main)


def test_a_close_of_the_other_side_is_answered_once(run_virtual: Callable[..., Any]) -> None:
    """Whatever code it has: also the codes for broken rules."""

    async def main() -> None:
        for code in (1000, 1002, 1007, 1009, 4000):
            async with raw(websocket_server(Bot().listen)) as caller:
                await caller.stream.send_all(text(HEADER))
                await trio.testing.wait_all_tasks_blocked()
                await caller.stream.send_all(frame(struct.pack(">H", code), CLOSE))
                assert await caller.closed() == (code, "")

    run_virtual(main)


def test_fragments_without_end_take_no_memory(run_virtual: Callable[..., Any]) -> None:
    """20 MB of them, or as many as are taken."""

    async def main() -> None:
        async with raw(websocket_server(Bot().listen)) as caller:
            await caller.stream.send_all(text(HEADER) + frame(b"", FIRST_TEXT))
            await trio.testing.wait_all_tasks_blocked()
            tracemalloc.start()
            with suppress(trio.BrokenResourceError):
                for _ in range(330):
                    await caller.stream.send_all(frame(b"", MORE) * 10_000)
                    await trio.testing.wait_all_tasks_blocked()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 4e6

    run_virtual(main)


def test_as_many_fragments_as_there_are_bytes_are_fine(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        bot = Bot()
        async with raw(websocket_server(bot.listen, limits=Limits(message=1000))) as caller:
            await caller.stream.send_all(text(HEADER))
            for _ in range(3):
                await caller.stream.send_all(frame(b"x", 0x02) + 998 * frame(b"x", MORE) + frame(b"x", LAST))
            await caller.stream.send_all(text(b'{"type": "end"}'))
            assert (await caller.closed())[0] == 1000
        assert bot.heard == 3000

    run_virtual(main)


def test_the_reason_arrives_over_sockets_too() -> None:
    """A socket that is closed with something unread in it is reset, and what was sent last is lost."""

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                (listener,) = await nursery.start(serve_websockets, websocket_server(Bot().listen), 0)
                host, port = address_of(listener).split(":")
                for _ in range(5):
                    async with dialling(host, int(port)) as caller:
                        await caller.say(HEADER.decode(), bytes(5_000_000))
                        code, reason = await caller.listen()
                        assert (code, reason) == (1009, "Exceeded maximum message size: 65536 bytes")
                nursery.cancel_scope.cancel()

    trio.run(main)
