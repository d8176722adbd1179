"""Audio over a plain websocket: the messages by themselves, sessions in memory, and the command as a process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
from trio_websocket import open_websocket_url

from hearout import Deepgram, SessionError
from hearout.cli.conversation import converse
from hearout.serving import Limits, ProtocolError, Upgrade, bearer_token, own_pages_only
from hearout.serving.authorise import foreign_page
from hearout.sources.websocket import AudioStream, Control, SocketCall, websocket_server
from hearout_policies.expect import Digits, YesNo
from hearout_policies.policy import preset
from tests.kit.callers import Caller, calling, heard, refused, run_with, transcriber
from tests.kit.commandline import COMMAND, environment, playing, serving

LONG = "\x1b[2J" + 60_000 * "x"
HEADER = {"encoding": "linear16", "sample_rate": 16000, "channels": 1}
SECOND = bytes(32_000)


def stream(**header: Any) -> AudioStream:
    return AudioStream(json.dumps(HEADER | header))


def test_linear16_goes_through_as_it_is() -> None:
    pcm = np.arange(320, dtype="<i2").tobytes()
    wire = stream()
    assert (wire.sample_rate, wire.format.channels) == (16000, 1)
    assert wire.receive(pcm) == [pcm]
    assert wire.receive(b"") == []
    assert wire.finish() == []


@pytest.mark.parametrize(("encoding", "silence"), [("mulaw", 0xFF), ("alaw", 0xD5)])
def test_g711_becomes_linear16(encoding: str, silence: int) -> None:
    (pcm,) = stream(encoding=encoding, sample_rate=8000).receive(bytes([silence]) * 160)
    assert isinstance(pcm, bytes)
    assert np.abs(np.frombuffer(pcm, "<i2")).max() <= 8
    assert len(pcm) == 320


def test_other_rates_are_resampled_and_none_of_it_is_lost() -> None:
    wire = stream(sample_rate=48000, channels=2)
    assert wire.sample_rate == 16000
    tone = np.repeat(np.sin(np.arange(48000) / 48000 * 2 * np.pi * 440) * 9000, 2).astype("<i2").tobytes()
    pieces = [tone[at : at + 3840] for at in range(0, len(tone), 3840)]
    items = [item for piece in pieces for item in wire.receive(piece)] + wire.finish()
    pcm = b"".join(item for item in items if isinstance(item, bytes))
    assert len(pcm) == 16000 * 4


def test_encoding_channels_and_version_have_defaults() -> None:
    wire = AudioStream('{"sample_rate": 8000, "type": "start"}')
    assert (wire.format.encoding, wire.format.sample_rate, wire.format.channels) == ("linear16", 8000, 1)


def test_controls() -> None:
    wire = stream(channels=2)
    assert wire.receive('{"type": "force_end"}') == [Control("force_end")]
    assert wire.receive('{"type": "hold", "channel": 1}') == [Control("hold", 1)]
    assert wire.receive('{"type": "agent_said", "text": "Yes?"}') == [Control("agent_said", said="Yes?")]
    asked = '{"type": "expect", "expectations": [{"type": "digits", "least": 4}, "yes_no"], "keep": true, "channel": 0}'
    assert wire.receive(asked) == [Control("expect", 0, expected=(Digits(4), YesNo()), keep=True)]
    assert wire.receive('{"type": "use", "policy": "fast"}') == [Control("use", policy=preset("fast"))]
    (use,) = wire.receive('{"type": "use", "policy": {"base": "fast", "idle_after": 5}}')
    assert use == Control("use", policy=preset("fast").replace({"idle_after": 5}))
    assert wire.receive('{"type": "key", "key": "#"}') == [Control("key", key="#")]
    assert not wire.ended
    assert wire.receive('{"type": "end"}') == []
    assert wire.ended
    assert wire.receive(bytes(4)) == []


BAD_HEADERS: list[tuple[str | bytes, int, str]] = [
    (b"\0\0", 1002, "audio before the header"),
    ("hello", 1007, "not JSON: Expecting value"),
    ("[" * 50_000, 1007, "not JSON: maximum recursion depth"),
    ("[]", 1007, "not a JSON object"),
    ("{}", 1007, '"sample_rate" is missing; it must be a whole number'),
    ('{"sample_rate": "16000"}', 1007, '"sample_rate" must be a whole number, 0 or more, not "16000"'),
    ('{"sample_rate": true}', 1007, '"sample_rate" must be a whole number, 0 or more, not true'),
    ('{"sample_rate": 1000}', 1003, "unsupported sample rate 1000 Hz"),
    ('{"sample_rate": 16000, "channels": 0}', 1003, "0 channels"),
    ('{"sample_rate": 16000, "channels": 1.5}', 1007, '"channels" must be a whole number, 0 or more, not 1.5'),
    ('{"sample_rate": 16000, "encoding": "opus"}', 1003, "unknown encoding 'opus': it must be one of linear16, mulaw"),
    ('{"sample_rate": 16000, "encoding": ["linear16"]}', 1007, '"encoding" must be a string, not ["linear16"]'),
    ('{"sample_rate": 16000, "version": 2}', 1002, "version 2 of the protocol: there is 1"),
    ('{"sample_rate": 16000, "vad": 5}', 1007, '"vad" must be a string, not 5'),
    ('{"sample_rate": 16000, "trace": "yes"}', 1007, '"trace" must be true or false, not "yes"'),
    (
        '{"sample_rate": 16000, "chanels": 2}',
        1007,
        'unknown key "chanels"; the header has version, encoding, sample_rate, channels, vad, trace',
    ),
]


@pytest.mark.parametrize(("header", "code", "line"), BAD_HEADERS, ids=[str(b[2]) for b in BAD_HEADERS])
def test_bad_headers(header: str | bytes, code: int, line: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        AudioStream(header)
    assert caught.value.code == code
    assert line in str(caught.value)
    assert len(str(caught.value)) < 200


BAD_MESSAGES: list[tuple[str | bytes, str]] = [
    (bytes(641), "an audio message of 641 bytes: linear16 with 1 channel(s) comes in whole frames of 2 bytes"),
    ("end", "not JSON: Expecting value"),
    ('{"type": "finish"}', "a message of type 'finish': there are end, agent_started"),
    ('{"type": ["end"]}', "a message of type ['end']"),
    ("{}", "a message of type None"),
    ('{"type": "hold", "channel": 1}', "channel 1: the audio has 0 to 0"),
    ('{"type": "hold", "channel": true}', "channel True"),
    ('{"type": "force_end", "chanel": 0}', 'force_end: unknown key "chanel"; the message has type, channel'),
    ('{"type": "expect", "expectations": [], "keeep": true}', "the message has type, channel, expectations, keep"),
    ('{"type": "agent_said"}', 'agent_said: "text" is missing; it must be a string'),
    ('{"type": "expect", "expectations": "digits"}', 'expect: "expectations" must be a list'),
    ('{"type": "expect", "expectations": ["fax"]}', "expect: there is no expectation 'fax'; types: digits, phone"),
    ('{"type": "expect", "expectations": [{"type": "digits", "least": 0}]}', "expect: digits: from 1 to 64 of them"),
    ('{"type": "use", "policy": "/etc/passwd.toml"}', "use: no policy named '/etc/passwd.toml'; there are: balanced"),
    ('{"type": "use", "policy": {"speed": 1}}', "use: policy 'balanced' has no parameter 'speed'"),
    ('{"type": "use", "policy": 5}', 'use: "policy" must be the name of a preset, or an object with settings, not 5'),
    ('{"type": "key", "key": "E"}', 'key: "key" must be'),
]


def test_no_channel_is_all_of_them() -> None:
    assert stream().receive('{"type": "hold", "channel": null}') == stream().receive('{"type": "hold"}')


@pytest.mark.parametrize(("message", "line"), BAD_MESSAGES)
def test_bad_messages(message: str | bytes, line: str) -> None:
    wire = stream()
    with pytest.raises(ProtocolError) as caught:
        wire.receive(message)
    assert caught.value.code == 1007
    assert line in str(caught.value)


# -- sessions ------------------------------------------------------------------------------------------------------


def serve(nursery: trio.Nursery, *records: dict[str, Any], channels: int = 1, **options: Any) -> Any:
    """What ``hearout serve`` runs, with a transcriber that plays these records."""
    connect = transcriber(nursery, *records, channels=channels)

    def transcribers(call: Any) -> Deepgram:
        return Deepgram("any", sample_rate=call.sample_rate, channels=call.channels)

    return websocket_server(
        partial(converse, transcribers=transcribers, policy=preset("balanced"), connect=connect), **options
    )


def blocks(begin: float, end: float, size: int = 640) -> list[tuple[float, bytes]]:
    return [(n / 50, bytes(size)) for n in range(round(begin * 50) + 1, round(end * 50) + 1)]


def of(caller: Caller, kind: str) -> list[Any]:
    return [event for event in caller.got if event["type"] == kind]


def test_events_come_back_as_json(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        server = serve(nursery, heard(1.5, "good morning", 0.5, 1.2), heard(5.5, "a table for two", 4.0, 5.2))
        async with calling(server) as caller:
            messages = [(0.0, HEADER), *blocks(0, 9), (9.0, {"type": "end"})]
            nursery.start_soon(caller.say_in_time, messages)
            assert await caller.listen() == (1000, "")
        call = caller.got[0].pop("call")
        assert re.fullmatch("[0-9a-f]{12}", call)
        assert caller.got[0] == {"type": "ready", "version": 1, "channels": 1}
        assert [event["text"] for event in of(caller, "turn_completed")] == ["good morning", "a table for two"]
        assert [event["turn"] for event in of(caller, "turn_started")] == [1, 2]
        assert all(before["at"] <= after["at"] for before, after in pairwise(caller.got[1:]))

    run_virtual(run_with(main))


def test_the_client_takes_a_hand(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        words = heard(2.0, "four seven", 0.5, 1.2)
        words["stt"]["speech_final"] = False
        server = serve(nursery, heard(1.0, "four", 0.5, 0.9, final=False), words)
        controls = [
            (0.05, {"type": "agent_said", "text": "Which year were you born?"}),
            (0.06, {"type": "use", "policy": "patient"}),
            (0.07, {"type": "expect", "expectations": [{"type": "digits", "least": 4}]}),
            (0.1, {"type": "agent_started"}),
            (1.9, {"type": "key", "key": "1"}),
            (2.1, {"type": "force_end"}),
            (3.0, {"type": "agent_stopped"}),
        ]
        messages = sorted([*blocks(0, 6), *controls], key=lambda m: m[0])
        async with calling(server) as caller:
            nursery.start_soon(caller.say_in_time, [(0.0, HEADER), *messages, (6.0, {"type": "end"})])
            await caller.listen()
        (started,) = of(caller, "turn_started")
        (completed,) = of(caller, "turn_completed")
        assert started["agent_speaking"] is True
        assert completed["reason"] == "force_end"
        assert completed["answer"] == {"kind": "digits", "value": "471", "complete": False, "final": False}

    run_virtual(run_with(main))


async def lose(caller: Caller) -> None:
    await trio.aclose_forcefully(caller.stream)


def test_a_client_that_breaks_the_rules_gets_its_words_and_the_reason(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        server = serve(nursery, heard(1.5, "are you still", 0.5, 1.4))
        async with calling(server) as caller:
            nursery.start_soon(caller.say_in_time, [(0.0, HEADER), *blocks(0, 1.6), (1.6, bytes(641))])
            code, reason = await caller.listen()
        *_, completed, error = caller.got
        assert completed["text"] == "are you still"
        assert error["type"] == "error"
        assert error["detail"].startswith(reason)
        assert "641 bytes" in reason
        assert code == 1007

    run_virtual(run_with(main))


LENGTHY: list[dict[str, Any]] = [
    *({name: LONG} for name in ("encoding", "channels", "version")),
    *({name: 10**4000} for name in ("sample_rate", "channels", "version")),
    {LONG: 1},
]


def test_what_a_client_says_at_length_makes_no_long_line(
    run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        for header in LENGTHY:
            async with calling(websocket_server(nothing)) as caller:
                await caller.say({"sample_rate": 16000} | header)
                await caller.listen()
                assert all(len(json.dumps(message)) < 400 for message in caller.got)

    run_virtual(main)
    assert len(caplog.records) == len(LENGTHY)
    for record in caplog.records:
        assert len(record.getMessage()) < 400
        assert record.getMessage().isprintable()


def test_a_lost_client_is_a_line_in_the_log(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main(nursery: trio.Nursery) -> None:
        async with calling(serve(nursery, heard(1.5, "are you still", 0.5, 1.4))) as caller:
            await caller.say_in_time([(0.0, HEADER), *blocks(0, 1.6)])
            await lose(caller)
            await trio.sleep(10)

    run_virtual(run_with(main))
    (record,) = caplog.records
    assert "the connection was lost: it broke" in record.getMessage()
    assert record.exc_info is None


def test_a_transcriber_that_fails_is_told(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async def fail(call: SocketCall) -> None:
            raise SessionError("the transcriber refused: check the key")

        async with calling(websocket_server(fail)) as caller:
            await caller.say(HEADER)
            assert await caller.listen() == (1011, "the transcriber refused: check the key")
        assert caller.got == [{"type": "error", "detail": "the transcriber refused: check the key"}]

    run_virtual(main)


def test_a_bug_is_not_told_in_detail(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def fail(call: SocketCall) -> None:
            raise RuntimeError("secret")

        async with calling(websocket_server(fail)) as caller:
            await caller.say(HEADER)
            assert await caller.listen() == (1011, "internal error")
        assert caller.got == [{"type": "error", "detail": "internal error"}]

    run_virtual(main)
    assert caplog.records[0].exc_info


async def nothing(call: SocketCall) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize(
    ("message", "code", "reason", "after"),
    [
        (None, 1008, "no header within 10 s", 10),
        ("x" * 70_000, 1009, "Exceeded maximum message size: 65536 bytes", 0),
        (b"\0\0", 1002, 'audio before the header: send {"encoding": ..., "sample_rate": ...} as text first', 0),
    ],
)
def test_close_codes(
    message: str | bytes | None, code: int, reason: str, after: float, run_virtual: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with calling(websocket_server(nothing)) as caller:
            began = trio.current_time()
            if message is not None:
                await caller.say(message)
            assert await caller.listen() == (code, reason)
            assert trio.current_time() - began == pytest.approx(after)

    run_virtual(main)


def test_a_long_reason_is_cut_to_what_a_close_frame_holds(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with calling(websocket_server(nothing)) as caller:
            await caller.say({"sample_rate": 16000, "encoding": "ö" * 60})
            code, reason = await caller.listen()
            assert code == 1003
            assert len(reason.encode()) <= 123
            assert reason.startswith("unknown encoding 'öö")

    run_virtual(main)


def test_who_never_says_what_he_wants_is_sent_away(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = websocket_server(nothing, limits=Limits(connections=1))
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            await ours.send_all(b"GET / HTTP/1.1\r\n")
            assert await ours.receive_some() == b""
            assert trio.current_time() == pytest.approx(10)
        async with calling(server) as caller:  # and his place is free again
            await caller.say(HEADER, {"type": "end"})
            assert await caller.listen() == (1000, "")

    run_virtual(main)


UPGRADE = b"Host: bot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"GET / HTTP/1.1\r\nHost: bot\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n",
        b"GET / HTTP/1.1\r\n" + UPGRADE + b"Sec-WebSocket-Key: no\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + UPGRADE + b"X: " + bytes(range(1, 32)) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\x00" + b"z" * 10_000 + b": y\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + UPGRADE + KEY + b"Authorization: \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n" + b"\xff" * 300,  # no frames afterwards
        b"GET / HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n" + b"\x81\x7f\xff" + bytes(13),  # one without end
        b"GET / HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n" + b"\x81\x82\0\0\0\0\xc3\x28",  # text that is no UTF-8
    ],
)
def test_nonsense_harms_nobody_else(
    request_bytes: bytes, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = websocket_server(nothing, limits=Limits(connections=1))
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            await ours.send_all(request_bytes)
            while await ours.receive_some():
                pass
            assert trio.current_time() <= 20
        async with calling(server) as caller:
            await caller.say(HEADER, {"type": "end"})
            assert await caller.listen() == (1000, "")

    run_virtual(main)
    assert all(len(record.getMessage()) < 500 and record.getMessage().isprintable() for record in caplog.records)


def test_a_bug_in_the_hook_lets_nobody_in_and_the_server_goes_on(
    run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def authorise(upgrade: Upgrade) -> bool:
        return upgrade.headers["x-tenant"] == "us"

    async def main() -> None:
        server = websocket_server(nothing, authorise=authorise)
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            await ours.send_all(b"GET / HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n")
            assert await ours.receive_some() == b""
        async with calling(server, [(b"X-Tenant", b"us")]) as caller:
            await caller.say(HEADER, {"type": "end"})
            assert await caller.listen() == (1000, "")

    run_virtual(main)
    assert [record.getMessage() for record in caplog.records] == [
        "websocket: a connection failed: KeyError('x-tenant')"
    ]


# -- who may connect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "welcome"),
    [
        ("Bearer s3cret", True),
        ("Token s3cret", True),
        ("bearer  s3cret", True),
        ("Bearer s3cret2", False),
        ("Basic s3cret", False),
        ("s3cret", False),
        ("Bearer é", False),
        ("", False),
    ],
)
def test_tokens(given: str, welcome: bool, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = websocket_server(nothing, authorise=bearer_token("s3cret"))
        headers = [(b"Authorization", given.encode())] if given else []
        if welcome:
            async with calling(server, headers) as caller:
                await caller.say(HEADER, {"type": "end"})
                assert await caller.listen() == (1000, "")
        else:
            await refused(server, headers, 403)

    run_virtual(main)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_token_of_any_letters_in_either_encoding_of_a_header(encoding: str) -> None:
    def let_in(token: str) -> bool:
        header = f"Bearer {token}".encode(encoding).decode("latin-1")
        return bearer_token("s3crét")(Upgrade("/", {"authorization": header}, "127.0.0.1"))

    assert let_in("s3crét")
    assert not let_in("s3crèt")


@pytest.mark.parametrize("origin", ["null", "file://"])
def test_a_page_opened_as_a_file_is_told_what_to_do(origin: str) -> None:
    told = foreign_page(Upgrade("/", {"origin": origin}, "127.0.0.1"))
    assert told is not None
    assert told.endswith("open it at the address that hearout serve --page prints")


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (None, True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_pages_of_other_sites_stay_out(origin: str | None, welcome: bool) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert own_pages_only(Upgrade("/", headers, "127.0.0.1")) is welcome


# -- the command ---------------------------------------------------------------------------------------------------


async def say_yes(stage: Any) -> None:
    await stage.hear(1.0)
    await stage.say("yes please", 0.2, 0.9)
    await stage.end()


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    async def talk(url: str) -> list[Any]:
        got: list[Any] = []
        async with open_websocket_url(url) as websocket:
            await websocket.send_message(json.dumps(HEADER))
            for _ in range(12):
                await websocket.send_message(bytes(3200))
            await websocket.send_message('{"type": "end"}')
            while not got or got[-1]["type"] != "turn_completed":
                got.append(json.loads(await websocket.get_message()))
        return got

    with serving(playing(say_yes)) as options:
        command = [*COMMAND, "serve", "--port", "0", *options]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("listening on ").strip()
            got = trio.run(talk, url)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=20)
    assert got[0]["type"] == "ready"
    assert got[-1]["text"] == "yes please"
    assert process.returncode == 0
    assert err == "hearout: stopped\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--host", "0.0.0.0"],
            "can be reached from other machines: set HEAROUT_TOKEN, or give --token",
        ),
        (["--calls", "0"], "--calls 0: there must be at least 1"),
        (["--stt", "deepgram", "--port", "0"], "no key for Deepgram: put it into the environment variable"),
        (["--url", "ws://127.0.0.1:1/"], "--url names a provider's endpoint: add --stt deepgram"),
        (["--policy", "nobody"], "nobody"),
        (["--stt", "deepgram", "--url", "ws://127.0.0.1:1/", "--port", "70000"], "there is no port 70000: "),
    ],
)
def test_what_the_command_cannot_do(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hearout.cli.main import main

    for name in ("DEEPGRAM_API_KEY", "HEAROUT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main(["serve", *arguments]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told
