"""Strangers who hold handshakes: what they do, and what becomes of them and of a client that has the token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio
import trio.testing

from hearout.serving import bearer_token
from hearout.sources.websocket import websocket_server
from tests.kit.callers import calling

__all__ = ["KEY", "KINDS", "NUMBER", "REQUEST", "TOKEN", "WELCOME", "Stranger", "act", "listen", "meet"]

NUMBER = 600  # more than there is room for, from one address as from all
TOKEN = [(b"Authorization", b"Bearer s3cret")]
WELCOME = bearer_token("s3cret")
REQUEST = b"GET / HTTP/1.1\r\nHost: bot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@dataclass(frozen=True)
class Stranger:
    """One kind: its name, how it is made, and what it does with a connection."""

    name: str
    cause: str
    act: Callable[[trio.abc.Stream], Awaitable[None]]


async def _say_nothing(stream: trio.abc.Stream) -> None:
    await trio.lowlevel.checkpoint()


async def _say_half(stream: trio.abc.Stream) -> None:
    await stream.send_all(REQUEST)


async def _drip(stream: trio.abc.Stream) -> None:
    for byte in REQUEST:
        await stream.send_all(bytes([byte]))
    while True:
        await stream.send_all(b"X-A: b\r\n")
        await trio.sleep(1)


async def _knock(stream: trio.abc.Stream) -> None:
    await stream.send_all(REQUEST + KEY + b"\r\n")


async def _talk_tls(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20))


KINDS = [
    Stranger("silent connections", "they say nothing", _say_nothing),
    Stranger("half a request", "the headers do not end", _say_half),
    Stranger("headers that drip in", "byte by byte, then one a second, without end", _drip),
    Stranger("no token", "the whole request; the answer is not read", _knock),
    Stranger("another protocol", "the beginning of TLS", _talk_tls),
]


async def meet(kind: Stranger) -> tuple[float, float]:
    """`NUMBER` of them at a server of ``hearout serve``: seconds until a client with the token has had a whole call,
    and until the last of them was closed."""
    server = websocket_server(listen, authorise=WELCOME)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(NUMBER):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            nursery.start_soon(act, kind, ours)
        await trio.testing.wait_all_tasks_blocked()
        async with calling(server, TOKEN) as caller:
            await caller.say({"sample_rate": 16000}, {"type": "end"})
            assert await caller.listen() == (1000, "")
        served = trio.current_time() - began
    return served, trio.current_time() - began


async def listen(call: Any) -> None:
    """Be a handler that hears the call and does nothing else."""
    async for _ in call:
        pass


async def act(kind: Stranger, stream: trio.abc.Stream) -> None:
    """Do what the kind does, until the other side has had enough."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await kind.act(stream)
