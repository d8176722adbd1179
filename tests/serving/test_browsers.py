"""What a browser needs: a token without a header of its own, and reasons."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionRejected, wrap_client_stream

from hearout.errors import leaves_of
from hearout.serving import Limits, WebSocketServer, bearer_token
from tests.serving.test_plain import asked, get

TOKEN = "s3cret/with+odd=characters, and a blank: ü"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def coded(token: str) -> str:
    return "token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def answer(peer: Any) -> None:
    await peer.send("let in")


async def offering(server: WebSocketServer, *subprotocols: str) -> tuple[str | None, str]:
    """What the server chose of them, and said."""
    ours: Any
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, theirs)
        async with trio.open_nursery() as clients:
            websocket = await wrap_client_stream(clients, ours, "bot", "/", subprotocols=subprotocols)
            chosen, said = websocket.subprotocol, await websocket.get_message()
            await trio.aclose_forcefully(ours)
            clients.cancel_scope.cancel()
    assert isinstance(said, str)
    return chosen, said


def test_a_token_may_be_a_subprotocol(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = WebSocketServer(answer, authorise=bearer_token(TOKEN), name="own")
        assert await offering(server, "hearout", coded(TOKEN)) == ("hearout", "let in")
        assert await offering(server, coded(TOKEN)) == (None, "let in")
        for wrong in ("token.", "token", coded(TOKEN[:-1]), coded("ü"), "token.x", "hearout"):
            with pytest.raises(ExceptionGroup) as caught:
                await offering(server, "hearout", wrong)
            (error,) = leaves_of(caught.value)
            assert isinstance(error, ConnectionRejected)
            assert (error.status_code, error.body) == (403, b"not authorised: no token, or not the right one\n")

    caplog.set_level(logging.DEBUG)
    run_virtual(main)
    for record in caplog.records:
        assert TOKEN not in record.getMessage()
        assert coded(TOKEN) not in record.getMessage()


def test_other_subprotocols_do_not_matter(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        assert await offering(WebSocketServer(answer, name="own"), "chat", "hearout") == ("hearout", "let in")
        assert await offering(WebSocketServer(answer, name="own"), "chat") == (None, "let in")

    run_virtual(main)


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("null", b"a page opened as a file may not connect: open it at the address that hearout serve --page prints\n"),
        (
            "https://evil.example",
            b"a page of https://evil.example may not connect: without a token only pages of this machine may\n",
        ),
    ],
)
def test_pages_from_elsewhere_are_told_why(
    origin: str, why: bytes, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        got = await asked(WebSocketServer(answer, name="own"), get("/", more=f"{UPGRADE}Origin: {origin}\r\n"))
        assert got.startswith(b"HTTP/1.1 403")
        assert got.endswith(b"\r\n\r\n" + why)

    run_virtual(main)
    (record,) = caplog.records
    assert record.getMessage() == f"own: StapledStream refused with 403: {why.decode().strip()}"


def test_a_full_server_says_so(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        got = await asked(WebSocketServer(answer, limits=Limits(connections=0), name="own"), get("/", more=UPGRADE))
        assert got.startswith(b"HTTP/1.1 503")
        assert got.endswith(b"\r\n\r\nthere are as many connections as may be\n")

    run_virtual(main)
