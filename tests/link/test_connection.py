"""One connection after another, and what each of them leaves to the next."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from hearout.errors import SessionError
from hearout.link.link import Link
from hearout.link.settings import LinkSettings
from hearout.nursery import open_background
from hearout.transcribers.deepgram import Deepgram
from tests.kit.provider import RATE, audio
from tests.link.test_link import Owner

KEY = "dg-secret-key"
Talk = Callable[[WebSocketConnection], Awaitable[None]]
Run = Callable[..., Any]


def result(text: str, start: float, end: float) -> str:
    words = [{"word": text, "start": start + 0.1, "end": end - 0.1}]
    data = {"type": "Results", "start": start, "duration": end - start, "is_final": True}
    return json.dumps(data | {"channel": {"alternatives": [{"words": words}]}})


def linked(run: Run, talk: Talk, script: Callable[[Link], Awaitable[None]], **settings: float) -> tuple[Owner, Link]:
    """A link whose every connection ends after ``talk`` with it."""

    async def main() -> tuple[Owner, Link]:
        owner = Owner()

        async def serve(stream: Any) -> None:
            with suppress(ConnectionClosed):
                async with open_background() as nursery:
                    websocket = await (await wrap_server_stream(nursery, stream)).accept()
                    await talk(websocket)
            await trio.aclose_forcefully(stream)

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            outer.start_soon(serve, theirs)
            return ours

        async with open_background() as outer:
            link = Link(Deepgram(KEY), RATE, owner, settings=LinkSettings(**settings), connect=connect)
            async with open_background() as nursery:
                nursery.start_soon(link.run)
                await script(link)
        return owner, link

    return run(main)  # type: ignore[no-any-return]


async def hang_up_after_6_s(websocket: WebSocketConnection) -> None:
    with trio.move_on_after(6.0):
        while True:
            await websocket.get_message()


async def a_minute(link: Link) -> None:
    await trio.sleep(60.0)


@pytest.mark.parametrize("stable", [5.0, 7.0])
def test_a_connection_that_lasted_was_a_good_one_without_results_too(stable: float, run_virtual: Run) -> None:
    """There is no audio, so nothing that could be transcribed; the budget is for one outage, not for all together."""
    if stable < 6.0:
        _, link = linked(run_virtual, hang_up_after_6_s, a_minute, stable=stable, budget=5.0)
        assert link.stats.connections == 10
    else:
        with pytest.raises(SessionError, match="gave up after 6 s"):
            linked(run_virtual, hang_up_after_6_s, a_minute, stable=stable, budget=5.0)


def test_nothing_is_heard_behind_the_end(run_virtual: Run) -> None:
    """A result could not be read, so that another connection is fed again; the old one goes on talking."""

    talks: list[WebSocketConnection] = []

    async def talk(websocket: WebSocketConnection) -> None:
        talks.append(websocket)
        for _ in range(50):
            await websocket.get_message()
        if len(talks) == 1:
            for message in (result("one", 0.0, 1.0), "{", result("three", 2.0, 3.0), result("four", 3.0, 4.0)):
                await websocket.send_message(message)
        await trio.sleep(1.0)

    async def script(link: Link) -> None:
        link.feed(audio(0.0, 5.1))
        await trio.sleep(0.5)

    owner, link = linked(run_virtual, talk, script, message=0.1, keep=60.0, replay_speed=100.0)
    assert owner.text() == "one"
    assert [entry for entry in owner.told if entry[0] != "warning"] == [
        ("lost", "a final result could not be read"),
        ("restored", 1.0),
    ]
    assert link.stats.replayed == 4.0


def test_at_the_end_a_rest_is_asked_for_once_more_and_no_longer(run_virtual: Run) -> None:
    """A server that hangs up whenever it is asked for the last results has no more to say."""

    async def talk(websocket: WebSocketConnection) -> None:
        while await websocket.get_message() != '{"type":"CloseStream"}':
            pass

    async def script(link: Link) -> None:
        link.feed(audio(0.0, 1.0))
        with trio.fail_after(5.0):
            await link.finish()

    owner, link = linked(run_virtual, talk, script)
    assert link.stats.connections == 2
    assert owner.kinds() == ["sent", "lost", "restored", "sent"]
