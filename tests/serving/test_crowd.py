"""Hundreds of clients at once, as after an outage: all get in, and those who are talking already go on."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import trio

from hearout.serving import Limits, Peer, WebSocketServer, address_of, bearer_token, serve_websockets
from tests.kit.callers import Caller, dialling
from tests.kit.frames import Raw

CROWD = 200
TOKEN = [(b"Authorization", b"Token any")]


async def echo(peer: Peer) -> None:
    while (message := await peer.receive()) is not None:
        assert isinstance(message, str)
        await peer.send(message)


def test_a_crowd_gets_in_and_holds_up_nobody() -> None:
    """Over sockets: connections are taken one at a time, and whoever talks has a turn in between."""
    turns: list[int] = []  # of the talker: how many of the crowd were in
    inside = 0

    async def join(host: str, port: int, done: Callable[[], Any]) -> None:
        nonlocal inside
        async with await trio.open_tcp_stream(host, port) as stream:
            await Raw(stream).shake_hands(b"/")
            inside += 1
            if inside == CROWD:
                done()
            await trio.sleep_forever()

    async def talk(caller: Caller) -> None:
        number = 0
        while True:
            await caller.websocket.send_message(str(number))
            assert await caller.websocket.get_message() == str(number)
            number += 1
            turns.append(inside)

    async def main() -> None:
        limits = Limits(connections=CROWD + 1, busy=math.inf, lag=math.inf)
        server = WebSocketServer(echo, authorise=bearer_token("any"), limits=limits, name="echo")
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                (listener,) = await nursery.start(serve_websockets, server, 0)
                host, port = address_of(listener).split(":")
                async with dialling(host, int(port), TOKEN) as caller, trio.open_nursery() as clients:
                    for _ in range(CROWD):
                        clients.start_soon(join, host, int(port), clients.cancel_scope.cancel)
                    clients.start_soon(talk, caller)
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert inside == CROWD
    during = [turn for turn in turns if 0 < turn < CROWD]
    assert len(during) > 10
    assert max(b - a for a, b in pairwise(turns)) < CROWD / 4
