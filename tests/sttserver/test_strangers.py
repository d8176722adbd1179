"""Who may connect to the local server and how many: as for the servers of audio, in the words of each provider."""

from __future__ import annotations

import gc
import json
import weakref
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from hearout.errors import UsageError, leaves_of
from hearout.sttserver.command import add_arguments, run
from hearout.sttserver.protocols import PROTOCOLS
from hearout.sttserver.recogniser.pool import Recogniser, RecogniserPool
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.sttserver.steps import HeardWord
from hearout.traces.reader import parse_trace
from tests.kit.frames import BAD, raw

PATHS = {
    "deepgram": "/v1/listen?encoding=linear16&sample_rate=16000",
    "flux": "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000",
    "soniox": "/transcribe-websocket",
    "openai": "/v1/realtime?intent=transcription",
    "elevenlabs": "/v1/speech-to-text/realtime?model_id=scribe_v2_realtime",
    "assemblyai": "/v3/ws?speech_model=universal-streaming-english&sample_rate=16000",
}
KEY = [(b"authorization", b"Bearer any")]
EVIL = [(b"origin", b"http://evil.example")]
START = {"model": "stt-rt-v3", "audio_format": "pcm_s16le", "sample_rate": 16000, "num_channels": 1}


class Stub(Recogniser):
    """Hears nothing."""

    def __init__(self) -> None:
        pass

    def decode(self, pcm: bytes) -> None:
        pass

    async def words(self, *, ends: bool, pauses: bool = False) -> list[HeardWord]:
        return []


class Pool(RecogniserPool):
    """Counts what it lends, as long as that is kept."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._lent: weakref.WeakSet[Recogniser] = weakref.WeakSet()
        self._failure = failure

    @property
    def lent(self) -> int:
        gc.collect()
        return len(self._lent)

    async def lend(self, count: int) -> list[Recogniser]:
        if self._failure is not None:
            raise self._failure
        stubs: list[Recogniser] = [Stub() for _ in range(count)]
        self._lent.update(stubs)
        return stubs


@asynccontextmanager
async def dialled(
    server: SttServer, path: str, headers: Sequence[tuple[bytes, bytes]] = KEY
) -> AsyncIterator[WebSocketConnection]:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, theirs)
        async with trio.open_nursery() as clients:
            stream = cast("trio.SocketStream", ours)
            yield await wrap_client_stream(clients, stream, "localhost", path, extra_headers=list(headers))
            await trio.aclose_forcefully(ours)
            clients.cancel_scope.cancel()


async def rejection(server: SttServer, path: str, headers: Sequence[tuple[bytes, bytes]] = KEY) -> tuple[int, Any]:
    with pytest.raises(ExceptionGroup) as caught:
        async with dialled(server, path, headers):
            pass
    (error,) = leaves_of(caught.value)
    assert isinstance(error, ConnectionRejected)
    return error.status_code, json.loads(error.body or b"{}")


async def closed(websocket: WebSocketConnection) -> tuple[list[Any], int]:
    """What still comes, and the code at the end."""
    got = []
    while True:
        try:
            got.append(json.loads(await websocket.get_message()))
        except ConnectionClosed as end:
            return got, 1006 if end.reason is None else end.reason.code


@pytest.mark.parametrize("kind", PATHS)
def test_there_are_no_more_connections_than_allowed(kind: str, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        pool = Pool()
        server = SttServer(pool, connections=3)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(dialled(server, PATHS[kind]))
            assert pool.lent == 3
            status, body = await rejection(server, PATHS[kind])
            assert status == 429
            assert "too many connections at once" in json.dumps(body)
            assert (await rejection(server, PATHS["deepgram"], []))[0] == 401  # the key comes first
            assert pool.lent == 3
        assert pool.lent == 0
        async with dialled(server, PATHS[kind]):
            pass

    run_virtual(main)


def test_each_channel_is_a_recogniser_and_counts(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        pool = Pool()
        server = SttServer(pool, connections=5)
        two = PATHS["deepgram"] + "&channels=2&multichannel=true"
        async with dialled(server, two), dialled(server, two):
            assert (await rejection(server, two))[0] == 429
            async with dialled(server, PATHS["deepgram"]):
                assert pool.lent == 5

    run_virtual(main)


@pytest.mark.parametrize("kind", PATHS)
def test_pages_of_other_sites_stay_out_where_any_key_is_good(kind: str, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = SttServer(Pool())
        assert (await rejection(server, PATHS[kind], KEY + EVIL))[0] == 403
        async with dialled(server, PATHS[kind], [*KEY, (b"origin", b"http://localhost:3000")]):
            pass
        async with dialled(SttServer(Pool(), token="any"), PATHS[kind], KEY + EVIL):
            pass

    run_virtual(main)


def test_silent_strangers_keep_nobody_out(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        pool = Pool()
        server = SttServer(pool, connections=2, token="any")
        async with trio.open_nursery() as nursery:
            ends = []
            for _ in range(300):
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(server.serve, theirs)
                ends.append(ours)
            await trio.testing.wait_all_tasks_blocked()  # so that they come first, and leave first
            # These have not said either who they are: the key may come with the first message.
            async with AsyncExitStack() as stack:
                for _ in range(100):
                    await stack.enter_async_context(dialled(server, PATHS["soniox"], []))
                assert pool.lent == 0
                for kind in PATHS:
                    async with dialled(server, PATHS[kind]):
                        assert pool.lent == 1
                    await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    run_virtual(main)


@pytest.mark.parametrize(
    ("key", "code", "lent"), [("any", None, 1), ("another", 401, 0), (None, 401, 0)], ids=["right", "wrong", "none"]
)
def test_a_key_in_the_first_message_comes_before_the_recogniser(
    key: str | None, code: int | None, lent: int, run_virtual: Callable[..., Any]
) -> None:
    async def main() -> None:
        pool = Pool()
        server = SttServer(pool, token="any")
        async with dialled(server, PATHS["soniox"], []) as websocket:
            await trio.testing.wait_all_tasks_blocked()
            assert pool.lent == 0
            await websocket.send_message(json.dumps(START | ({} if key is None else {"api_key": key})))
            await trio.testing.wait_all_tasks_blocked()
            assert pool.lent == lent
            if code is None:
                await websocket.send_message("")
            frames, _ = await closed(websocket)
            assert frames[-1].get("error_code") == code

    run_virtual(main)


def test_who_says_nothing_for_20_s_is_told_as_soniox_does(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        began = trio.current_time()
        async with dialled(SttServer(Pool()), PATHS["soniox"], []) as websocket:
            frames, code = await closed(websocket)
        assert (frames[0]["error_code"], code) == (408, 1000)
        assert trio.current_time() - began == pytest.approx(20)

    run_virtual(main)


@pytest.mark.parametrize(
    ("failure", "connections", "code", "kind"),
    [
        (UsageError("it does not start"), 5, 503, "service_unavailable"),
        (None, 1, 429, "limit_exceeded"),
    ],
)
def test_what_is_known_only_after_the_first_message_is_told_in_a_frame(
    failure: Exception | None, connections: int, code: int, kind: str, run_virtual: Callable[..., Any]
) -> None:
    async def main() -> None:
        server = SttServer(Pool(failure), connections=connections)
        async with AsyncExitStack() as stack:
            if failure is None:
                await stack.enter_async_context(dialled(server, PATHS["soniox"]))
            websocket = await stack.enter_async_context(dialled(server, PATHS["soniox"], []))
            await websocket.send_message(json.dumps(START | {"api_key": "any"}))
            (frame,), _ = await closed(websocket)
            assert (frame["error_code"], frame["error_type"]) == (code, kind)

    run_virtual(main)


def test_strangers_do_not_use_up_the_script(run_virtual: Callable[..., Any]) -> None:
    """What comes behind a break is for the next connection that has a key."""
    lines: list[dict[str, Any]] = [
        {"hearout_trace": 1, "stt": "soniox", "channels": 1, "vad": False},
        {"t": 0.5, "stt": {"tokens": [], "final_audio_proc_ms": 1, "total_audio_proc_ms": 1}},
        {"t": 1.0, "link": "lost"},
        {"t": 1.5, "link": "restored", "audio": 1.0},
        {"t": 2.0, "stt": {"tokens": [], "final_audio_proc_ms": 2, "total_audio_proc_ms": 2}},
    ]

    async def main() -> None:
        server = SttServer(Pool(), script=Script(parse_trace([json.dumps(line) for line in lines])))
        async with dialled(server, PATHS["soniox"]) as websocket:
            await websocket.send_message(json.dumps(START))
            await websocket.send_message(bytes(32_000))
            await websocket.send_message(bytes(32_000))
            frames, _ = await closed(websocket)
            assert frames[0]["final_audio_proc_ms"] == 1
        async with dialled(server, PATHS["soniox"], []):
            await trio.testing.wait_all_tasks_blocked()
        async with dialled(server, PATHS["soniox"], []) as websocket:
            await websocket.send_message(json.dumps(START | {"api_key": "any"}))
            await websocket.send_message(bytes(32_000))
            assert json.loads(await websocket.get_message())["final_audio_proc_ms"] == 2

    run_virtual(main)


@pytest.mark.parametrize("kind", PATHS)
def test_who_breaks_the_rules_is_told(kind: str, run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        server = SttServer(Pool())
        for bad, (data, code) in BAD.items():
            if code == 1009:
                continue  # messages may be larger here
            async with raw(server, PATHS[kind].encode()) as caller:
                await caller.stream.send_all(data)
                assert (await caller.closed())[0] == code, bad

    run_virtual(main)


def test_who_does_not_read_is_gone(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        pool = Pool()
        server = SttServer(pool)
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.lockstep_stream_pair()  # sending waits for receiving
            nursery.start_soon(server.serve, theirs)
            stream = cast("trio.SocketStream", ours)
            websocket = await wrap_client_stream(
                nursery, stream, "localhost", PATHS["flux"], extra_headers=KEY, message_queue_size=0
            )
            await trio.testing.wait_all_tasks_blocked()
            assert pool.lent == 1
            with trio.move_on_after(5):  # one update waits for the application, the next in the stream
                while True:
                    await websocket.send_message(bytes(32_000))
            await trio.sleep(30)
            assert pool.lent == 0
            nursery.cancel_scope.cancel()

    run_virtual(main)


@pytest.mark.parametrize(("cores", "limit"), [(1, 6), (2, 12), (16, 96), (None, 6)])
def test_as_many_as_the_cores_serve_well_unless_told(
    cores: int | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    parser = ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args([]).connections == limit
    assert f"here {limit})" in " ".join(parser.format_help().split())


def test_a_token_that_is_no_text_is_not_told() -> None:
    with pytest.raises(UsageError) as caught:
        SttServer(Pool(), token="s3cret \udce9")
    assert str(caught.value) == "the token that clients must send is no text in UTF-8"


def test_none_at_all_is_no_limit(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["--connections", "0"])) == 2
    assert "--connections 0: there must be at least 1" in capsys.readouterr().err
    assert set(PATHS) == set(PROTOCOLS)
