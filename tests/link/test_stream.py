"""The stream below a websocket, and the connection whose messages go to it and come from it directly."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import CloseReason, ConnectionClosed
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from hearout.link.connection import Connection, open_connection
from hearout.link.stream import SendsNow, WatchedStream
from hearout.transcribers.base import WireMessage
from hearout.transcribers.deepgram import Deepgram
from tests.faults.server import Line, frame
from tests.kit.streams import PONG, Given, Willing, frames, half, over, whole

KEY = "dg-secret-key"
MOST = 2**20
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-Y: \r\n\r\n"
REFUSED = b"HTTP/1.1 403 Forbidden\r\nRetry-After: 3\r\nDate:now\r\n\r\nnot\r\n\r\nyou"
BEHIND = frame(1, "één".encode()) + frame(9, b"?") + frame(2, b"two") + frame(8, b"\x03\xe8")
Run = Callable[..., Any]


async def read_all(stream: trio.abc.Stream) -> bytes:
    data = bytearray()
    while got := await stream.receive_some():
        data += got
        assert len(data) < 3 * MOST
    return bytes(data)


# The answer to the handshake


@pytest.mark.parametrize("head", [ACCEPTED, ACCEPTED.replace(b"\r", b""), ACCEPTED[:-2] + b"\n"])
@given(places=st.lists(st.integers(0, 150), max_size=5))
def test_what_comes_behind_the_handshake_waits_for_its_receiver(head: bytes, places: list[int]) -> None:
    data = head + BEHIND
    ends = [*sorted({place for place in places if 0 < place < len(data)}), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    received: list[WireMessage] = []

    async def main() -> bytes:
        stream = WatchedStream(Given(pieces))
        got = b""
        while len(got) < len(head):
            got += await stream.receive_some()
        assert got == head
        assert stream.refusal() is None
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                nonlocal got
                got = await read_all(stream)

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            assert not stream.ended.is_set()
            stream.pour_into(received.append)
        assert stream.ended.is_set()
        return got

    assert trio.run(main) == frame(9, b"?") + frame(8, b"\x03\xe8")
    assert received == ["één", b"two"]


def refusal(answer: bytes, cut: int | None = None) -> tuple[int, tuple[Any, ...], bytes | None] | None:
    """What `WatchedStream.refusal` makes of an answer that comes in two pieces."""

    async def main() -> Any:
        stream = WatchedStream(Given([answer] if cut is None else [answer[:cut], answer[cut:]]))
        assert await read_all(stream) == answer
        return stream.refusal()

    rejected = trio.run(main)
    return rejected and (rejected.status_code, rejected.headers, rejected.body)


def test_a_refusal_has_the_body_that_ends_with_the_connection() -> None:
    expected = (403, ((b"Retry-After", b"3"), (b"Date", b"now")), b"not\r\n\r\nyou")
    assert [refusal(REFUSED, cut) for cut in range(1, len(REFUSED))] == (len(REFUSED) - 1) * [expected]
    assert refusal(REFUSED[:30]) == (403, ((b"Retry-", b""),), b"")  # it hung up in the middle


def test_a_refusal_whose_lines_end_with_lf_has_one_too() -> None:
    head, _, _ = REFUSED.partition(b"\r\n\r\n")
    expected = (403, ((b"Retry-After", b"3"), (b"Date", b"now")), b"no\r\n\r\n")
    assert refusal(head.replace(b"\r", b"") + b"\n\nno\r\n\r\n") == expected


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1", b"HTTP/1.1 what", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nyes", b"SSH-2.0-x 500\r\n"],
)
def test_what_is_no_refusal(answer: bytes) -> None:
    assert refusal(answer) is None


@pytest.mark.parametrize("begin", [ACCEPTED[:-2] + b"X: ", REFUSED, b""])
def test_an_answer_without_an_end_is_cut_off(begin: bytes) -> None:
    def endless() -> Iterable[bytes]:
        yield begin or b"x"
        while True:
            yield 2**16 * b"x"

    async def main() -> None:
        stream = WatchedStream(Given(endless()))
        assert MOST - 2**17 < len(await read_all(stream)) <= MOST
        assert stream.ended.is_set()

    trio.run(main)


def test_messages_behind_the_handshake_are_no_part_of_the_answer() -> None:
    received: list[WireMessage] = []

    async def main() -> None:
        stream = WatchedStream(Given([ACCEPTED, *3 * [frame(2, bytes(MOST))]]))
        assert await stream.receive_some() == ACCEPTED
        stream.pour_into(received.append)
        assert await stream.receive_some() == b""

    trio.run(main)
    assert len(received) == 3


# The end


def test_an_error_of_the_receiver_ends_the_stream_and_is_kept() -> None:
    error = RuntimeError("no more")
    received: list[WireMessage] = []

    def receiver(message: WireMessage) -> None:
        received.append(message)
        raise error

    async def main() -> None:
        stream = WatchedStream(Given([ACCEPTED + frame(9, b""), frame(1, b"one") + frame(1, b"two")]))
        assert await stream.receive_some() == ACCEPTED
        stream.pour_into(receiver)
        assert await stream.receive_some() == frame(9, b"")
        assert stream.error is None
        assert await stream.receive_some() == b""
        assert stream.error is error

    trio.run(main)
    assert received == ["one"]


@pytest.mark.parametrize("error", [trio.BrokenResourceError(), trio.ClosedResourceError()])
def test_an_error_of_the_stream_ends_it(error: Exception) -> None:
    async def main() -> None:
        for use in (WatchedStream.receive_some, lambda stream: stream.send_all(b"x")):
            stream = WatchedStream(Given(error=error))
            with pytest.raises(type(error)):
                await use(stream)
            assert stream.ended.is_set()
            with trio.CancelScope() as scope:
                await stream.cancel_when_ended(scope)
                await trio.sleep_forever()

    trio.run(main)


# Sending


def test_what_did_not_go_at_once_goes_before_anything_else(run_virtual: Run) -> None:
    async def main() -> None:
        inner = Willing(half)
        stream = WatchedStream(inner)
        assert stream.send_now(b"abcd") == 2
        assert stream.blocked
        await stream.send_all(b"1")
        assert not stream.blocked
        await stream.send_all(b"2")
        assert inner.sent == b"abcd12"

    run_virtual(main)


def test_nothing_goes_at_once_while_something_is_being_sent(run_virtual: Run) -> None:
    async def main() -> None:
        inner = Willing(whole)
        stream = WatchedStream(inner)
        sending = inner.send_all

        async def send_all(data: bytes) -> None:  # slowly, although it could send at once
            await trio.sleep(1)
            await sending(data)

        inner.send_all = send_all  # type: ignore[assignment, method-assign]
        async with trio.open_nursery() as nursery:
            for data in (b"1", b"2"):
                nursery.start_soon(stream.send_all, data)
                await wait_all_tasks_blocked()
            assert stream.send_now(b"ab") == 0
            assert stream.blocked
        assert inner.sent == b"1ab2"
        assert stream.send_now(b"cd") == 2
        assert not stream.blocked

    run_virtual(main)


def test_a_stream_that_always_waits_will_do(run_virtual: Run) -> None:
    async def main() -> None:
        near, far = memory_stream_pair()
        assert isinstance(Line(random.Random(0)), SendsNow)
        assert not isinstance(near, SendsNow)
        stream = WatchedStream(near)
        assert stream.send_now(b"x") == 0
        async with trio.open_nursery() as nursery:  # of trio's streams, each has one user only
            for _ in range(3):
                nursery.start_soon(stream.send_all, b"ab")
        assert await far.receive_some() == b"xababab"

    run_virtual(main)


def test_the_streams_of_the_fault_matrix_take_what_they_like(run_virtual: Run) -> None:
    async def main() -> None:
        clogged = False
        line = Line(random.Random(1), lambda: clogged)
        counts, got = [], bytearray()
        for _ in range(50):
            counts.append(line.send_now(b"abcd"))
            await line.send_all(b"abcd"[counts[-1] :] + b"e")
            got += await line.far.receive_some()
        assert set(counts) == {0, 1, 2, 3, 4}
        assert got == 50 * b"abcde"
        clogged = True
        assert line.send_now(b"x") == 0
        with pytest.raises(trio.BrokenResourceError):
            await line.send_all(b"y")
        with trio.move_on_after(1.0) as patience:
            await line.send_all(b"x")
        assert patience.cancelled_caught
        clogged = False
        await line.far.aclose()
        assert [line.send_now(b"x") for _ in range(10)] == 10 * [0]

    run_virtual(main)


# Connection


@asynccontextmanager
async def shaken(cut: int, lf: bool, behind: bytes) -> AsyncIterator[Connection]:
    """A connection with trio-websocket, whose server's answer comes in two pieces, ``behind`` and all."""
    near, far = memory_stream_pair()

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    async def answer() -> None:
        http = WSConnection(ConnectionType.SERVER)
        http.receive_data(bytes(await far.receive_some()))
        head = http.send(AcceptConnection())
        data = (head.replace(b"\r", b"") if lf else head) + behind
        for piece in (data[:cut], data[cut:]):
            await far.send_all(piece)
            await wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_connection(Deepgram(KEY), connect, 5.0) as connection:
            yield connection


@pytest.mark.parametrize("lf", [False, True], ids=["CR LF", "LF"])
def test_messages_that_come_with_the_handshake_are_heard(lf: bool, run_virtual: Run) -> None:
    async def main(cut: int) -> list[WireMessage]:
        received: list[WireMessage] = []
        async with shaken(cut, lf, BEHIND) as connection:
            with pytest.raises(ConnectionClosed):
                await connection.receive(received.append)
            assert connection.websocket.closed is not None
            assert connection.websocket.closed.code == 1000
        return received

    for cut in range(1, 190):
        assert run_virtual(main, cut) == ["één", b"two"]


def test_an_error_of_the_receiver_comes_out(run_virtual: Run) -> None:
    def receiver(message: WireMessage) -> None:
        raise RuntimeError(f"no {message!r}")

    async def main() -> None:
        async with shaken(1, False, BEHIND) as connection:
            with pytest.raises(RuntimeError, match="no 'één'"):
                await connection.receive(receiver)

    run_virtual(main)


@pytest.mark.parametrize("stream", [Given(), Willing(whole), Willing(half), Willing(lambda size: 0)])
def test_what_is_put_arrives_whole_and_in_order(stream: Given, run_virtual: Run) -> None:
    messages = [size * b"x" if size % 2 else size * "é" for size in (1, 2, 60, 125, 126, 1001, 65_535, 65_536)]

    async def main() -> None:
        connection = over(stream)
        for message in messages:
            connection.put(message)
            if connection.blocked:
                await connection.flush()
            assert not connection.blocked
            assert frames(stream.sent)[-1] == message
        await connection.send("last")

    run_virtual(main)
    assert frames(stream.sent) == [*messages, "last"]


def test_what_is_put_goes_at_once_if_it_can(run_virtual: Run) -> None:
    async def main() -> None:
        for stream, goes in ((Given(), False), (Willing(whole), True), (Willing(half), False)):
            connection = over(stream)
            connection.put("abc")
            assert connection.blocked != goes
            assert goes == (frames(stream.sent) == ["abc"])

    run_virtual(main)


def test_nothing_comes_between_the_parts_of_a_frame(run_virtual: Run) -> None:
    async def main() -> None:
        stream = Willing(half)
        connection = over(stream)
        connection.put(b"abc")
        await connection._stream.send_all(PONG)  # trio-websocket answers a ping
        await connection.flush()
        assert frames(stream.sent) == [b"abc", b"!"]

    run_virtual(main)


def test_a_connection_that_has_ended_takes_nothing(run_virtual: Run) -> None:
    async def main() -> None:
        closed, stream = CloseReason(1011, "no"), Willing(half)
        connection = over(stream, closed)
        connection.put("late")
        for ended in (connection.flush(), connection.send("later")):
            with pytest.raises(ConnectionClosed) as caught:
                await ended
            assert caught.value.reason is closed
        assert not stream.sent

    run_virtual(main)


def test_a_connection_that_breaks_in_sending_is_closed(run_virtual: Run) -> None:
    async def main() -> None:
        near, _ = memory_stream_pair()
        await near.send_stream.aclose()
        with pytest.raises(ConnectionClosed) as caught:
            await over(near).send("x")
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1006
        with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):  # so whoever reads hears of it
            await near.receive_some()

    run_virtual(main)
