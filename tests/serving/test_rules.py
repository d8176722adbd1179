"""Who breaks the rules of the websocket is told which, by every server: 1002, 1007, 1009."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from hearout.errors import HearoutError
from hearout.serving import Limits, ProtocolError, WebSocketServer, address_of, serve_websockets
from hearout.sources.twilio import twilio_server
from hearout.sources.websocket import websocket_server
from tests.kit.callers import HOWEVER_BUSY, dialling
from tests.kit.frames import BAD, CLOSE, FIRST_TEXT, LAST, MORE, frame, raw, text
from tests.kit.twilio_line import numbered, start

HEADER = b'{"sample_rate": 16000}'


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


SERVERS: dict[str, Callable[..., WebSocketServer]] = {"serve": websocket_server, "twilio": twilio_server}


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
                server = websocket_server(Bot().listen, limits=HOWEVER_BUSY)
                (listener,) = await nursery.start(serve_websockets, server, 0)
                host, port = address_of(listener).split(":")
                for _ in range(5):
                    async with dialling(host, int(port)) as caller:
                        await caller.say(HEADER.decode(), bytes(5_000_000))
                        code, reason = await caller.listen()
                        assert (code, reason) == (1009, "Exceeded maximum message size: 65536 bytes")
                nursery.cancel_scope.cancel()

    trio.run(main)
