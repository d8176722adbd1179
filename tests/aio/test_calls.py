"""`aio.TwilioCall`, on the websockets of real servers: the examples, called by `hearout call`'s caller."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import trio

from hearout import Deepgram, SessionError, UsageError, aio
from hearout.aio.guest import in_trio
from hearout.caller.line import Call
from hearout.nursery import open_background
from hearout.serving import ProtocolError
from tests.kit.asyncio_runs import assert_no_trio, run_asyncio, until
from tests.kit.callers import Recording
from tests.kit.paths import ROOT
from tests.kit.serving import playing
from tests.kit.twilio_line import CONNECTED, STOP, media, numbered, start
from tests.threads.test_host import SAID

TOKEN = "0123456789abcdef"
URL = "wss://bot.example.com/media"


@asynccontextmanager
async def uvicorn_serving(app: Any) -> AsyncIterator[int]:
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="wsproto"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def aiohttp_serving(app: Any) -> AsyncIterator[int]:
    web = pytest.importorskip("aiohttp.web")
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


SERVERS = {"fastapi_calls": ("starlette", uvicorn_serving), "aiohttp_calls": ("aiohttp", aiohttp_serving)}


@pytest.fixture(params=SERVERS)
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """With the scripted server in the place of Deepgram, which says "hello." at 0.3 s."""
    pytest.importorskip(SERVERS[request.param][0])
    spec = importlib.util.spec_from_file_location(request.param, ROOT / "examples" / f"{request.param}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("DEEPGRAM_API_KEY", "any")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("STREAM_URL", URL)
    with playing(SAID) as address:
        monkeypatch.setattr(module, "Deepgram", partial(Deepgram, url=f"ws://{address}/v1/listen"))
        yield module


async def call_up(example: ModuleType, told: list[str], token: str = TOKEN) -> Call:
    """A call of 0.6 s, which the caller ends when the bot has been quiet for 0.6 s."""

    @asynccontextmanager
    async def calling(call: Call) -> AsyncIterator[asyncio.Event]:
        async def play() -> None:
            try:
                await call.play(Recording(0.6), 0.6)
            except Exception as error:
                failed.append(error)
            done.set()

        async with open_background() as nursery:
            nursery.start_soon(play)
            yield done

    done, failed = asyncio.Event(), list[Exception]()
    _, serving = SERVERS[example.__name__]
    async with serving(example.app) as port:
        call = Call(f"ws://127.0.0.1:{port}/media", lambda _, what: told.append(what), token=token, signed_url=URL)
        async with in_trio(calling(call)):
            await done.wait()
        if failed:
            raise failed[0]
        await asyncio.sleep(0.05)  # the server learns that the call is over
    return call


def test_the_example_answers_a_call(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    call = run_asyncio(lambda: call_up(example, told))
    assert capsys.readouterr().out == "CA0: hello.\n"
    assert told == ["the bot speaks", "mark reply"]
    assert example.TONE  # 0.4 s of it, as loud as it was sent
    assert call.playback.until == pytest.approx(0.5 + 0.4, abs=0.5)
    assert_no_trio()


def test_the_example_refuses_strangers(example: ModuleType) -> None:
    with pytest.raises(SessionError, match="403"):
        run_asyncio(lambda: call_up(example, [], token="another"))


# -- websockets of ours, which speak as theirs do --------------------------------------------------------------------


class StarletteSocket:
    def __init__(self, *messages: str | bytes, code: int = 1000) -> None:
        self.messages, self.code = list(messages), code
        self.sent: list[Any] = []
        self.closed = False

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if not self.messages:
            return {"type": "websocket.disconnect", "code": self.code}
        message = self.messages.pop(0)
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", kind: message}

    async def send_text(self, message: str) -> None:
        if self.closed:
            raise RuntimeError("closed")
        self.sent.append(json.loads(message))

    async def close(self) -> None:
        self.closed = True


class AiohttpSocket(StarletteSocket):
    send_str = StarletteSocket.send_text

    @property
    def close_code(self) -> int:
        return self.code

    def __getattribute__(self, name: str) -> Any:
        if name == "send_text":
            raise AttributeError(name)
        return super().__getattribute__(name)

    async def receive(self) -> Any:
        message = await super().receive()
        name = {"text": "TEXT", "bytes": "BINARY", "code": "CLOSE"}[next(key for key in message if key != "type")]
        return SimpleNamespace(type=SimpleNamespace(name=name), data=message.get("text", message.get("bytes")))


SPOKEN = [CONNECTED, start("inbound", "outbound"), *(media(ms, 988) for ms in range(0, 400, 20))]

each = pytest.mark.parametrize("kind", [StarletteSocket, AiohttpSocket])


async def hear(socket: Any) -> int:
    """How many bytes of audio there are in the call."""

    @asynccontextmanager
    async def listening(call: aio.TwilioCall) -> AsyncIterator[int]:
        yield sum([len(pcm) async for pcm in call])

    async with aio.TwilioCall(socket) as call:
        assert (call.call_sid, call.channels, call.parameters["Language"]) == ("CA0", 2, "en")
        assert await call.send_mark("one")
        async with in_trio(listening(call)) as count:
            pass
    assert socket.closed
    assert not await call.send_mark("two")
    return count


@each
def test_a_call_is_heard_to_its_end(kind: Any) -> None:
    for last in ([STOP], []):  # Twilio's word, or just the end of the connection
        socket = kind(*numbered(*SPOKEN, *last))
        assert run_asyncio(partial(hear, socket)) == 20 * 160 * 2 * 2
        assert [message["mark"] for message in socket.sent] == [{"name": "one"}]


@each
def test_a_connection_that_breaks(kind: Any) -> None:
    with pytest.raises(SessionError, match=r"the connection was lost: it broke \(code 1006\)"):
        run_asyncio(lambda: hear(kind(*numbered(*SPOKEN), code=1006)))


@each
def test_no_call(kind: Any) -> None:
    async def begin(socket: Any) -> None:
        async with aio.TwilioCall(socket):
            raise AssertionError

    with pytest.raises(SessionError, match="the caller hung up before the call began"):
        run_asyncio(lambda: begin(kind()))
    with pytest.raises(ProtocolError, match="is this Twilio"):
        run_asyncio(lambda: begin(kind('{"hello": 1}')))
    with pytest.raises(ProtocolError, match="binary message"):
        run_asyncio(lambda: begin(kind(b"\0")))


def test_no_websocket() -> None:
    with pytest.raises(UsageError, match=r"^object is no websocket of Starlette's, FastAPI's or aiohttp's; in trio"):
        aio.TwilioCall(object())


def test_not_in_trio() -> None:
    async def main() -> None:
        async with aio.TwilioCall(StarletteSocket()):
            pass

    with pytest.raises(UsageError, match=r"is for asyncio, and this is trio: use hearout\.sources\.serve_twilio"):
        trio.run(main)
