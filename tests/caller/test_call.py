"""`hearout call`: a caller for bots that take Twilio's calls, on our own server and on bots that do it wrong."""

from __future__ import annotations

import base64
import json
import socket
import wave
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from hearout import SessionError, UsageError
from hearout.caller.line import Call
from hearout.caller.playback import Playback
from hearout.cli.main import main as command
from hearout.nursery import open_background
from hearout.serving import address_of
from hearout.sources.twilio import TwilioCall, serve_twilio, signed_by_twilio, to_mulaw, twilio_server
from tests.kit.callers import HOWEVER_BUSY, Recording, connected

TONE = np.full(800, 988, "<i2")  # 0.1 s of a value that mulaw has


def media(samples: Any = TONE) -> str:
    payload = base64.b64encode(to_mulaw(np.asarray(samples, "<i2").tobytes())).decode()
    return json.dumps({"event": "media", "streamSid": "MZ", "media": {"payload": payload}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": "MZ", "mark": {"name": name}})


CLEAR = json.dumps({"event": "clear", "streamSid": "MZ"})


# -- playback ------------------------------------------------------------------------------------------------------


def test_pieces_are_played_one_after_the_other_and_marks_come_back_in_their_places() -> None:
    playback = Playback()
    assert playback.receive(1.0, media()) == "the bot speaks"
    assert playback.receive(1.01, media()) is None
    assert playback.receive(1.01, mark("said")) is None
    assert playback.until == pytest.approx(1.2)
    assert playback.reached(1.19) == []
    assert playback.reached(1.21) == ["said"]
    assert playback.reached(1.3) == []
    heard = np.frombuffer(playback.heard(2.0), "<i2")
    assert len(heard) == 16_000
    assert list(np.flatnonzero(heard)) == list(range(8000, 9600))
    assert playback.receive(1.5, media()) == "the bot speaks"


def test_clear_drops_what_is_left_and_sends_the_marks_back() -> None:
    playback = Playback()
    for message in (media(), media(), mark("one"), media(), mark("two")):
        playback.receive(1.0, message)
    assert playback.receive(1.15, CLEAR) == "the bot stops: 0.15 s of its speech are not played"
    assert playback.reached(1.15) == ["one", "two"]
    assert len(np.flatnonzero(np.frombuffer(playback.heard(2.0), "<i2"))) == 1200
    assert playback.receive(1.15, CLEAR) == "the bot stops: 0.00 s of its speech are not played"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (b"\0", "the bot sent a binary message"),
        ("hello", "the bot sent what Twilio would not take"),
        ("[]", "the bot sent what Twilio would not take"),
        ('{"media": {}}', "the bot sent no event"),
        ('{"event": "hang_up"}', "the bot sent an event that Twilio does not know: 'hang_up'"),
        ('{"event": "media"}', "a media message without payload"),
        ('{"event": "media", "media": {"payload": 5}}', "payload"),
        ('{"event": "media", "media": {"payload": "%%"}}', "is not base64"),
        ('{"event": "mark", "mark": {}}', "a mark message without name"),
    ],
)
def test_what_twilio_would_not_take(message: str | bytes, line: str) -> None:
    with pytest.raises(SessionError) as caught:
        Playback().receive(0.0, message)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


# -- calls ---------------------------------------------------------------------------------------------------------


Told = list[tuple[float, str]]


async def call_up(answer: Callable[[TwilioCall], Awaitable[None]], told: Told, **options: Any) -> Call:
    """A call of 1 s to a bot in memory, on trio's clock."""
    async with open_background() as nursery:
        server = twilio_server(answer, authorise=options.pop("authorise", None))
        call = Call("ws://bot/media", lambda *what: told.append(what), connect=connected(nursery, server), **options)
        await call.play(Recording(1.0), wait=0.5)
    return call


async def echo(call: TwilioCall) -> None:
    """Says at its end what it heard, and hangs up when the caller has heard it."""
    done = trio.Event()
    call.on_mark = lambda name: done.set()
    pcm = b""
    async for chunk in call:
        pcm += chunk
        if len(pcm) == 16_000:
            assert await call.send_audio(to_mulaw(pcm))
            assert await call.send_mark(call.parameters["greeting"])
        if done.is_set():
            return


def test_a_whole_call(run_virtual: Callable[..., Any]) -> None:
    told: Told = []
    call = run_virtual(lambda: call_up(echo, told, parameters={"greeting": "over"}))
    assert [what for _, what in told] == ["the bot speaks", "mark over", "the bot hung up"]
    assert told[0][0] == pytest.approx(1.0, abs=0.03)
    assert told[1][0] == pytest.approx(2.0, abs=0.05)
    assert call.lasted == pytest.approx(2.0, abs=0.1)
    line = np.frombuffer(call.playback.heard(call.lasted), "<i2")
    assert np.count_nonzero(line) == pytest.approx(8000, abs=400)


def test_hangs_up_when_nobody_speaks_any_more(run_virtual: Callable[..., Any]) -> None:
    told: Told = []
    heard: list[int] = []

    async def listen(call: TwilioCall) -> None:
        heard.append(sum([len(chunk) // 2 async for chunk in call]))
        assert not call.filled
        assert not call.dropped

    call = run_virtual(lambda: call_up(listen, told))
    assert told == []
    assert heard == [12_000]
    assert call.lasted == pytest.approx(1.5, abs=0.05)


def test_it_signs_as_twilio_does(run_virtual: Callable[..., Any]) -> None:
    url, token, told = "wss://bot.example.com/media", "0123456789abcdef", list[tuple[float, str]]()
    welcome = signed_by_twilio(token, url)
    options = {"authorise": welcome, "parameters": {"greeting": "x"}}
    call = run_virtual(lambda: call_up(echo, told, **options, token=token, signed_url=url))
    assert call.lasted > 1
    with pytest.raises(SessionError, match=r"403.*TWILIO_AUTH_TOKEN, and --stream-url") as caught:
        run_virtual(lambda: call_up(echo, told, **options, token="another-token"))
    assert "another-token" not in str(caught.value)


def test_the_bot_fails(run_virtual: Callable[..., Any]) -> None:
    async def fail(call: TwilioCall) -> None:
        await anext(aiter(call))
        raise UsageError("no")

    with pytest.raises(SessionError, match=r"^the bot broke the call off: code 1011"):
        run_virtual(lambda: call_up(fail, []))


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "caller.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(16_000)
        wav.writeframes(np.full(8000, 988, "<i2").tobytes())
    return str(path)


def test_the_command(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over a real socket, in real time: 0.5 s of audio, and the bot's 0.2 s."""

    async def answer(call: TwilioCall) -> None:
        done = trio.Event()
        call.on_mark = lambda name: done.set()
        said = False
        async for _ in call:
            if not said:
                await call.send_audio(to_mulaw(np.tile(TONE, 2).tobytes()))
                await call.send_mark("greeting")
                said = True
            if done.is_set():
                return

    async def run() -> int:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(serve_twilio, answer, limits=HOWEVER_BUSY), 0)
            arguments = ["call", file, "--url", f"ws://{address_of(listener)}/media", "--wait", "0.5"]
            status = await trio.to_thread.run_sync(command, [*arguments, "-o", str(tmp_path / "bot.wav")])
            nursery.cancel_scope.cancel()
        return status

    assert trio.run(run) == 0
    done = capsys.readouterr()
    assert [line.split("s  ")[1] for line in done.out.splitlines()] == [
        "the bot speaks",
        "mark greeting",
        "the bot hung up",
    ]
    with wave.open(str(tmp_path / "bot.wav")) as wav:
        assert wav.getframerate() == 8000
        assert np.count_nonzero(np.frombuffer(wav.readframes(80_000), "<i2")) == 1600


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--url", "http://bot"], "call: url 'http://bot' must be ws://HOST/... or wss://HOST/..."),
        (["--url", "ws://localhost", "--wait", "-1"], "--wait -1: it must be 0 to 3600 seconds"),
        (["--url", "ws://localhost", "--parameter", "x"], "--parameter x: it must be NAME=VALUE"),
        (["--url", "ws://localhost", "-o", "nowhere/bot.wav"], "-o nowhere/bot.wav: there is no directory nowhere"),
    ],
)
def test_bad_usage(arguments: list[str], line: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["call", file, *arguments]) == 2
    assert capsys.readouterr().err == f"hearout: {line}\n"


def test_nobody_answers(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free_port = unused.getsockname()[1]
    assert command(["call", file, "--url", f"ws://127.0.0.1:{free_port}/media"]) == 1
    assert capsys.readouterr().err == (
        f"hearout: cannot connect to 127.0.0.1:{free_port}: Connection refused; check address and network\n"
    )
