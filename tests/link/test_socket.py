"""The engine's own stream over sockets on this machine, plain and with TLS; at its other end is trio's."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import check_one_way_stream, wait_all_tasks_blocked

from hearout.errors import untrusted
from hearout.link import socket as link_socket
from hearout.link.socket import SocketStream, open_stream

HOST = "127.0.0.1"
AUTHORITY = trustme.CA()
LARGE = random.Random(1).randbytes(3_000_000)
SMALL_BUFFER = 2**14  # bytes; how much the system makes of that is its affair

Pair = tuple[SocketStream, trio.abc.Stream]


def server_context(name: str = HOST) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


SERVER, CLIENT = server_context(), ssl.create_default_context()
AUTHORITY.configure_trust(CLIENT)


async def connect(kind: str, ours: type[SocketStream] = SocketStream) -> Pair:
    """Both ends of a connection."""
    with socket.create_server((HOST, 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    stream, peer = ours(near), trio.SocketStream(trio.socket.from_stdlib_socket(far))
    if kind == "plain":
        return stream, peer
    secured = trio.SSLStream(peer, SERVER, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.start_tls, CLIENT, HOST)
        nursery.start_soon(secured.do_handshake)
    return stream, secured


@asynccontextmanager
async def connected(kind: str) -> AsyncIterator[Pair]:
    """A connection, which is closed behind the block; what hangs is ended."""
    stream, peer = await connect(kind)
    try:
        with trio.fail_after(10):
            yield stream, peer
    finally:
        await trio.aclose_forcefully(stream)
        await trio.aclose_forcefully(peer)


def reset(peer: trio.abc.Stream) -> None:
    """Close the other end, without good order."""
    inner = peer.transport_stream if isinstance(peer, trio.SSLStream) else peer
    assert isinstance(inner, trio.SocketStream)
    inner.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    inner.socket.close()


def fill(stream: SocketStream, piece: bytes = b"x") -> None:
    """Send until nothing goes any more; with TLS, no less than ``piece`` may be sent afterwards."""
    with suppress(BlockingIOError, ssl.SSLWantWriteError):
        while True:
            stream._socket.send(piece)


async def read(stream: trio.abc.Stream, size: int, most: Callable[[], int | None] = lambda: None) -> bytes:
    data = bytearray()
    while len(data) < size:
        got = await stream.receive_some(most())
        assert got
        data += got
    return bytes(data)


both = pytest.mark.parametrize("kind", ["plain", "tls"])


# Sending and receiving


@both
def test_much_data_arrives_whole_though_the_other_end_takes_its_time(kind: str) -> None:
    rng = random.Random(2)
    got: dict[str, bytes] = {}

    async def main() -> None:
        async with connected(kind) as (stream, peer), trio.open_nursery() as nursery:

            async def take(name: str, end: trio.abc.Stream) -> None:
                got[name] = await read(end, len(LARGE), lambda: rng.choice([1000, 16_000, 40_000]))

            nursery.start_soon(stream.send_all, LARGE)
            nursery.start_soon(peer.send_all, LARGE[::-1])
            await wait_all_tasks_blocked(0.01)
            assert len(nursery.child_tasks) == 2  # it waits, as nobody reads
            nursery.start_soon(take, "peer", peer)
            nursery.start_soon(take, "stream", stream)

    trio.run(main)
    assert got["peer"] == LARGE
    assert got["stream"] == LARGE[::-1]


@both
@pytest.mark.parametrize("most", [1, 999, 16_384, 65_536, None])
def test_what_came_together_is_there_without_more_to_come(kind: str, most: int | None) -> None:
    """Several records of TLS, and a record that is read in parts: what is decrypted is in no socket any more."""
    pieces = [LARGE[:5000], LARGE[5000:5001], LARGE[5001:6000]]

    async def main() -> None:
        async with connected(kind) as (stream, peer):
            for piece in pieces:
                await peer.send_all(piece)
            assert await read(stream, 6000, lambda: most) == LARGE[:6000]

    trio.run(main)


@both
def test_a_cancelled_receive_loses_nothing(kind: str) -> None:
    async def main() -> None:
        async with connected(kind) as (stream, peer):
            for word in (b"one", b"two"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.receive_some)
                    await wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                await peer.send_all(word)
                assert await stream.receive_some() == word
            await stream.send_all(b"three")
            assert await peer.receive_some() == b"three"

    trio.run(main)


# The end


@both
def test_the_end_of_the_stream(kind: str) -> None:
    async def main() -> None:
        async with connected(kind) as (stream, peer):
            await peer.send_all(b"last")
            await peer.aclose()
            assert await stream.receive_some() == b"last"
            assert await stream.receive_some() == b""
            assert await stream.receive_some() == b""

    trio.run(main)


def test_an_end_that_tls_is_not_told_of_is_an_end() -> None:
    async def main() -> None:
        async with connected("tls") as (stream, peer):
            assert isinstance(peer, trio.SSLStream)
            await peer.transport_stream.aclose()
            assert await stream.receive_some() == b""

    trio.run(main)


@both
def test_a_reset_is_an_error(kind: str) -> None:
    async def main() -> None:
        async with connected(kind) as (stream, peer):
            reset(peer)
            if kind == "plain":
                with pytest.raises(trio.BrokenResourceError, match="the connection is broken: ") as caught:
                    await stream.receive_some()
                assert isinstance(caught.value.__cause__, ConnectionResetError)
            else:  # Python takes it for an end that TLS is not told of, since 3.10
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")
        async with connected(kind) as (stream, peer), trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.send_all(LARGE)

            nursery.start_soon(send)
            await wait_all_tasks_blocked(0.01)
            reset(peer)

    trio.run(main)


USES: dict[str, Callable[[SocketStream], Awaitable[Any]]] = {
    "receive": lambda stream: stream.receive_some(),
    "send": lambda stream: stream.send_all(LARGE),
    "wait": lambda stream: stream.wait_send_all_might_not_block(),
}


@both
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_closing_wakes_who_waits(kind: str, use: Callable[[SocketStream], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with connected(kind) as (stream, _), trio.open_nursery() as nursery:
            if use is USES["wait"]:
                fill(stream, b"x" * 1000)

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await use(stream)

            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            assert len(nursery.child_tasks) == 1
            await stream.aclose()

    trio.run(main)


@both
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_is_closed_is_of_no_use(kind: str, use: Callable[[SocketStream], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with connected(kind) as (stream, peer):
            await peer.send_all(b"unread")
            await stream.aclose()
            await stream.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await use(stream)

    trio.run(main)


class Checked(SocketStream):
    """With what the engine can do without: a look at the arguments, and at the stream when nothing is to be sent."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not isinstance(max_bytes, int | None):
            raise TypeError
        if max_bytes is not None and max_bytes < 1:
            raise ValueError
        return await super().receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(data)
        if not data and self._socket.fileno() < 0:
            raise trio.ClosedResourceError


@both
def test_the_rules_of_trio_for_streams_hold(kind: str) -> None:
    async def pair() -> Pair:
        return await connect(kind, Checked)

    async def clogged() -> Pair:
        stream, peer = await pair()
        full = False
        while not full:  # what the peer's kernel takes late makes room once more
            fill(stream)
            with trio.move_on_after(0.05) as waiting:
                await stream.wait_send_all_might_not_block()
            full = waiting.cancelled_caught
        return stream, peer

    async def back() -> tuple[trio.abc.Stream, SocketStream]:
        stream, peer = await pair()
        return peer, stream

    async def main() -> None:
        with trio.fail_after(60):  # it takes 2 s where there is nothing else to do
            await check_one_way_stream(pair, clogged)
            await check_one_way_stream(back, None)

    trio.run(main)


# Opening


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine trusts the authority of the tests."""
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SocketStream]]:
    """All streams that `open_stream` makes."""
    streams: list[SocketStream] = []

    class Kept(SocketStream):
        def __init__(self, connected: socket.socket) -> None:
            super().__init__(connected)
            streams.append(self)

    monkeypatch.setattr(link_socket, "SocketStream", Kept)
    yield streams
    for stream in streams:
        stream._socket.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None, serve: Callable[[Any], Awaitable[None]]) -> AsyncIterator[int]:
    """A server for the length of a block; its port."""
    listeners: list[Any] = list(await trio.open_tcp_listeners(0, host=HOST))
    port: int = listeners[0].socket.getsockname()[1]
    if context is not None:
        listeners = [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        with trio.fail_after(10):
            yield port
        nursery.cancel_scope.cancel()


async def echo(stream: trio.abc.Stream) -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                await stream.send_all(data)


async def say_nothing(stream: trio.abc.Stream) -> None:
    async with stream:
        await trio.sleep_forever()


def closed(stream: SocketStream) -> bool:
    return stream._socket.fileno() < 0


@both
@pytest.mark.usefixtures("trusting")
def test_a_connection_is_opened(kind: str) -> None:
    async def main() -> None:
        tls = kind == "tls"
        async with serving(SERVER if tls else None, echo) as port, await open_stream(HOST, port, tls) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"

    trio.run(main)


@pytest.mark.parametrize(
    ("name", "trusts", "says"),
    [("deepgram.example", True, "IP address mismatch"), (HOST, False, "unable to get local issuer certificate")],
    ids=["another's name", "an authority nobody knows"],
)
def test_who_cannot_prove_its_name_is_not_connected_to(
    name: str, trusts: bool, says: str, request: pytest.FixtureRequest, opened: list[SocketStream]
) -> None:
    if trusts:
        request.getfixturevalue("trusting")

    async def main() -> None:
        async with serving(server_context(name), echo) as port:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await open_stream(HOST, port, True)
            refused = untrusted(caught.value)
            assert refused is not None
            assert says in refused.verify_message

    trio.run(main)
    assert [closed(stream) for stream in opened] == [True]


@pytest.mark.usefixtures("trusting")
def test_a_handshake_that_is_cancelled_leaves_nothing_open(opened: list[SocketStream]) -> None:
    async def main() -> None:
        async with serving(None, say_nothing) as port, trio.open_nursery() as nursery:
            nursery.start_soon(open_stream, HOST, port, True)
            await wait_all_tasks_blocked(0.01)
            assert [closed(stream) for stream in opened] == [False]
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert [closed(stream) for stream in opened] == [True]


def test_settings_of_tls_that_are_no_good_leave_nothing_open(
    opened: list[SocketStream], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "no such directory" / "keys"))

    async def main() -> None:
        async with serving(None, say_nothing) as port:
            with pytest.raises(FileNotFoundError):
                await open_stream(HOST, port, True)

    trio.run(main)
    assert all(closed(stream) for stream in opened)


def test_one_context_serves_all_connections_and_is_made_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes tens of milliseconds: 150 calls that connect together once stopped the loop for 5 s."""
    made: list[int] = []
    make = ssl.create_default_context

    def watched() -> ssl.SSLContext:
        made.append(threading.get_ident())
        return make()

    async def connect() -> None:
        with suppress(OSError, trio.BrokenResourceError):
            await open_stream(HOST, 1, tls=True)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(connect)

    monkeypatch.setattr(link_socket, "_contexts", {})
    monkeypatch.setattr(ssl, "create_default_context", watched)
    trio.run(main)
    assert len(made) == 1
    assert made[0] != threading.get_ident()


def test_a_herd_of_handshakes_leaves_the_loop_to_others_in_between() -> None:
    steps: list[int] = []  # in which pass of the scheduler

    class Passes(trio.abc.Instrument):
        number = 0

        def before_io_wait(self, timeout: float) -> None:
            self.number += 1

    passes = Passes()

    class Context(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **options: Any) -> Any:
            steps.append(passes.number)
            return super().wrap_socket(*args, **options)

    async def shake(context: ssl.SSLContext) -> None:
        ours, theirs = socket.socketpair()
        with theirs, trio.move_on_after(0.5):
            stream = SocketStream(ours)
            try:
                await stream.start_tls(context, "localhost")
            finally:
                await trio.aclose_forcefully(stream)

    async def main() -> None:
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(shake, context)

    trio.run(main, instruments=[passes])
    assert len(steps) == 40
    assert max(steps.count(number) for number in steps) <= 4
