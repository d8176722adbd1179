"""A server that is told to end: no new calls, the last words of the open ones, 1001, and all within the grace."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed

from hearout import Deepgram
from hearout.cli.conversation import converse
from hearout.serving import Limits, WebSocketServer, address_of
from hearout.serving.signals import ending_signals
from hearout.sources import SocketCall, TwilioCall, serve_twilio, twilio_server, websocket_server
from hearout_policies.policy import preset
from tests.kit.callers import HOWEVER_BUSY, Caller, calling, dialling, heard, refused, run_with, transcriber
from tests.kit.commandline import COMMAND, environment, playing, serving
from tests.kit.frames import Raw, text
from tests.kit.paths import DOCS
from tests.kit.twilio_line import CONNECTED, start

HEADER = {"sample_rate": 16000}
GOING_AWAY = (1001, "the server is shutting down")


def sessions(nursery: trio.Nursery, *records: dict[str, Any], policy: str = "balanced") -> WebSocketServer:
    """What ``hearout serve`` runs, with a transcriber that plays these records."""
    connect = transcriber(nursery, *records)
    return websocket_server(
        partial(converse, transcribers=lambda call: Deepgram("any"), policy=preset(policy), connect=connect)
    )


async def talk(caller: Caller) -> None:
    """Audio in real time, for good."""
    await caller.say(HEADER)
    with suppress(ConnectionClosed):
        while True:
            await caller.say(bytes(640))
            await trio.sleep(0.02)


@pytest.mark.parametrize("policy", ["balanced", "patient", "push_to_talk"])
def test_open_calls_are_told_their_last_words(policy: str, run_virtual: Callable[..., Any]) -> None:
    """One is in mid-sentence, with words that are not final yet; another has not said what it sends."""

    async def main(nursery: trio.Nursery) -> None:
        server = sessions(
            nursery,
            heard(1.0, "I would", 0.3, 0.9),
            heard(1.5, "like a", 1.0, 1.4, final=False),
            policy=policy,
        )
        async with calling(server) as speaker, calling(server) as novice:
            nursery.start_soon(talk, speaker)
            ends: list[tuple[int, str]] = []

            async def listen(caller: Caller) -> None:
                ends.append(await caller.listen())

            nursery.start_soon(listen, novice)
            nursery.start_soon(listen, speaker)
            await trio.sleep(1.7)
            began = trio.current_time()
            await server.drain(8.0)
            assert trio.current_time() - began < 2.0
            await trio.testing.wait_all_tasks_blocked()
            assert ends == [GOING_AWAY, GOING_AWAY]
            completed = [event["text"] for event in speaker.got if event["type"] == "turn_completed"]
            assert completed == ["I would like a"]

    run_virtual(run_with(main))


def test_nobody_new_is_let_in_while_calls_end(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        finish = trio.Event()

        async def handler(call: SocketCall) -> None:
            async for _ in call:
                pass
            await finish.wait()

        server = websocket_server(handler)
        async with calling(server) as caller, trio.open_nursery() as nursery:
            await caller.say(HEADER)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(server.drain, 8.0)
            await trio.sleep(1.0)
            assert server.calls == 1
            await refused(server, [], 503)
            finish.set()
            assert await caller.listen() == GOING_AWAY
        await refused(server, [], 503)
        assert server.calls == 0

    run_virtual(main)


async def consume(call: SocketCall | TwilioCall) -> None:
    async for _ in call:
        pass


async def never_return(call: SocketCall | TwilioCall) -> None:
    await consume(call)
    await trio.sleep_forever()


@pytest.mark.parametrize(("grace", "words"), [(8.0, 7.0), (1.0, 0.75)])
def test_a_handler_that_takes_too_long_is_cancelled(
    grace: float, words: float, run_virtual: Callable[..., Any]
) -> None:
    async def main() -> None:
        server = websocket_server(never_return)
        async with calling(server) as caller, trio.open_nursery() as nursery:
            await caller.say(HEADER)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            nursery.start_soon(server.drain, grace)
            assert await caller.listen() == GOING_AWAY
            assert trio.current_time() - began == pytest.approx(words)

    run_virtual(main)


def lockstep_pair() -> tuple[Any, Any]:
    """What is sent waits until it is read."""
    return trio.testing.lockstep_stream_pair()


async def shout(call: SocketCall) -> None:
    while await call.send({"type": "noise"}):
        pass


@pytest.mark.parametrize(("handler", "pair"), [(never_return, memory_stream_pair), (shout, lockstep_pair)])
def test_a_client_that_does_not_take_leave_is_cut_off_when_the_grace_is_over(
    handler: Any, pair: Callable[[], tuple[Any, Any]], run_virtual: Callable[..., Any]
) -> None:
    async def main() -> None:
        server = websocket_server(handler, limits=Limits(send=60.0))
        async with trio.open_nursery() as nursery:
            ours, theirs = pair()
            nursery.start_soon(server.serve, theirs)
            client = Raw(ours)
            await client.shake_hands(b"/")
            await ours.send_all(text(json.dumps(HEADER).encode()))
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await server.drain(3.0)
            assert trio.current_time() - began == pytest.approx(3.0)
        assert trio.current_time() - began == pytest.approx(3.0)  # no task of it is left

    run_virtual(main)


def test_twilio_calls_end_likewise(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        over: list[str] = []

        async def answer(call: TwilioCall) -> None:
            call.on_drain = lambda: over.append("drain")
            async for _ in call:
                pass
            over.append("audio")

        server = twilio_server(answer)
        async with calling(server) as caller, calling(server) as stranger, trio.open_nursery() as nursery:
            await caller.say(CONNECTED, start())
            await stranger.say(CONNECTED)  # and never says which call
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(server.drain, 8.0)
            assert await caller.listen() == GOING_AWAY
            assert await stranger.listen() == GOING_AWAY
        assert over == ["drain", "audio"]

    run_virtual(main)


def test_nobody_there_is_no_reason_to_wait(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = twilio_server(never_return)
        began = trio.current_time()
        await server.drain(8.0)
        assert trio.current_time() == began

    run_virtual(main)


# -- signals, over sockets -----------------------------------------------------------------------------------------


@asynccontextmanager
async def on_the_phone(nursery: trio.Nursery, handler: Any) -> AsyncIterator[tuple[Caller, trio.Event]]:
    """A call; and what is set when `serve_twilio` has ended."""
    inside, ended = trio.Event(), trio.Event()

    async def answer(call: TwilioCall) -> None:
        inside.set()
        await handler(call)

    async def serve(task_status: Any) -> None:
        await serve_twilio(answer, 0, grace=600.0, limits=HOWEVER_BUSY, task_status=task_status)
        ended.set()

    (listener,) = await nursery.start(serve)
    host, port = address_of(listener).split(":")
    async with dialling(host, int(port)) as caller:
        await caller.say(CONNECTED, start())
        await inside.wait()
        yield caller, ended


HANGUP = getattr(signal, "SIGHUP", signal.SIGINT)  # Windows has none


@pytest.mark.parametrize("number", [signal.SIGTERM, HANGUP])
def test_a_signal_drains_and_the_server_returns(number: signal.Signals) -> None:
    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery, on_the_phone(nursery, consume) as (caller, ended):
                signal.raise_signal(number)
                assert await caller.listen() == GOING_AWAY
                await ended.wait()

    trio.run(main)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
def test_a_second_signal_ends_at_once_but_a_terminal_and_its_shell_send_the_same() -> None:
    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery, on_the_phone(nursery, never_return) as (_, ended):
                for number in (HANGUP, HANGUP):
                    signal.raise_signal(number)
                    await trio.testing.wait_all_tasks_blocked()
                    assert not ended.is_set()
                signal.raise_signal(signal.SIGINT)
                await ended.wait()

    trio.run(main)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
def test_nohup_means_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HANGUP in ending_signals()
    monkeypatch.setattr("signal.getsignal", lambda number: signal.SIG_IGN)
    assert ending_signals() == (signal.SIGINT, signal.SIGTERM)


def test_the_code_on_the_page() -> None:
    page = (DOCS / "operations.md").read_text().partition("tests/serving/test_drain.py runs this")[2]
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0].replace("8080", "0"), names)
    last_call = trio.Event()
    last_call.set()
    trio.run(names["serve"], consume, None, last_call)


async def say_more(stage: Any) -> None:
    await stage.hear(1.0)
    await stage.say("yes please", 0.2, 0.9, final=False)
    await stage.end()


def test_the_command_gives_last_words() -> None:
    async def call(address: str, told: Callable[[], None]) -> tuple[list[Any], tuple[int, str]]:
        host, port = address.split(":")
        async with dialling(host, int(port)) as caller:
            await caller.say(HEADER, bytes(32_000), bytes(3200))
            while not caller.got or caller.got[-1]["type"] != "turn_updated":
                caller.got.append(json.loads(await caller.websocket.get_message()))
            told()
            return caller.got, await caller.listen()

    with serving(playing(say_more)) as options:
        pipe = subprocess.PIPE
        command = [*COMMAND, "serve", "--port", "0", *options]
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
            assert process.stdout is not None
            address = process.stdout.readline().split("//")[1].strip()
            got, end = trio.run(call, address, partial(process.send_signal, signal.SIGTERM))
            _, err = process.communicate(timeout=60)
    assert [event["text"] for event in got if event["type"] == "turn_completed"] == ["yes please"]
    assert end == GOING_AWAY
    assert (process.returncode, err) == (0, "hearout: stopped\n")
