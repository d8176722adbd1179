"""Twilio's calls: who may connect, and what becomes of them through a whole session."""

from __future__ import annotations

import base64
import json
import logging
import re
import runpy
import ssl
import sys
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
import trustme
from trio_websocket import open_websocket_url, wrap_client_stream

import hearout.sources.twilio
from hearout import Deepgram, SessionError, TurnCompleted, UsageError, open_session
from hearout.serving import Limits, WebSocketServer, address_of
from hearout.serving.listening import listen
from hearout.sources.alignment import Alignment
from hearout.sources.twilio import TwilioCall, serve_twilio, signed_by_twilio, twilio_server
from tests.kit.callers import HOWEVER_BUSY, Caller, calling, heard, refused, run_with, transcriber
from tests.kit.paths import ROOT
from tests.kit.twilio_line import CONNECTED, SID, STOP, A, B, C, D, audio, in_time, media, numbered, packets, start

# -- who may connect -----------------------------------------------------------------------------------------------

URL = "wss://bot.example.com/media"
# printf %s wss://bot.example.com/media | openssl dgst -sha1 -hmac 0123456789abcdef0123456789abcdef -binary | base64
SIGNATURE = "N8NBTxScIsvr8ONZpYvtOS2P6fw="
SIGNATURE_OF_SLASH = "aVFmw59krsHfzO2r8LgsWxSBUWY="
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "signature", "welcome"),
    [
        (URL, SIGNATURE, True),
        (URL, SIGNATURE_OF_SLASH, True),
        (URL + "/", SIGNATURE, True),
        (URL + "2", SIGNATURE, False),
        (URL, SIGNATURE.lower(), False),
        (URL, "", False),
        (URL, "é", False),
    ],
)
def test_twilios_signature(url: str, signature: str, welcome: bool, run_virtual: Callable[..., Any]) -> None:
    async def answer(call: TwilioCall) -> None:
        pass

    async def main() -> None:
        server = twilio_server(answer, authorise=signed_by_twilio(TOKEN, url))
        headers = [(b"X-Twilio-Signature", signature.encode("latin-1"))]
        if welcome:
            async with calling(server, headers):
                pass
        else:
            await refused(server, headers, 403)

    run_virtual(main)


@pytest.mark.parametrize(("token", "url"), [("", URL), (TOKEN, "https://bot.example.com/media")])
def test_a_signature_that_could_not_be_checked(token: str, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        signed_by_twilio(token, url)
    assert TOKEN not in str(caught.value)


# -- calls ---------------------------------------------------------------------------------------------------------


class Bot:
    """Listens to its calls and keeps what happens."""

    def __init__(self, nursery: trio.Nursery, *records: dict[str, Any], channels: int = 1) -> None:
        self.turns: list[TurnCompleted] = []
        self.call: TwilioCall | None = None
        self.error: Exception | None = None
        self.heard = 0.0
        self._connect = transcriber(nursery, *records, channels=channels)

    async def answer(self, call: TwilioCall) -> None:
        self.call = call
        try:
            await self.listen(call)
        except Exception as error:
            self.error = error
            raise

    async def listen(self, call: TwilioCall) -> None:
        deepgram = Deepgram("any", sample_rate=call.sample_rate, channels=call.channels)
        async with open_session(call, deepgram, vad=None, connect=self._connect) as session:
            async for event in session:
                if isinstance(event, TurnCompleted):
                    self.turns.append(event)
                    await call.clear()
            self.heard = session.heard


def test_keys_are_words_of_the_callers_turn(run_virtual: Callable[..., Any]) -> None:
    def key(digit: str) -> dict[str, Any]:
        return {"event": "dtmf", "streamSid": SID, "dtmf": {"track": "inbound_track", "digit": digit}}

    async def main(nursery: trio.Nursery) -> None:
        bot = Bot(nursery, heard(1.5, "good morning", 0.5, 1.2))
        async with calling(twilio_server(bot.answer)) as caller:
            said = list(in_time(CONNECTED, start(), *audio(0, 9), STOP))
            pressed = [(5.0, key("4")), (5.3, key("2")), (5.6, key("#"))]
            nursery.start_soon(caller.say_in_time, sorted([*said, *pressed], key=lambda item: item[0]))
            assert await caller.listen() == (1000, "")
        assert [turn.text for turn in bot.turns] == ["good morning", "4 2"]
        assert bot.turns[1].reason == "force_end"
        assert [round(word.start, 1) for word in bot.turns[1].words] == [5.0, 5.3]

    run_virtual(run_with(main))


def test_a_call_through_a_whole_session(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        bot = Bot(nursery, heard(1.5, "good morning", 0.5, 1.2), heard(5.5, "a table for two", 4.0, 5.2))
        async with calling(twilio_server(bot.answer)) as caller:
            nursery.start_soon(caller.say_in_time, list(in_time(CONNECTED, start(), *audio(0, 9), STOP)))
            assert await caller.listen() == (1000, "")
        assert [turn.text for turn in bot.turns] == ["good morning", "a table for two"]
        assert [round(turn.audio_end, 2) for turn in bot.turns] == [1.2, 5.2]
        assert bot.heard == 9.0
        assert caller.got == [{"event": "clear", "streamSid": SID}] * 2

    run_virtual(run_with(main))


def test_suppressed_silence_ends_the_turn_and_audio_time_stays_true(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        bot = Bot(
            nursery,
            heard(1.0, "my number is", 0.2, 0.9, final=False),
            heard(1.2, "my number is", 0.2, 0.9),
            heard(7.5, "never mind", 6.5, 7.2),
        )
        messages = in_time(start(), *audio(0, 1.2), *audio(6, 10), STOP)
        async with calling(twilio_server(bot.answer)) as caller:
            nursery.start_soon(caller.say_in_time, list(messages))
            await caller.listen()
        assert [turn.text for turn in bot.turns] == ["my number is", "never mind"]
        assert bot.turns[0].at < 6.0  # before audio comes again
        assert round(bot.turns[1].audio_start, 2) == 6.5
        assert bot.call is not None
        assert bot.call.filled == pytest.approx(4.8)

    run_virtual(run_with(main))


def test_two_tracks_are_two_speakers(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        bot = Bot(
            nursery,
            heard(1.5, "who is there", 0.5, 1.2, channel=0, channels=2),
            heard(3.5, "your bank", 2.5, 3.2, channel=1, channels=2),
            channels=2,
        )
        both = [m for pair in zip(audio(0, 7), audio(0, 7, "outbound"), strict=True) for m in pair]
        async with calling(twilio_server(bot.answer)) as caller:
            nursery.start_soon(caller.say_in_time, list(in_time(start("inbound", "outbound"), *both, STOP)))
            await caller.listen()
        assert [(turn.channel, turn.text) for turn in bot.turns] == [(0, "who is there"), (1, "your bank")]

    run_virtual(run_with(main))


def test_a_key_can_end_a_turn(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        late = heard(2.0, "four seven", 0.5, 1.2)
        late["stt"] |= {"speech_final": False}
        bot = Bot(nursery, late)
        keys = {"event": "dtmf", "streamSid": SID, "dtmf": {"track": "inbound_track", "digit": "#"}}
        async with calling(twilio_server(bot.answer)) as caller:
            messages = in_time(start(), *audio(0, 2.1), keys, *audio(2.1, 6), STOP)
            nursery.start_soon(caller.say_in_time, list(messages))
            await caller.listen()
        (turn,) = bot.turns
        assert turn.text == "four seven"
        assert turn.reason == "force_end"

    run_virtual(run_with(main))


async def hang_up(caller: Caller) -> None:
    await caller.websocket.aclose(1000)


async def close_without_a_code(caller: Caller) -> None:
    await caller.stream.send_all(b"\x88\x80\0\0\0\0")  # as a browser's close() does


async def lose(caller: Caller) -> None:
    await trio.aclose_forcefully(caller.stream)


async def talk_nonsense(caller: Caller) -> None:
    await caller.say({"event": "media", "media": {"payload": "*"}})


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (hang_up, None),
        (close_without_a_code, None),
        (lose, "the connection was lost: it broke (code 1006)"),
        (talk_nonsense, "the payload of a media message is not base64"),
    ],
)
def test_however_a_call_ends_its_words_are_delivered(
    end: Any, error: str | None, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main(nursery: trio.Nursery) -> None:
        bot = Bot(nursery, heard(1.9, "are you still", 0.5, 1.8))
        async with calling(twilio_server(bot.answer)) as caller:
            await caller.say_in_time(list(in_time(start(), *audio(0, 2))))
            await end(caller)
            if end is talk_nonsense:
                assert await caller.listen() == (1007, error)
            await trio.sleep(10)
        assert [turn.text for turn in bot.turns] == ["are you still"]
        assert (str(bot.error) if bot.error else None) == error

    caplog.set_level(logging.WARNING, "hearout")
    run_virtual(run_with(main))
    assert len(caplog.records) == (error is not None)
    assert all(str(error) in record.getMessage() for record in caplog.records)


async def served(server: WebSocketServer, act: Callable[[Caller], Any]) -> tuple[int, str]:
    async with calling(server) as caller, trio.open_nursery() as nursery:
        nursery.start_soon(act, caller)
        end = await caller.listen()
        nursery.cancel_scope.cancel()
    return end


async def consume(call: TwilioCall) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize("end", [hang_up, lose, talk_nonsense])
def test_what_was_held_back_is_audio_too(end: Any, run_virtual: Callable[..., Any]) -> None:
    received = []

    async def answer(call: TwilioCall) -> None:
        async for pcm in call:
            received.append(pcm)

    async def main() -> None:
        async with calling(twilio_server(answer)) as caller:
            messages = numbered(
                {"event": "something-new"}, start(), media(0, A), media(20, B), media(40, C), media(60, D)
            )
            # The start message waits for nobody, but these two wait for it; the one with B never comes.
            await caller.say(messages[0], messages[2], messages[1], *messages[4:])
            await end(caller)
            await trio.sleep(1)

    run_virtual(main)
    assert packets(np.frombuffer(b"".join(received), "<i2").tolist()) == [A, 0, C, D]


KEYS = {"event": "dtmf", "streamSid": SID, "dtmf": {"track": "inbound_track", "digit": "7"}}


@pytest.mark.parametrize("end", [hang_up, close_without_a_code, lose, talk_nonsense])
@pytest.mark.parametrize("place", ["before the start", "in order", "held back"])
def test_a_key_is_told_however_the_call_ends(end: Any, place: str, run_virtual: Callable[..., Any]) -> None:
    pressed: list[tuple[str, int]] = []

    async def answer(call: TwilioCall) -> None:
        heard = 0
        call.on_dtmf = lambda digit: pressed.append((digit, heard))
        async for pcm in call:
            heard += len(pcm) // 2

    async def main() -> None:
        async with calling(twilio_server(answer)) as caller:
            if place == "before the start":
                await caller.say(CONNECTED, *numbered(KEYS, start(), media(0, A)))
            else:
                messages = numbered(start(), media(0, A), media(20, B), KEYS, media(40, C))
                if place == "held back":
                    del messages[2]
                await caller.say(*messages)
            await end(caller)
            await trio.sleep(1)

    run_virtual(main)
    # A held one has the hole before it; what fills that comes with the packet behind.
    assert pressed == [("7", {"before the start": 0, "in order": 320, "held back": 160}[place])]


@pytest.mark.parametrize(
    ("messages", "code", "reason", "after"),
    [
        ([], 1008, "no start message within 10 s", 10),
        ([CONNECTED], 1008, "no start message within 10 s", 10),
        ([CONNECTED, STOP], 1000, "", 0),
        (["x" * 70_000], 1009, "Exceeded maximum message size: 65536 bytes", 0),
        ([start(), "x" * 70_000], 1009, "Exceeded maximum message size: 65536 bytes", 0),
        ([start(), start()], 1002, "a second start message on one connection", 0),
    ],
)
def test_close_codes(
    messages: list[Any], code: int, reason: str, after: float, run_virtual: Callable[..., Any]
) -> None:
    async def main() -> None:
        began = trio.current_time()
        assert await served(twilio_server(consume), lambda caller: caller.say(*messages)) == (code, reason)
        assert trio.current_time() - began == pytest.approx(after)

    run_virtual(main)


def test_a_bug_in_the_handler_ends_one_call_only(
    run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(call: TwilioCall) -> None:
        if call.parameters["fail"] == "yes":
            raise KeyError("nobody")

    async def main() -> None:
        server = twilio_server(answer)
        for fail, code in (("yes", 1011), ("no", 1000)):
            message = start(customParameters={"fail": fail})
            assert (await served(server, lambda caller, m=message: caller.say(m)))[0] == code  # type: ignore[misc]

    run_virtual(main)
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is KeyError


class Stuck(trio.abc.SendStream):
    """Takes nothing, until it breaks."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(100)
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def test_who_is_quiet_must_answer_a_ping(run_virtual: Callable[..., Any]) -> None:
    errors: list[Exception] = []

    async def answer(call: TwilioCall) -> None:
        try:
            await consume(call)
        except SessionError as error:
            errors.append(error)

    async def main() -> None:
        server = twilio_server(answer)
        async with calling(server) as caller:
            await caller.say(start(), media(0))
            await trio.sleep(1000)
            assert not errors  # its websocket answers
        errors.clear()
        async with calling(server) as caller:
            await caller.say(start(), media(0))
            caller.stream.send_stream = Stuck()
            await trio.sleep(45)
            assert [str(error) for error in errors] == [
                "the connection was lost: no message for 30 s, and no answer to a ping"
            ]

    run_virtual(main)


def test_a_slow_application_holds_up_the_sender_and_loses_nothing(run_virtual: Callable[..., Any]) -> None:
    received = 0
    sent = 0

    async def answer(call: TwilioCall) -> None:
        nonlocal received
        await trio.sleep(5)
        assert sent < 40  # what fits into the queue and the stream in between
        async for pcm in call:
            received += len(pcm) // 2

    async def main() -> None:
        nonlocal sent
        server = twilio_server(answer, limits=Limits(queue=4))
        async with trio.open_nursery() as nursery:
            client, theirs = trio.testing.lockstep_stream_pair()
            nursery.start_soon(server.serve, theirs)
            websocket = await wrap_client_stream(nursery, client, "bot", "/")  # type: ignore[arg-type]
            for message in numbered(start(), *audio(0, 4), STOP):
                await websocket.send_message(message)
                sent += 1
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    run_virtual(main)
    assert received == 4 * 8000


def test_who_does_not_read_is_gone(run_virtual: Callable[..., Any]) -> None:
    async def answer(call: TwilioCall) -> None:
        began = trio.current_time()
        while await call.send_audio(b"\xff" * 8000):
            pass
        assert trio.current_time() - began == pytest.approx(10)
        with pytest.raises(SessionError, match="the connection was lost: nothing was read there for 10 s"):
            await consume(call)
        done.set()

    done = trio.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            client, theirs = trio.testing.lockstep_stream_pair()  # sending waits for receiving
            nursery.start_soon(twilio_server(answer).serve, theirs)
            websocket = await wrap_client_stream(
                nursery,
                client,  # type: ignore[arg-type]
                "bot",
                "/",
                message_queue_size=0,
            )
            await websocket.send_message(json.dumps(start()))
            await done.wait()
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_sending_is_not_broken_off_by_a_cancellation(run_virtual: Callable[..., Any]) -> None:
    async def answer(call: TwilioCall) -> None:
        with trio.CancelScope() as scope:  # the user interrupts while the bot is sending
            scope.cancel()
            await call.send_audio(b"\xff" * 160)
        assert scope.cancelled_caught
        assert await call.clear()
        assert await call.send_mark("end")
        await consume(call)
        assert not await call.clear()

    async def main() -> None:
        async with calling(twilio_server(answer)) as caller:
            await caller.say(start())
            events = [json.loads(await caller.websocket.get_message())["event"] for _ in range(3)]
            assert events == ["media", "clear", "mark"]
            await caller.websocket.aclose()

    run_virtual(main)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_on_real_sockets(scheme: str) -> None:
    heard = 0

    async def main() -> None:
        ended = trio.Event()
        server_side, client_side = None, None
        if scheme == "wss":
            authority = trustme.CA()
            server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
            authority.issue_cert("127.0.0.1").configure_cert(server_side)
            authority.configure_trust(client_side)

        async def answer(call: TwilioCall) -> None:
            nonlocal heard
            async for pcm in call:
                heard += len(pcm) // 2
            ended.set()

        async with trio.open_nursery() as nursery:
            serve = partial(serve_twilio, answer, tls=server_side, limits=HOWEVER_BUSY)
            (listener,) = await nursery.start(serve, 0)
            url = f"{scheme}://{address_of(listener)}/media"
            async with open_websocket_url(url, client_side) as websocket:
                for message in numbered(CONNECTED, start(), *audio(0, 1), STOP):
                    await websocket.send_message(message)
                await ended.wait()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert heard == 8000


def test_no_more_calls_than_allowed(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = twilio_server(consume, limits=Limits(connections=1))
        async with calling(server) as caller:
            await caller.say(start())
            await refused(server, [], 503)
        await trio.sleep(1)
        assert await served(server, lambda caller: caller.say(CONNECTED, STOP)) == (1000, "")

    run_virtual(main)


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("0.0.0.0", 0, "0.0.0.0 can be reached from other machines"),
        ("127.0.0.1", -1, "there is no port -1"),
        ("127.0.0.1", 70_000, "there is no port 70000"),
    ],
)
def test_addresses_that_cannot_be(host: str, port: int, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        trio.run(lambda: serve_twilio(consume, port, host=host))


@pytest.mark.parametrize("host", ["a" * 70, "bot\udce9"])
def test_names_that_no_machine_can_have(host: str) -> None:
    with pytest.raises(UsageError, match="that is no name of a machine"):
        trio.run(listen, 0, host)


def test_a_port_in_use() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(serve_twilio, consume), 0)
            port = int(address_of(listener).split(":")[1])
            with pytest.raises(UsageError, match=f"port {port} is in use"):
                await serve_twilio(consume, port)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_the_example(
    run_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "any")
    example = runpy.run_path(str(ROOT / "examples" / "twilio_turns.py"))

    async def main(nursery: trio.Nursery) -> None:
        connect = transcriber(
            nursery,
            heard(1.5, "good morning", 0.5, 1.2),
            heard(3.0, "no wait stop", 2.6, 2.9, final=False),
            heard(3.6, "no wait stop that", 2.6, 3.3),
        )
        answer = partial(example["answer"], vad=None, connect=connect)
        async with calling(twilio_server(answer)) as caller:
            played = {"event": "mark", "streamSid": SID, "mark": {"name": "reply"}}  # Twilio's answer to clear
            messages = in_time(start(), *audio(0, 3.1), played, *audio(3.1, 8), STOP)
            nursery.start_soon(caller.say_in_time, list(messages))
            assert await caller.listen() == (1000, "")
        # Cleared again with each update of the turn that interrupts.
        kinds = [kind for kind, _ in groupby(message["event"] for message in caller.got)]
        assert kinds == ["media", "mark", "clear", "media", "mark"]
        assert base64.b64decode(caller.got[0]["media"]["payload"]) == example["TONE"]

    run_virtual(run_with(main))
    assert capsys.readouterr().out == "CA0: good morning\nCA0: no wait stop that\n"


def test_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs" / "telephony.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(?:await )?(?:call\.)?(\w+)\(", page):
        assert name in {"signed_by_twilio", "to_mulaw", "WebSocketResponse", *dir(TwilioCall)}, name
    (imported,) = re.findall(r"`from hearout\.sources import ([^`]*)`", page)
    assert all(hasattr(hearout.sources, name) for name in imported.split(", "))
    limits = Limits()
    for text in (
        f"{limits.connections} calls",
        f"{limits.queue} messages wait",
        f"{limits.idle:g} s without a message",
    ):
        assert text in page
    assert f"up to {Alignment(1, 8000).longest_gap:g} s" in page


def test_the_example_names_what_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["twilio_turns.py", "0"])
    monkeypatch.setenv("DEEPGRAM_API_KEY", "any")
    for name in ("TWILIO_AUTH_TOKEN", "STREAM_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match=r"^twilio_turns: set STREAM_URL and TWILIO_AUTH_TOKEN$"):
        runpy.run_path(str(ROOT / "examples" / "twilio_turns.py"), run_name="__main__")
