"""Websocket connections by the byte: frames as they are, and as they must not be."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: bot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Token any\r\n\r\n"
)


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
