"""What a hostile or broken server could do to the link: huge messages, endless answers, floods."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from hearout.errors import SessionError
from hearout.link.link import Link
from hearout.link.settings import LinkSettings
from hearout.nursery import open_background
from hearout.transcribers.base import WireMessage
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.signals import Signal
from tests.kit.provider import RATE, audio

KEY = "dg-secret-key"


class Owner:
    """Counts what the link tells."""

    def __init__(self) -> None:
        self.messages = 0
        self.lost: list[str] = []
        self.restored: list[float] = []
        self.warnings: list[str] = []

    def now(self) -> float:
        return trio.current_time()

    def sent(self, message: WireMessage) -> None:
        pass

    def received(self, at: float, message: WireMessage) -> None:
        self.messages += 1

    def transcribed(self, channel: int, signal: Signal) -> None:
        pass

    def link_lost(self, detail: str) -> None:
        self.lost.append(detail)

    def link_restored(self, audio: float) -> None:
        self.restored.append(audio)

    def audio_lost(self, start: float, end: float) -> None:
        raise AssertionError("nothing was to be lost")

    def warn(self, detail: str) -> None:
        self.warnings.append(detail)


def frame(payload: bytes, opcode: int = 0x81) -> bytes:
    """One websocket frame of a server."""
    size = len(payload)
    if size < 126:
        head = bytes([opcode, size])
    else:
        head = struct.pack(">BBH", opcode, 126, size) if size < 2**16 else struct.pack(">BBQ", opcode, 127, size)
    return head + payload


Attack = Callable[[trio.abc.Stream], Awaitable[None]]


def link_under(attack: Attack, script: Callable[[Link, Owner], Awaitable[None]], run: Callable[..., Any]) -> Owner:
    """A link whose first connection, at 1 s, is attacked with raw bytes; the next ones only listen.

    The streams hold nothing back: what is sent has been taken, so what piles up, piles up in the link.
    """

    async def main() -> Owner:
        owner = Owner()
        connections = 0

        async def serve(stream: trio.abc.Stream) -> None:
            nonlocal connections
            connections += 1
            try:
                async with trio.open_nursery() as nursery:
                    request = await wrap_server_stream(nursery, stream)
                    websocket = await request.accept()
                    nursery.start_soon(listen, websocket)
                    if connections == 1:
                        await trio.sleep(1.0)
                        await attack(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                pass  # the link hung up, which trio-websocket answers while raw bytes are on their way

        async def listen(websocket: WebSocketConnection) -> None:
            with suppress(ConnectionClosed):
                while True:
                    await websocket.get_message()

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = lockstep_stream_pair()
            outer.start_soon(serve, theirs)
            return ours

        async with trio.open_nursery() as outer:
            link = Link(Deepgram(KEY), RATE, owner, connect=connect)
            async with open_background() as nursery:
                nursery.start_soon(link.run)
                await trio.sleep(1.0)
                await script(link, owner)
            outer.cancel_scope.cancel()
        return owner

    owner = run(main)
    assert isinstance(owner, Owner)
    return owner


def test_a_message_of_50_mb_takes_no_50_mb(run_virtual: Callable[..., Any]) -> None:
    chunk = b"x" * 65_536
    taken = 0

    async def attack(stream: trio.abc.Stream) -> None:
        nonlocal taken
        await stream.send_all(struct.pack(">BBQ", 0x81, 127, 800 * len(chunk)))
        for _ in range(800):
            await stream.send_all(chunk)
            taken += len(chunk)

    async def script(link: Link, owner: Owner) -> None:
        tracemalloc.start()
        try:
            await trio.sleep(5.0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 4e6
        assert link.connected

    owner = link_under(attack, script, run_virtual)
    assert taken < 2e6
    assert owner.messages == 0
    assert owner.lost == ["the transcriber hung up: 1009 Exceeded maximum message size: 1048576 bytes"]
    assert owner.restored == [0.0]


class Endless(trio.abc.Stream):
    """Answers any handshake with ``head`` and then without end. Only counts what is read."""

    def __init__(self, head: bytes) -> None:
        self.read = 0
        self._next = head

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._next = self._next, b"y" * 65_536
        self.read += len(data)
        assert self.read < 10e6, "this is read for ever"
        return data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"HTTP/1.1 403 No\r\ncontent-length: 9000000000\r\n\r\n", "HTTP 403 (yyyy"),
        (b"HTTP/1.1 403 No\r\n\r\n", "HTTP 403 (yyyy"),
        (b"HTTP/1.1 101 Yes\r\nx: ", "is no websocket server: Bad HTTP message"),
        (b"", "is no websocket server: Bad HTTP message"),
    ],
)
def test_an_answer_to_the_handshake_that_does_not_end(run_virtual: Callable[..., Any], head: bytes, says: str) -> None:
    stream = Endless(head or b"y")

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    async def main() -> str:
        link = Link(Deepgram(KEY), RATE, Owner(), settings=LinkSettings(first_budget=0.0), connect=connect)
        with pytest.raises(SessionError) as caught:
            await link.run()
        return str(caught.value)

    assert says in run_virtual(main)
    assert stream.read < 3e6


FLOODS = {
    "of unknown type": frame(b'{"type":"News"}'),
    "malformed": frame(b"{}x"),
    "errors": frame(b'{"type":"Error","description":"x"}'),
    "empty results": frame(
        b'{"type":"Results","start":0,"duration":1,"channel_index":[0,1],"channel":{"alternatives":[]}}'
    ),
    "pings": frame(b"", 0x89),
    "empty fragments": frame(b"", 0x00),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_100_000_messages_does_not_keep_audio_from_being_sent(
    run_virtual: Callable[..., Any], kind: str
) -> None:
    pushed = 0
    arrived: list[int] = []

    async def attack(stream: trio.abc.Stream) -> None:
        nonlocal pushed
        if kind == "empty fragments":
            await stream.send_all(frame(b"", 0x01))
        for _ in range(1000):
            await stream.send_all(100 * FLOODS[kind])
            pushed += 100

    async def script(link: Link, owner: Owner) -> None:
        # At the moment when the flood begins there are 5 s of audio to send: 50 messages.
        link.feed(audio(0.0, 5.0))
        while link._progress.outbox.waiting:
            await trio.lowlevel.checkpoint()
        arrived.append(pushed)
        assert trio.current_time() == 1.0

    owner = link_under(attack, script, run_virtual)
    assert arrived[0] < 10_000
    assert owner.lost == []


def test_a_flood_of_errors_is_reported_a_few_times(run_virtual: Callable[..., Any]) -> None:
    """Or the events that nobody has read yet would fill the memory."""

    async def attack(stream: trio.abc.Stream) -> None:
        for number in range(5_000):
            await stream.send_all(frame(b'{"type":"Error","description":"number %d"}' % number))

    async def script(link: Link, owner: Owner) -> None:
        await trio.sleep(1.0)
        assert owner.messages == 5_000

    owner = link_under(attack, script, run_virtual)
    assert 1 <= len(owner.warnings) <= 20
