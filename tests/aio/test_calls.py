"""`aio.TwilioCall`, on the websockets of real servers: the examples, called by `hearout call`'s caller."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import trio

from hearout import SessionError, UsageError, aio
from hearout.aio.guest import in_trio
from hearout.caller.line import Call
from hearout.nursery import open_background
from hearout.serving import ProtocolError, call_id
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
    monkeypatch.setenv("DEEPGRAM_API_KEY", "any")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("STREAM_URL", URL)
    with playing(SAID) as address:
        monkeypatch.setenv("DEEPGRAM_URL", f"ws://{address}/v1/listen")
        yield load(request.param)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SERVERS)
def test_the_example_says_what_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(SERVERS[name][0])
    for variable in ("DEEPGRAM_API_KEY", "TWILIO_AUTH_TOKEN", "STREAM_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SystemExit, match=f"^{name}: set DEEPGRAM_API_KEY and STREAM_URL and TWILIO_AUTH_TOKEN$"):
        load(name)


@asynccontextmanager
async def calling(call: Call, wait: float) -> AsyncIterator[tuple[asyncio.Event, list[Exception]]]:
    """In trio: 0.6 s of speech; the caller hangs up when the bot has been quiet for ``wait`` seconds after it."""
    done, failed = asyncio.Event(), list[Exception]()

    async def play() -> None:
        try:
            await call.play(Recording(0.6), wait)
        except Exception as error:
            failed.append(error)
        done.set()

    async with open_background() as nursery:
        nursery.start_soon(play)
        yield done, failed


def caller(port: int, told: list[str], token: str = TOKEN) -> Call:
    return Call(f"ws://127.0.0.1:{port}/media", lambda _, what: told.append(what), token=token, signed_url=URL)


async def call_up(example: ModuleType, told: list[str], token: str = TOKEN) -> Call:
    _, serving = SERVERS[example.__name__]
    async with serving(example.app) as port:
        call = caller(port, told, token)
        async with in_trio(calling(call, 0.6)) as (done, failed):
            await done.wait()
        if failed:
            raise failed[0]
        await asyncio.sleep(0.05)  # the server learns that the call is over
    return call


def test_the_example_answers_a_call(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    call = run_asyncio(lambda: call_up(example, told))
    assert capsys.readouterr().out == f"{call.sid}: hello.\n"
    assert told == ["the bot speaks", "mark reply"]
    assert example.TONE  # 0.4 s of it, as loud as it was sent
    assert call.playback.until == pytest.approx(0.5 + 0.4, abs=0.5)
    assert_no_trio()


def test_calls_have_names_of_their_own() -> None:
    assert caller(1, []).sid != caller(1, []).sid


def test_a_server_that_is_told_to_end_gives_the_last_words(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> str:
        _, serving = SERVERS[example.__name__]
        async with AsyncExitStack() as server:
            call = caller(await server.enter_async_context(serving(example.app)), told)
            async with in_trio(calling(call, 30.0)) as (done, failed):
                await until(lambda: told)
                before = time.monotonic()
                await server.aclose()
                assert time.monotonic() - before < 5
                await done.wait()
        assert [str(error) for error in failed] in ([], ["the bot broke the call off: code 1012"])
        return call.sid

    told: list[str] = []
    sid = run_asyncio(main)
    assert capsys.readouterr().out == f"{sid}: hello.\n"  # and no failure
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
        self.told: Any = None

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

    async def close(self, code: int, reason: str) -> None:
        self.closed, self.told = True, (code, reason)


class AiohttpSocket(StarletteSocket):
    send_str = StarletteSocket.send_text

    async def close(self, code: int, message: bytes) -> None:  # type: ignore[override]
        await super().close(code, message.decode())

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
        assert call_id.get() == "CA0"
        assert await call.send_mark("one")
        async with in_trio(listening(call)) as count:
            pass
    assert socket.closed
    assert not await call.send_mark("two")
    return count


@each
def test_a_call_is_heard_to_its_end(kind: Any) -> None:
    # Twilio's word, just the end of the connection, and that of a server which is told to end (uvicorn's).
    for last, code in (([STOP], 1000), ([], 1000), ([], 1012)):
        socket = kind(*numbered(*SPOKEN, *last), code=code)
        assert run_asyncio(partial(hear, socket)) == 20 * 160 * 2 * 2
        assert socket.told == (1000, "")
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

    for message, error, line, code in (
        ([], SessionError, "the caller hung up before the call began", 1011),
        (['{"hello": 1}'], ProtocolError, "is this Twilio", 1007),
        ([b"\0"], ProtocolError, "binary message", 1003),
    ):
        socket = kind(*message)
        with pytest.raises(error, match=line):
            run_asyncio(partial(begin, socket))
        assert socket.closed
        assert socket.told[0] == code
        assert line in socket.told[1]


@each
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ProtocolError("two starts", 1002), (1002, "two starts")),
        (SessionError("key\0 " + 100 * "é"), (1011, "key  " + 59 * "é")),
        (LookupError("a secret"), (1011, "internal error")),
        (asyncio.CancelledError(), (1001, "")),
    ],
)
def test_what_a_failed_handler_leaves_is_told_as_by_the_server_of_trio(kind: Any, error: Any, told: Any) -> None:
    async def fail() -> None:
        async with aio.TwilioCall(socket):
            raise error

    socket = kind(*numbered(*SPOKEN))
    with pytest.raises(type(error)):
        run_asyncio(fail)
    assert socket.told == told


class NotAccepted(StarletteSocket):
    async def receive(self) -> dict[str, Any]:
        return {"type": "websocket.connect"}


class NotPrepared(AiohttpSocket):
    prepared = False


@pytest.mark.parametrize(
    ("kind", "call"), [(NotAccepted, "websocket.accept()"), (NotPrepared, "websocket.prepare(request)")]
)
def test_a_websocket_that_is_not_open_yet(kind: Any, call: str) -> None:
    async def main() -> None:
        async with aio.TwilioCall(kind(*numbered(*SPOKEN))):
            raise AssertionError

    with pytest.raises(UsageError) as caught:
        run_asyncio(main)
    assert str(caught.value) == f"the websocket is not open yet: await {call} before aio.TwilioCall(websocket)"


def test_no_websocket() -> None:
    with pytest.raises(UsageError, match=r"^object is no websocket of Starlette's, FastAPI's or aiohttp's; in trio"):
        aio.TwilioCall(object())


def test_not_in_trio() -> None:
    async def main() -> None:
        async with aio.TwilioCall(StarletteSocket()):
            pass

    with pytest.raises(UsageError, match=r"is for asyncio, and this is trio: use hearout\.sources\.serve_twilio"):
        trio.run(main)
