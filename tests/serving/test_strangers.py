"""Connections that do not say who they are: they may be many, and keep nobody out who is welcome."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from hearout.serving import Limits, WebSocketServer, address_of, serve_websockets
from hearout.serving.admission import Admission, Visitor
from hearout.sources.twilio import twilio_server
from hearout.sources.websocket import websocket_server
from tests.faults.strangers import KEY, KINDS, REQUEST, TOKEN, WELCOME, Stranger, act, listen
from tests.kit.callers import calling, dialling, refused

# -- how many, and who leaves --------------------------------------------------------------------------------------


class Strangers:
    """Strangers of one `Admission`, each a task that waits until it has to leave."""

    def __init__(self, nursery: trio.Nursery, **limits: Any) -> None:
        self.there: list[str] = []
        self.crowded = 0
        self.admission = Admission(Limits(**limits), self._count)
        self._nursery = nursery

    def _count(self) -> None:
        self.crowded += 1

    async def come(self, name: str, address: str) -> Visitor:
        visitor: Visitor = await self._nursery.start(self._stay, name, address)
        await trio.testing.wait_all_tasks_blocked()
        return visitor

    async def _stay(self, name: str, address: str, task_status: trio.TaskStatus[Visitor]) -> None:
        with self.admission.visitor(address) as visitor:
            self.there.append(name)
            task_status.started(visitor)
            await trio.sleep_forever()
        self.there.remove(name)


def strangers(run_virtual: Callable[..., Any], test: Callable[[Strangers], Awaitable[None]], **limits: Any) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await test(Strangers(nursery, **limits))
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_the_one_that_has_waited_longest_leaves(run_virtual: Callable[..., Any]) -> None:
    async def test(room: Strangers) -> None:
        for number in range(5):
            await room.come(str(number), f"192.0.2.{number}")
        assert room.there == ["2", "3", "4"]
        assert room.crowded == 2

    strangers(run_virtual, test, strangers=3)


def test_who_comes_in_numbers_pushes_out_his_own(run_virtual: Callable[..., Any]) -> None:
    async def test(room: Strangers) -> None:
        await room.come("guest", "192.0.2.9")
        for number in range(5):
            await room.come(str(number), "192.0.2.1")
        assert room.there == ["guest", "3", "4"]

    strangers(run_virtual, test, strangers=10, strangers_per_address=2)


@pytest.mark.parametrize(
    ("addresses", "left"),
    [
        (("2001:db8::1", "2001:db8::2:3", "2001:db8:0:0:ffff::1"), 2),  # one network
        (("2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"), 3),
        (("fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth0"), 2),
        (("192.0.2.1", "192.0.2.2", "192.0.2.3"), 3),
        (("", "", ""), 2),
    ],
)
def test_one_sender_of_ipv6_has_a_whole_network(
    addresses: tuple[str, ...], left: int, run_virtual: Callable[..., Any]
) -> None:
    async def test(room: Strangers) -> None:
        for address in addresses:
            await room.come(address, address)
        assert len(room.there) == left

    strangers(run_virtual, test, strangers_per_address=2)


def test_who_is_admitted_stays_and_counts(run_virtual: Callable[..., Any]) -> None:
    async def test(room: Strangers) -> None:
        first = await room.come("first", "192.0.2.1")
        assert room.admission.admit(first)
        assert room.admission.admit(first, 2)
        for number in range(4):
            await room.come(str(number), "192.0.2.1")
        last = await room.come("last", "192.0.2.1")
        assert room.there == ["first", "3", "last"]
        assert not room.admission.admit(last)
        await trio.sleep(9.9)
        assert room.there == ["first", "3", "last"]
        await trio.sleep(0.2)  # their time is up
        assert room.there == ["first"]
        first.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        another = await room.come("another", "192.0.2.1")
        assert room.admission.admit(another, 3)  # the places are free again

    strangers(run_virtual, test, connections=3, strangers_per_address=2, handshake=10.0)


# -- whole connections ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(server: WebSocketServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, int]]:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(serve_websockets, tls=tls), server, 0)
        host, port = address_of(listener).split(":")
        yield host, int(port)
        nursery.cancel_scope.cancel()


HEADER, END = {"sample_rate": 16000}, {"type": "end"}
ANY = 2.0  # of its time; who tests on a busy machine must not be refused for that
SERVERS: dict[str, Callable[..., WebSocketServer]] = {"serve": websocket_server, "twilio": twilio_server}


@pytest.mark.parametrize("addresses", ["one address", "many addresses"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_strangers_keep_nobody_out(addresses: str, kind: Stranger, tls: bool) -> None:
    """More of them than there are places, and than there is room for."""
    if addresses == "many addresses" and sys.platform != "linux":
        pytest.skip("the only system where all of 127.0.0.0/8 can be connected from")
    ours, theirs = None, None
    if tls:
        authority = trustme.CA()
        theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(theirs)
        authority.configure_trust(ours)
    limits = Limits(connections=3, strangers=20, strangers_per_address=10, busy=ANY, lag=ANY)
    server = websocket_server(listen, authorise=WELCOME, limits=limits)

    async def main() -> None:
        with trio.fail_after(30):
            async with (
                served(server, theirs) as (host, port),
                AsyncExitStack() as stack,
                trio.open_nursery() as nursery,
            ):
                for number in range(50):
                    source = f"127.0.0.{2 + number}" if addresses == "many addresses" else None
                    stream = await stack.enter_async_context(
                        await trio.open_tcp_stream(host, port, local_address=source)
                    )
                    nursery.start_soon(act, kind, stream)
                for _ in range(4):
                    async with dialling(host, port, TOKEN, ours) as caller:
                        await caller.say(HEADER, END)
                        assert await caller.listen() == (1000, "")
                nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("kind", SERVERS)
def test_with_the_limits_as_they_are(kind: str) -> None:
    """20 silent connections once locked `serve` up, and 100 `serve_twilio`."""
    server = SERVERS[kind](listen, authorise=WELCOME, limits=Limits(busy=ANY, lag=ANY))

    async def main() -> None:
        with trio.fail_after(30):
            async with served(server) as (host, port), AsyncExitStack() as stack:
                for _ in range(600):
                    await stack.enter_async_context(await trio.open_tcp_stream(host, port))
                async with dialling(host, port, TOKEN):
                    pass

    trio.run(main)


def test_the_token_is_looked_at_before_the_places(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = websocket_server(listen, authorise=WELCOME, limits=Limits(connections=1, busy=ANY, lag=ANY))
        async with calling(server, TOKEN):
            await refused(server, [], 403)
            await refused(server, TOKEN, 503)

    run_virtual(main)


def test_a_stranger_that_hangs_up_has_left(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        began = trio.current_time()
        server = websocket_server(listen)
        for head in (b"", REQUEST):
            async with trio.open_nursery() as nursery:
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(server.serve, theirs)
                await ours.send_all(head)
                await trio.testing.wait_all_tasks_blocked()
                await ours.send_eof()
        assert trio.current_time() == began

    run_virtual(main)


def test_a_drip_is_no_sign_of_life(run_virtual: Callable[..., Any]) -> None:
    """A header a second, for as long as one likes."""

    async def main() -> None:
        server = websocket_server(listen)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            await ours.send_all(REQUEST)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while True:
                    await ours.send_all(b"X-A: b\r\n")
                    await trio.sleep(1)
        assert trio.current_time() - began <= 11

    run_virtual(main)


def test_what_comes_before_the_answer_is_not_collected(run_virtual: Callable[..., Any]) -> None:
    """As while the local recogniser is being started."""
    from wsproto.utilities import RemoteProtocolError

    from hearout.serving.protocol import ServerProtocol

    protocol = ServerProtocol(2**16)
    protocol.receive_data(REQUEST + KEY + b"\r\n")
    assert len(list(protocol.events())) == 1
    for _ in range(60):
        protocol.receive_data(bytes(1000))
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(bytes(10_000))


def test_strangers_cannot_fill_the_log(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = websocket_server(listen, authorise=WELCOME, limits=Limits(strangers=5, busy=ANY, lag=ANY))
        for _ in range(3):
            for _ in range(100):
                await refused(server, [], 403)
            await trio.sleep(2)

    caplog.set_level(logging.WARNING, "hearout")
    run_virtual(main)
    lines = [record.getMessage() for record in caplog.records]
    line = "websocket: StapledStream refused with 403: not authorised: no token, or not the right one"
    assert lines == [line, *2 * [f"{line} (and 99 more such lines)"]]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"\xff" * 9000 + b" HTTP/1.1\r\n" + REQUEST.split(b"\r\n", 1)[1] + KEY + b"\r\n",
        REQUEST + KEY + b"Connection: " + b"\xff" * 9000 + b"\r\n\r\n",
        REQUEST.replace(b"bot", b"\xff" * 9000) + KEY + b"\r\n",
    ],
)
def test_a_request_that_is_no_text_is_refused(
    head: bytes, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = websocket_server(listen)
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            await ours.send_all(head)
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 400")

    run_virtual(main)
    assert not caplog.records
