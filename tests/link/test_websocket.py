"""The websocket of a connection, on streams in memory whose other end is written by hand."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, TextMessage

from hearout.link.refusal import LinkFailure
from hearout.link.websocket import WebSocket, open_websocket
from hearout.transcribers.base import WireMessage
from hearout.transcribers.deepgram import Deepgram
from tests.faults.server import frame

KEY = "dg-secret-key"
MOST = 2**20
MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
BEHIND = frame(TEXT, "één".encode()) + frame(PING, b"?") + frame(BINARY, b"two") + frame(CLOSE, b"\x03\xe8")
Run = Callable[..., Any]


class Far:
    """The server's end: writes bytes, and takes apart what the client sends."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.http = WSConnection(ConnectionType.SERVER)

    async def events(self) -> list[Any]:
        """What came since, and the end of the stream as None."""
        data = await self.stream.receive_some()
        self.http.receive_data(bytes(data) or None)
        return list(self.http.events())

    async def send(self, data: bytes) -> None:
        """It may not be wanted any more."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)


@asynccontextmanager
async def shaken(behind: bytes = b"", cut: int = 0, *, lf: bool = False) -> AsyncIterator[tuple[WebSocket, Far]]:
    """A websocket and its far end.

    Args:
        behind: what the server sends behind the handshake.
        cut: where the server's bytes are parted in two.
        lf: the lines of its answer end with LF.
    """
    near, stream = memory_stream_pair()
    far = Far(stream)

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    async def answer() -> None:
        await far.events()
        head = far.http.send(AcceptConnection())
        data = (head.replace(b"\r", b"") if lf else head) + behind
        for piece in (data[:cut], data[cut:]):
            if piece:
                await far.send(piece)
                await wait_all_tasks_blocked()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with open_websocket(Deepgram(KEY), connect, 5.0) as websocket:
                yield websocket, far


@pytest.mark.parametrize("lf", [False, True], ids=["CR LF", "LF"])
def test_messages_that_come_with_the_handshake_are_heard(lf: bool, run_virtual: Run) -> None:
    async def main(cut: int) -> list[WireMessage]:
        received: list[WireMessage] = []
        async with shaken(BEHIND, cut, lf=lf) as (websocket, _):
            with pytest.raises(ConnectionClosed):
                await websocket.receive(received.append)
            assert websocket.closed is not None
            assert websocket.closed.code == 1000
        return received

    for cut in range(1, 190, 3):
        assert run_virtual(main, cut) == ["één", b"two"]


def test_pings_and_a_close_are_answered(run_virtual: Run) -> None:
    async def main() -> None:
        received: list[WireMessage] = []
        async with shaken(BEHIND) as (websocket, far):
            with pytest.raises(ConnectionClosed):
                await websocket.receive(received.append)
            await wait_all_tasks_blocked()
            pong, close = await far.events()
            assert isinstance(pong, Pong)
            assert pong.payload == b"?"
            assert isinstance(close, CloseConnection)
            assert close.code == 1000

    run_virtual(main)


def test_a_ping_after_our_close_is_not_answered(run_virtual: Run) -> None:
    async def main() -> None:
        async with shaken() as (websocket, far), trio.open_nursery() as nursery:
            nursery.start_soon(websocket.aclose)
            (close,) = await far.events()
            assert isinstance(close, CloseConnection)
            await far.send(frame(PING, b"?"))
            await wait_all_tasks_blocked()
            await far.send(frame(CLOSE, b"\x03\xe8"))

    run_virtual(main)


def test_what_is_sent_arrives(run_virtual: Run) -> None:
    messages = [size * b"x" if size % 2 else size * "é" for size in (1, 2, 60, 125, 126, 1001, 65_535, 65_536)]

    async def main() -> None:
        async with shaken() as (websocket, far):
            for message in messages:
                await websocket.send(message)
                (event,) = await far.events()
                assert isinstance(event, BytesMessage if isinstance(message, bytes) else TextMessage)
                assert event.data == message
                assert event.message_finished

    run_virtual(main)


def test_what_was_said_before_a_pong_is_heard_before_it(run_virtual: Run) -> None:
    """`Link.settle` relies on it."""

    async def main() -> None:
        received: list[WireMessage] = []
        async with shaken() as (websocket, far), trio.open_nursery() as nursery:
            nursery.start_soon(websocket.receive, received.append)

            async def answer() -> None:
                (ping,) = await far.events()
                assert isinstance(ping, Ping)
                await far.send(b"".join(frame(TEXT, b"%d" % n) for n in range(20)) + frame(PONG, bytes(ping.payload)))

            for _ in range(20):  # trio runs tasks in an order of its own
                received.clear()
                nursery.start_soon(answer)
                await websocket.ping()
                assert received == [str(n) for n in range(20)]
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_an_error_of_the_receiver_comes_out(run_virtual: Run) -> None:
    def receiver(message: WireMessage) -> None:
        raise RuntimeError(f"no {message!r}")

    async def main() -> None:
        async with shaken(BEHIND) as (websocket, _):
            with pytest.raises(RuntimeError, match="no 'één'"):
                await websocket.receive(receiver)

    run_virtual(main)


USES: dict[str, Callable[[WebSocket], Awaitable[None]]] = {
    "send": lambda websocket: websocket.send("late"),
    "ping": lambda websocket: websocket.ping(),
    "receive": lambda websocket: websocket.receive(lambda message: None),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_websocket_that_has_ended_is_of_no_use(use: Callable[[WebSocket], Awaitable[None]], run_virtual: Run) -> None:
    async def main() -> None:
        async with shaken(frame(CLOSE, struct.pack("!H", 1011) + b"no")) as (websocket, _):
            with pytest.raises(ConnectionClosed):
                await websocket.receive(lambda message: None)
            with pytest.raises(ConnectionClosed) as caught:
                await use(websocket)
            assert caught.value.reason is not None
            assert (caught.value.reason.code, caught.value.reason.reason) == (1011, "no")

    run_virtual(main)


def test_one_that_breaks_in_sending_has_ended(run_virtual: Run) -> None:
    async def main() -> None:
        async with shaken() as (websocket, far), trio.open_nursery() as nursery:
            await trio.aclose_forcefully(far.stream)

            async def hear() -> None:
                with pytest.raises(ConnectionClosed):
                    await websocket.receive(lambda message: None)

            nursery.start_soon(hear)
            with pytest.raises(ConnectionClosed):
                await websocket.send("x")
            assert websocket.closed is not None
            assert websocket.closed.code == 1006

    run_virtual(main)


# Too much


def fragments(opcode: int, payload: bytes, size: int) -> bytes:
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    parts = [frame(MORE if i else opcode, piece, final=False) for i, piece in enumerate(pieces)]
    return b"".join(parts) + frame(MORE, b"")


@pytest.mark.parametrize("split", [False, True], ids=["one frame", "fragments"])
@pytest.mark.parametrize(("opcode", "unit"), [(TEXT, "a"), (TEXT, "é"), (TEXT, "𝄞"), (BINARY, "a")])
def test_a_message_of_more_than_2_to_the_20_is_too_big(opcode: int, unit: str, split: bool, run_virtual: Run) -> None:
    async def outcome(length: int) -> tuple[list[WireMessage], int]:
        payload = (unit * length).encode()
        received: list[WireMessage] = []
        data = fragments(opcode, payload, 100_000) if split else frame(opcode, payload)
        end = frame(CLOSE, b"\x03\xe8") if length <= MOST else b""  # trio-websocket would take its code after all
        async with shaken(data + frame(TEXT, b"late") + end) as (websocket, _):
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.receive(received.append)
            assert caught.value.reason is not None
            return received, caught.value.reason.code

    largest = unit * MOST if opcode == TEXT else (unit * MOST).encode()
    assert run_virtual(outcome, MOST) == ([largest, "late"], 1000)
    assert run_virtual(outcome, MOST + 1) == ([], 1009)


def test_a_message_without_end_ends_the_connection(run_virtual: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty fragments have no length, and trio-websocket keeps them all."""
    monkeypatch.setattr("hearout.link.websocket._MOST_UNFINISHED", 40_000)  # reading all there may be takes a minute
    many = 1000 * frame(MORE, b"", final=False)
    given = 0

    async def main() -> None:
        nonlocal given
        async with shaken(frame(TEXT, b"a", final=False)) as (websocket, far), open_nursery() as nursery:

            async def flood() -> None:
                nonlocal given
                while given < 200_000:
                    await far.send(many)
                    given += len(many)
                    await wait_all_tasks_blocked()

            nursery.start_soon(flood)
            with pytest.raises(LinkFailure, match="the transcriber sends a message without end"):
                await websocket.receive(lambda message: None)

    run_virtual(main)
    assert 38_000 < given < 50_000


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


def test_what_is_too_much_counts_for_each_message(run_virtual: Run) -> None:
    received: list[int] = []

    async def main() -> None:
        async with shaken() as (websocket, far), open_nursery() as nursery:

            async def talk() -> None:
                for _ in range(8):
                    await far.send(frame(BINARY, bytes(MOST)))
                    await wait_all_tasks_blocked()
                await far.send(frame(CLOSE, b""))

            nursery.start_soon(talk)
            with pytest.raises(ConnectionClosed):
                await websocket.receive(lambda message: received.append(len(message)))

    run_virtual(main)
    assert received == 8 * [MOST]


# Broken rules


def closing(payload: bytes) -> bytes:
    return frame(CLOSE, payload)


BROKEN = {
    "reserved bit 1": (1002, bytes([0xC1, 0])),
    "reserved opcodes": (1002, frame(3, b"")),
    "masked": (1002, bytes([0x81, 0x83]) + bytes(4) + b"abc"),
    "a length in two bytes that fits in one": (1002, struct.pack("!BBH", 0x81, 126, 125) + b"x" * 125),
    "a length of 2^63": (1002, struct.pack("!BBQ", 0x81, 127, 2**63)),
    "a continuation of nothing": (1002, frame(MORE, b"x")),
    "a message within a message": (1002, frame(TEXT, b"x", final=False) + frame(TEXT, b"y")),
    "a ping of 126 bytes": (1002, frame(PING, b"x" * 126)),
    "half a code": (1002, closing(b"\x03")),
    "code 1005, of no frame": (1002, closing(struct.pack("!H", 1005))),
    "a reason that is no text": (1007, closing(struct.pack("!H", 1000) + b"\xff")),
    "text that is none": (1007, frame(TEXT, b"\xff")),
    "text that ends within a character": (1007, frame(TEXT, "é".encode()[:1])),
}


@pytest.mark.parametrize(("code", "broken"), BROKEN.values(), ids=BROKEN)
def test_who_breaks_the_rules_has_hung_up_with_the_code_for_that(code: int, broken: bytes, run_virtual: Run) -> None:
    async def main() -> None:
        received: list[WireMessage] = []
        async with shaken(frame(TEXT, b"before") + broken + frame(TEXT, b"after")) as (websocket, _):
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.receive(received.append)
            assert caught.value.reason is not None
            assert caught.value.reason.code == code
        assert received == ["before"]

    run_virtual(main)


# The answer to the handshake


class Answering(trio.abc.Stream):
    """Answers any handshake with ``pieces``, then with silence or the end."""

    def __init__(self, pieces: Iterable[bytes], *, ends: bool) -> None:
        self._pieces = iter(pieces)
        self._ends = ends

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if (piece := next(self._pieces, None)) is not None:
            return piece
        if not self._ends:
            await trio.sleep_forever()
        return b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def refusal(answer: bytes, *, cut: int = 0, ends: bool = True) -> LinkFailure:
    """What is said of an ``answer`` that comes in two pieces, and the end or silence behind it."""

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Answering([piece for piece in (answer[:cut], answer[cut:]) if piece], ends=ends)

    async def main() -> None:
        async with open_websocket(Deepgram(KEY), connect, 5.0):
            raise AssertionError("this is no websocket")

    with pytest.raises(LinkFailure) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return caught.value


REFUSED = b"HTTP/1.1 403 Forbidden\r\nRetry-After: 3\r\nDate:now\r\n\r\nnot\r\n\r\nyou"


def test_a_refusal_has_the_body_that_ends_with_the_connection() -> None:
    for answer in (
        REFUSED,
        REFUSED.replace(b"3\r\nDate:now\r\n\r\n", b"3\nDate:now\n\n").replace(b"den\r\n", b"den\n"),
    ):
        for cut in range(1, len(answer), 3):
            failure = refusal(answer, cut=cut)
            assert failure.detail == (
                "api.deepgram.com refused the connection: HTTP 403 (not    you); "
                "the key has no right to use this model or feature"
            )
            assert (failure.retry_after, failure.permanent) == (3.0, True)


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    ("answer", "says", "permanent"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "HTTP 200 (<html>); check the url: this is no websocket", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n<html>", "HTTP 200 (<html>); check the url", True),
        (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n", "HTTP 503 (late)", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "HTTP 302", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "HTTP 100", False),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", "HTTP 103", False),
    ],
)
def test_an_answer_that_is_no_websocket_is_named_though_its_end_does_not_come(
    answer: bytes, says: str, permanent: bool, ends: bool
) -> None:
    failure = refusal(answer, ends=ends)
    assert failure.detail.startswith(f"api.deepgram.com refused the connection: {says}")
    assert failure.permanent == permanent


ACCEPTED = b"\r\n".join(
    [b"HTTP/1.1 101 Yes", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: xyz=", b"", b""]
)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ACCEPTED, "its answer does not fit the question"),
        (ACCEPTED.replace(b"Upgrade: websocket\r\n", b""), "Missing header, 'Upgrade: websocket'"),
        (ACCEPTED.replace(b"Connection: Upgrade\r\n", b""), "Missing header, 'Connection: Upgrade'"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "Bad HTTP message"),
    ],
)
def test_a_handshake_that_breaks_the_rules_is_named(answer: bytes, says: str) -> None:
    failure = refusal(answer, ends=False)
    assert failure.detail == f"api.deepgram.com is no websocket server: {says}"


def test_no_answer_and_half_an_answer() -> None:
    assert refusal(b"", ends=False).detail == "cannot connect to api.deepgram.com:443: no answer within 5 s"
    for answer in (b"", b"HTTP/1.1", REFUSED[:30]):
        assert refusal(answer).detail == "cannot connect to api.deepgram.com:443: it hung up in the handshake"
