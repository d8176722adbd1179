"""What load balancers ask: ready, full or draining."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionRejected

from hearout.cli.counting import Counting
from hearout.errors import leaves_of
from hearout.serving import Limits, Peer, Upgrade, WebSocketServer, bearer_token, serve_websockets
from hearout.sources import TwilioCall, twilio_server
from tests.kit.callers import Caller, calling, dialling
from tests.kit.twilio_line import CONNECTED, start


async def asked(server: WebSocketServer, path: str) -> tuple[int, dict[str, Any], str]:
    """Status, body and head."""
    ours, theirs = memory_stream_pair()
    got = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, theirs)
        await ours.send_all(f"GET {path} HTTP/1.1\r\nHost: bot\r\n\r\n".encode())
        while more := await ours.receive_some():
            got += more
        await ours.aclose()
    head, _, body = got.decode().partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(body), head.lower()


async def wait(call: TwilioCall) -> None:
    async for _ in call:
        pass
    await trio.sleep(1.0)


async def begin(caller: Caller) -> None:
    await caller.say(CONNECTED, start())
    await trio.testing.wait_all_tasks_blocked()


def test_ready_full_and_draining(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = twilio_server(wait, authorise=lambda upgrade: True, limits=Limits(connections=1))
        code, told, head = await asked(server, "/healthz")
        assert (code, told) == (200, {"status": "ready", "calls": 0})
        assert "retry-after" not in head
        async with calling(server) as caller, trio.open_nursery() as nursery:
            await begin(caller)
            code, told, head = await asked(server, "/healthz")
            assert (code, told) == (503, {"status": "full", "calls": 1})
            assert "retry-after: 2" in head
            assert "application/json" in head
            assert (await asked(server, "/livez"))[0] == 200
            nursery.start_soon(server.drain, 8.0)
            await trio.testing.wait_all_tasks_blocked()
            assert (await asked(server, "/healthz"))[:2] == (503, {"status": "draining", "calls": 1})
            assert (await asked(server, "/livez"))[0] == 200
            await caller.listen()

    run_virtual(main)


def test_a_loop_that_has_no_time_is_full(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = twilio_server(wait)
        async with calling(server):
            for _ in range(8):
                server._look(0.0, 1.0)
            assert (await asked(server, "/healthz"))[:2] == (503, {"status": "full", "calls": 1})

    run_virtual(main)


@pytest.mark.parametrize(("given", "status"), [("Bearer s3cret", 200), ("Bearer other", 403), ("", 403)])
def test_metrics_are_for_those_with_the_token(given: str, status: int) -> None:
    pytest.importorskip("prometheus_client")
    counting = Counting(bearer_token("s3cret"))
    answer = counting.page(Upgrade("/metrics", {"authorization": given}, "them"))
    assert answer.status == status
    assert (b"hearout_turns_completed_total" in answer.body) is (status == 200)


def test_one_that_would_refuse_leaves_connections_to_others() -> None:
    """Two servers at one socket, as workers are: the second one is full."""

    async def listen(peer: Peer) -> None:
        await peer.receive()

    async def main() -> None:
        nobody = WebSocketServer(listen, name="full", limits=Limits(connections=0))
        taking = WebSocketServer(listen, name="free", limits=Limits(connections=9, busy=math.inf, lag=math.inf))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            host, port = listening.getsockname()
            async with trio.open_nursery() as nursery:
                for server in (nobody, taking):
                    await nursery.start(serve_websockets, server, listening.dup())
                async with AsyncExitStack() as stack:
                    for _ in range(9):
                        await stack.enter_async_context(dialling(host, port))
                    assert (taking.calls, nobody.refused.total()) == (9, 0)
                    with pytest.raises(ExceptionGroup) as caught:
                        async with dialling(host, port):
                            pass
                    (error,) = leaves_of(caught.value)
                    assert isinstance(error, ConnectionRejected)
                    assert error.status_code == 503  # by either
                nursery.cancel_scope.cancel()

    trio.run(main)
