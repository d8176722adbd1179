"""Plain requests on the port of a websocket server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from hearout.serving import Limits, Pages, PlainAnswer, Upgrade, WebSocketServer
from hearout.sources.websocket import websocket_server
from tests.kit.callers import calling


def echo(request: Upgrade) -> PlainAnswer:
    told = f"{request.path} for {request.headers['host']} with {request.headers.get('x-more')}"
    return PlainAnswer(told.encode(), headers=(("x-own", "yes"),))


def broken(request: Upgrade) -> PlainAnswer:
    raise ValueError("the page is broken")


PAGES: Pages = {"/healthz": lambda request: PlainAnswer(b"fine"), "/echo": echo, "/broken": broken}


async def answer(peer: Any) -> None:
    await peer.send("a websocket")


def server(**options: Any) -> WebSocketServer:
    return WebSocketServer(answer, name="own", **options)


async def asked(served: WebSocketServer, *pieces: bytes, then: float = 0.0) -> bytes:
    """What comes back for some bytes; the last of them is sent ``then`` seconds late."""
    ours, theirs = memory_stream_pair()
    got = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.serve, theirs)
        for number, piece in enumerate(pieces, 1):
            if number == len(pieces):
                await trio.sleep(then)
            await ours.send_all(piece)
        while more := await ours.receive_some():
            got += more
        await ours.aclose()
    return got


def get(path: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: bot:8766\r\n{more}\r\n".encode()


def test_a_page_is_got_in_any_pieces(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        request = get("/echo?a=1", more="X-More: things\r\nX-More: other\r\n")
        whole = await asked(server(pages=PAGES), request)
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0].startswith(b"HTTP/1.1 200")
        assert {b"content-length: %d" % len(body), b"connection: close", b"x-own: yes"} <= set(
            head.lower().split(b"\r\n")
        )
        assert body == b"/echo?a=1 for bot:8766 with things"
        for cut in range(1, len(request)):
            assert await asked(server(pages=PAGES), request[:cut], request[cut:], then=1.0) == whole

    run_virtual(main)


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (get("/healthz", "HEAD"), 200, b""),
        (get("/nothing\x7f"), 400, b""),
        (get("/nothing"), 404, b"there is no /nothing here\n"),
        (get("/healthz", "POST", "Content-Length: 5\r\n"), 405, b"only GET and HEAD are answered here\n"),
        (get("/healthz", more="Connection: Upgrade\r\nUpgrade: h2c\r\n"), 200, b"fine"),
        (get("/healthz", more="Upgrade: websocket\r\n"), 400, b""),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400, b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, b""),
        (get("/healthz", more="X: " + 40_000 * "x" + "\r\n"), 400, b""),
    ],
)
def test_what_else_is_asked(request_: bytes, status: int, body: bytes, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        got = await asked(server(pages=PAGES), request_)
        assert got.startswith(b"HTTP/1.1 %d" % status)
        assert got.partition(b"\r\n\r\n")[2] == body

    run_virtual(main)


def test_a_websocket_is_one_still(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with calling(server(pages=PAGES), path="/echo") as caller:
            assert await caller.websocket.get_message() == "a websocket"

    run_virtual(main)


def test_whoever_may_not_connect_gets_pages(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        strict = server(pages=PAGES, authorise=lambda upgrade: False, limits=Limits(connections=0))
        assert (await asked(strict, get("/healthz"))).endswith(b"\r\n\r\nfine")

    run_virtual(main)


def test_without_pages_there_is_none(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        assert (await asked(server(), get("/"))).startswith(b"HTTP/1.1 404")
        assert (await asked(websocket_server(answer, pages=PAGES), get("/healthz"))).startswith(b"HTTP/1.1 200")

    run_virtual(main)


def test_half_a_request_has_its_time(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        assert await asked(server(pages=PAGES), get("/healthz")[:-5]) == b""
        assert trio.current_time() == pytest.approx(10.0)

    run_virtual(main)


def test_a_page_that_fails_is_told_in_a_line(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with caplog.at_level(logging.WARNING, "hearout"):
            assert await asked(server(pages=PAGES), get("/broken")) == b""
        assert [record.getMessage() for record in caplog.records] == [
            "own: a connection failed: ValueError('the page is broken')"
        ]

    run_virtual(main)
