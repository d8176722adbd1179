"""Pages of other sites: a browser lets any of them connect to this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hearout.serving import WebSocketServer, bearer_token
from hearout.sources.twilio import twilio_server
from hearout.sources.websocket import websocket_server
from tests.kit.callers import calling, refused

EVIL = [(b"Origin", b"http://evil.example")]


async def nothing(call: Any) -> None:
    pass


async def answer(peer: Any) -> None:
    pass


SERVERS: dict[str, Callable[..., WebSocketServer]] = {
    "serve": lambda **options: websocket_server(nothing, **options),
    "twilio": lambda **options: twilio_server(nothing, **options),
    "own": lambda **options: WebSocketServer(answer, name="own", **options),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_they_stay_out_unless_somebody_says_otherwise(kind: str, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = SERVERS[kind]()
        for origin in (b"http://evil.example", b"null", b"http://[", b"https://localhost.evil.example"):
            await refused(server, [(b"Origin", origin)], 403)
        for origin in (b"http://localhost:3000", b"http://127.0.0.1", b"http://[::1]:8080"):
            async with calling(server, [(b"Origin", origin)]):
                pass
        async with calling(server):
            pass
        async with calling(SERVERS[kind](authorise=lambda upgrade: True), EVIL):
            pass
        token = [(b"Authorization", b"Bearer s3cret")]
        async with calling(SERVERS[kind](authorise=bearer_token("s3cret")), EVIL + token):
            pass

    run_virtual(main)
