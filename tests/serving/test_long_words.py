"""What clients send comes back, and into the log, in short lines that a terminal can show."""

from __future__ import annotations

import json
import logging
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import trio

from hearout import SessionError
from hearout.sources.twilio import twilio_server
from hearout.sources.websocket import websocket_server
from hearout.sttserver.server import SttServer
from tests.kit.callers import calling
from tests.kit.twilio_line import media, start
from tests.sttserver.test_strangers import KEY, PATHS, START, Pool, closed, dialled, rejection

MOST = 1300  # bytes of an answer, and of a line: 300 characters, and some
LONG = "\x1b[2J\n\u202e" + 10_000 * "ö"
VALUES = [LONG, 60_000 * "x", [LONG], {LONG: LONG}, int("9" * 4000), None, 1e308]


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


def unasked(frame: dict[str, Any]) -> dict[str, Any]:
    """Without what the protocol says is told again as it came."""
    return {name: value for name, value in frame.items() if name != "keyterms"}


def assert_short(*texts: str) -> None:
    for text in texts:
        assert len(text.encode()) <= MOST
        assert text.isprintable(), text


async def listen(call: Any) -> None:
    async for _ in call:
        pass


HEADERS = [json.dumps({"sample_rate": 16000, "channels": 1} | {name: value}) for name in
    ("encoding", "sample_rate", "channels", "version", "type", "x") for value in VALUES]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "messages"),
    [
        (None, [*HEADERS, *(json.dumps({LONG[at:]: 1, "sample_rate": 16000}) for at in range(3)), LONG, deep(50)]),
        (
            '{"sample_rate": 16000}',
            [json.dumps(m) for value in VALUES for m in ({"type": value}, {"type": "hold", "channel": value})],
        ),
        ('{"sample_rate": 16000}', [LONG, f'"{60_000 * "x"}"', *(f'{{"type": {deep(n)}}}' for n in range(900, 1000))]),
    ],
)
def test_of_serve(
    first: str | None, messages: list[str], run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = websocket_server(listen)
        for message in messages:
            async with calling(server) as caller:
                if first is not None:
                    await caller.say(first)
                await caller.say(message)
                if "v" in message and '"version": 1' in message:
                    continue
                with trio.move_on_after(30):
                    code, reason = await caller.listen()
                    assert code in (1002, 1003, 1007, 1008, 1009)
                    assert_short(reason, *(event["detail"] for event in caller.got))

    caplog.set_level(logging.WARNING, "hearout")
    run_virtual(main)
    assert len(caplog.records) > len(messages) // 2
    assert_short(*(record.getMessage() for record in caplog.records))
    assert not [record for record in caplog.records if record.exc_info]


def test_of_twilio(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = twilio_server(listen)
        for value in VALUES:
            for messages in (
                [start(mediaFormat=value)],
                [start(tracks=value)],
                [start(tracks=[value])],
                [{"event": "start", "start": value}],
                [{"event": value}],
                [start(), {**media(0), "media": value}],
                [start(), {"event": "media", "media": {"track": value, "payload": ""}}],
                [start(), {"event": "media", "media": {"payload": value}}],
                [start(), {"event": "dtmf", "dtmf": {"digit": [value]}}],
            ):
                async with calling(server) as caller:
                    await caller.say(*messages)
                    with trio.move_on_after(30):
                        _, reason = await caller.listen()
                        assert_short(reason)

    caplog.set_level(logging.WARNING, "hearout")
    run_virtual(main)
    assert len(caplog.records) > 40
    assert_short(*(record.getMessage() for record in caplog.records))


QUERIES = {
    "deepgram": ("encoding", "sample_rate", "channels", "language", "endpointing", "multichannel"),
    "flux": ("model", "encoding", "sample_rate", "eot_threshold", "eot_timeout_ms"),
}
LETTERS = [quote("\x1b[2J\r\n\u202e") + 9000 * "x", 9000 * "9", 9000 * quote("ö")[:3], string.punctuation[:2]]


@pytest.mark.parametrize("kind", QUERIES)
def test_of_the_query_of_stt_server(kind: str, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = SttServer(Pool())
        for name in QUERIES[kind]:
            for value in LETTERS:
                status, body = await rejection(server, f"{PATHS[kind]}&{name}={value}")
                assert status == 400
                assert_short(*map(str, body.values()))
        status, body = await rejection(server, "/" + 9000 * "x")
        assert status == 404
        assert_short(*map(str, body.values()))

    run_virtual(main)


def test_of_the_messages_of_stt_server(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = SttServer(Pool())
        for value in [json.dumps(value) for value in VALUES] + [deep(n) for n in range(900, 1000, 3)]:
            for kind, message in [
                *(("soniox", json.dumps(START | {name: "HERE"})) for name in START),
                ("soniox", json.dumps(START | {"endpoint_sensitivity": "HERE", "language_hints": "HERE"})),
                *(("flux", json.dumps({"type": t, "thresholds": "HERE"})) for t in ("Configure", "HERE")),
                ("flux", json.dumps({"type": "Configure", "thresholds": {"eot_threshold": "HERE"}})),
                ("flux", json.dumps({"type": "Configure", "keyterms": "HERE"})),
                ("deepgram", json.dumps({"type": "HERE"})),
                ("deepgram", json.dumps({"type": "Finalize", "channel": "HERE"})),
            ]:
                async with dialled(server, PATHS[kind], KEY) as websocket:
                    await websocket.send_message(message.replace('"HERE"', value))
                    if kind == "soniox":
                        await websocket.send_message('{"type": "' + LONG.replace("\n", "")[5:] + '"}')
                    await websocket.send_message('{"type": "CloseStream"}')
                    got, _ = await closed(websocket)
                    assert got
                    assert all(len(str(value)) <= MOST for frame in got for value in unasked(frame).values())

    run_virtual(main)


def test_of_errors_that_the_handler_makes_of_them(
    run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(call: Any) -> None:
        raise SessionError(f"no such call: {LONG}")

    async def main() -> None:
        async with calling(websocket_server(fail)) as caller:
            await caller.say({"sample_rate": 16000})
            _, reason = await caller.listen()
            assert_short(reason, caller.got[0]["detail"])

    run_virtual(main)
    assert_short(*(record.getMessage() for record in caplog.records))
