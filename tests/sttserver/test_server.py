"""The local server as it is: its process, a real recogniser, a real websocket client."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
import soxr
import trio
from trio.testing import memory_stream_pair
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from hearout.errors import SessionError, UsageError
from hearout.models.known import MODELS
from hearout.session.session import open_session
from hearout.sources import FileSource
from hearout.sttserver.__main__ import main as command_line
from hearout.sttserver.local import local_server
from hearout.sttserver.recogniser.pool import Recogniser, RecogniserFailed, RecogniserPool
from hearout.sttserver.server import SttServer
from hearout.sttserver.steps import HeardWord
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout_policies.events import TurnCompleted
from tests.kit.paths import DATA
from tests.kit.serving import serving as serving_here

RATE = 16_000
CLIP, _ = soundfile.read(DATA / "two_sentences.flac", dtype="int16")
SENTENCES = ["i would like to cancel my appointment", "could you repeat that please"]
COMMAND = [sys.executable, "-m", "hearout.sttserver", "--port", "0"]

linux_only = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watches processes that are not its children")


@contextmanager
def serving(*arguments: str | Path) -> Iterator[str]:
    command = [*COMMAND, "--until-eof", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        match = re.fullmatch(r"listening on (ws://127\.0\.0\.1:\d+/v1/listen)\n", process.stdout.readline())
        assert match
        yield match[1]
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait() == 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server, which hears the sentences of the clip without error."""
    with serving_here() as address:
        yield f"ws://{address}/v1/listen"


@asynccontextmanager
async def tcp(url: str) -> AsyncIterator[Callable[..., Awaitable[WebSocketConnection]]]:
    """A socket, and the function that makes a websocket of it.

    `open_websocket` would leave the socket to the garbage collector whenever the server closes first.
    """
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    async with await trio.open_tcp_stream(address.hostname, address.port) as stream, trio.open_nursery() as nursery:
        target = f"{address.path}?{address.query}"
        yield partial(wrap_client_stream, nursery, stream, address.netloc, target)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def dial(url: str, key: str = "Token any") -> AsyncIterator[WebSocketConnection]:
    async with tcp(url) as connect:
        yield await connect(extra_headers=[(b"authorization", key.encode())])


def rejection(url: str, key: str | None = "Token any") -> ConnectionRejected:
    async def main() -> ConnectionRejected:
        headers = [] if key is None else [(b"authorization", key.encode())]
        rejected: list[ConnectionRejected] = []
        try:
            async with tcp(url) as connect:
                await connect(extra_headers=headers)
        except* ConnectionRejected as group:
            rejected.extend(group.exceptions)  # type: ignore[arg-type]
        (answer,) = rejected
        return answer

    return trio.run(main)


def talk(url: str, query: str, *messages: str | bytes) -> list[dict[str, Any]]:
    """Everything the server says to one connection, up to its close, which is normal."""

    async def main() -> list[dict[str, Any]]:
        received: list[dict[str, Any]] = []
        with trio.fail_after(60):
            async with dial(f"{url}?{query}") as websocket, trio.open_nursery() as n:

                async def receive() -> None:
                    with suppress(ConnectionClosed):
                        while True:
                            received.append(json.loads(await websocket.get_message()))

                n.start_soon(receive)
                for message in [*messages, '{"type":"CloseStream"}']:
                    await websocket.send_message(message)
        assert websocket.closed is not None
        assert websocket.closed.code == 1000
        return received

    return trio.run(main)


def blocks(audio: bytes, size: int = 3200) -> list[bytes]:
    return [audio[at : at + size] for at in range(0, len(audio), size)]


def words_of(messages: Sequence[dict[str, Any]], channel: int = 0) -> list[dict[str, Any]]:
    finals = [m for m in messages if m.get("is_final") and m["channel_index"][0] == channel]
    return [word for m in finals for word in m["channel"]["alternatives"][0]["words"]]


def text_of(messages: Sequence[dict[str, Any]], channel: int = 0) -> str:
    return " ".join(word["word"] for word in words_of(messages, channel))


QUERY = "encoding=linear16&sample_rate=16000&endpointing=300"


def test_speech_becomes_interim_and_final_results_with_times(url: str) -> None:
    messages = talk(url, QUERY + "&interim_results=true&vad_events=true", *blocks(CLIP.tobytes()))

    ends = [m["channel"]["alternatives"][0]["transcript"] for m in messages if m.get("speech_final")]
    assert ends == [*SENTENCES, ""]  # the last one is the end of the stream
    interims = [m["channel"]["alternatives"][0]["transcript"] for m in messages if m.get("is_final") is False]
    assert any(text and SENTENCES[0].startswith(text) for text in interims)
    assert [m["type"] for m in messages].count("SpeechStarted") == 2

    words = words_of(messages)
    assert all(word["start"] < word["end"] for word in words)
    assert all(a["end"] <= b["start"] + 0.011 for a, b in pairwise(words))
    times = {word["word"]: (word["start"], word["end"]) for word in words}
    # Read off the waveform.
    assert times["appointment"] == (pytest.approx(1.87, abs=0.2), pytest.approx(2.6, abs=0.1))
    assert times["could"][0] == pytest.approx(3.7, abs=0.1)
    assert times["please"][1] == pytest.approx(5.25, abs=0.1)
    assert all(0 < word["confidence"] <= 1 for word in words)
    assert messages[-1]["type"] == "Metadata"
    assert messages[-1]["duration"] == pytest.approx(len(CLIP) / RATE)


def test_finalize_in_the_middle_of_speech_loses_no_word(url: str) -> None:
    audio = CLIP.tobytes()
    cut = int(1.87 * RATE) * 2  # before "appointment"
    messages = talk(url, QUERY, *blocks(audio[:cut]), '{"type":"Finalize"}', *blocks(audio[cut:]))
    answer = next(m for m in messages if m["type"] == "Results")
    assert (answer["from_finalize"], answer["duration"]) == (True, 1.87)
    assert text_of(messages).split()[:4] == ["i", "would", "like", "to"]
    assert "appointment" in text_of(messages)


def test_a_connection_knows_nothing_of_the_one_before(url: str) -> None:
    def conversation() -> list[Any]:
        return [m["channel"] for m in talk(url, QUERY + "&interim_results=true", CLIP.tobytes())[:-1]]

    first = conversation()
    assert conversation() == first
    assert conversation() == first


def test_telephone_audio(url: str) -> None:
    eight = soxr.resample(CLIP.astype(float), RATE, 8000).astype(np.int32)
    # G.711 mu-law, as a sender does it.
    magnitude = np.minimum(np.abs(eight) + 132, 32635)
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    code = ~(np.where(eight < 0, 0x80, 0) | exponent << 4 | magnitude >> exponent + 3 & 15) & 0xFF
    messages = talk(url, "encoding=mulaw&sample_rate=8000&endpointing=300", code.astype(np.uint8).tobytes())
    assert text_of(messages) == " ".join(SENTENCES)


def test_two_people_on_two_channels(url: str) -> None:
    half = int(3.3 * RATE)
    left, right = np.zeros(half, np.int16), np.zeros(half, np.int16)
    left[:] = CLIP[:half]
    right[: len(CLIP) - half] = CLIP[half:]
    stereo = np.column_stack([left, right]).tobytes()
    messages = talk(url, QUERY + "&channels=2&multichannel=true", *blocks(stereo))
    assert [text_of(messages, channel) for channel in (0, 1)] == SENTENCES
    assert messages[-1]["channels"] == 2


@pytest.mark.parametrize(
    ("path", "key", "status", "code", "problem"),
    [
        ("?" + QUERY, None, 401, "INVALID_AUTH", "Authorization"),
        ("?" + QUERY, "Token", 401, "INVALID_AUTH", "Authorization"),
        ("?" + QUERY, "Basic x", 401, "INVALID_AUTH", "Authorization"),
        ("?encoding=linear16&sample_rate=loud", "Token x", 400, "INVALID_QUERY_PARAMETER", "sample_rate='loud'"),
        ("er?" + QUERY, "Token x", 404, "NOT_FOUND", "/v1/listener"),
    ],
)
def test_a_bad_handshake_is_refused_in_words(
    url: str, path: str, key: str | None, status: int, code: str, problem: str
) -> None:
    rejected = rejection(url + path, key)
    assert rejected.status_code == status
    assert rejected.body is not None
    body = json.loads(rejected.body)
    fields = {name.decode(): value.decode() for name, value in rejected.headers or ()}
    assert list(body) == ["err_code", "err_msg", "request_id"]
    assert body["err_code"] == code
    assert problem in body["err_msg"]
    assert (fields["dg-error"], fields["dg-request-id"]) == (body["err_msg"], body["request_id"])


@pytest.mark.parametrize("query", ["?encoding=", "?encoding=linear16&sample_rate=", f"?{QUERY}&language=", "/"])
def test_what_a_client_says_at_length_is_cut(url: str, query: str) -> None:
    rejected = rejection(url + query + "%1B" + 6000 * "x")
    assert rejected.body is not None
    said = json.loads(rejected.body)["err_msg"]
    assert len(said) <= 300
    assert said.isprintable()


def test_only_the_token_opens_a_server_that_has_one() -> None:
    async def connect(url: str) -> None:
        async with dial(f"{url}?{QUERY}", "Bearer secret") as websocket:
            assert b"dg-request-id" in {name for name, _ in websocket.handshake_headers}

    with serving("--token", "secret") as url:
        trio.run(connect, url)
        assert rejection(f"{url}?{QUERY}", "Bearer guess").status_code == 401


def test_the_token_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEAROUT_STT_TOKEN", "secret")

    async def ours() -> None:
        async with local_server() as url, dial(f"{url}?{QUERY}", "Token local"):
            pass

    async def theirs(url: str) -> None:
        async with dial(f"{url}?{QUERY}", "Bearer secret"):
            pass

    with serving() as url:
        assert rejection(f"{url}?{QUERY}", "Bearer guess").status_code == 401
        trio.run(theirs, url)
    trio.run(ours)  # the token is not for the server that we start for ourselves


def test_rubbish_on_the_port_harms_no_one(url: str) -> None:
    port = int(re.findall(r":(\d+)/", url)[0])
    for rubbish in (b"", b"\x16\x03\x01\x00\xa5", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(rubbish)
    assert text_of(talk(url, QUERY, CLIP.tobytes())) == " ".join(SENTENCES)


# ---- what can only be seen in virtual time, or with a recogniser that fails when told


class StubPool(RecogniserPool):
    """Lends one recogniser; how long it takes is the test's affair."""

    def __init__(self, take: Callable[[], Any]) -> None:
        self._take = take

    async def lend(self, count: int) -> list[Recogniser]:
        test = self

        class Stub(Recogniser):
            def __init__(self) -> None:
                pass

            def decode(self, pcm: bytes) -> None:
                pass

            async def words(self, *, ends: bool, pauses: bool = False) -> list[HeardWord]:
                await test._take()
                return []

        return [Stub()]


@asynccontextmanager
async def connected(pool: RecogniserPool) -> AsyncIterator[Any]:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SttServer(pool).serve, theirs)
        stream = cast("trio.SocketStream", ours)  # any stream will do
        headers = [(b"authorization", b"Token any")]
        yield await wrap_client_stream(nursery, stream, "localhost", f"/v1/listen?{QUERY}", extra_headers=headers)
        nursery.cancel_scope.cancel()


async def _nothing() -> None:
    await trio.lowlevel.checkpoint()


def test_a_client_that_says_nothing_for_12_seconds_is_sent_away(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connected(StubPool(_nothing)) as websocket:
            for _ in range(5):
                await trio.sleep(9)
                await websocket.send_message('{"type":"KeepAlive"}')
            quiet_since = trio.current_time()
            assert json.loads(await websocket.get_message())["sha256"] == "incomplete"
            assert trio.current_time() - quiet_since == pytest.approx(12)
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.get_message()
            assert caught.value.reason
            assert caught.value.reason.code == 1011
            assert str(caught.value.reason.reason).endswith("net0001")

    run_virtual(main)


def test_a_ping_is_answered_when_the_audio_before_it_was_taken(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        busy = trio.Event()
        async with connected(StubPool(busy.wait)) as websocket:
            await websocket.send_message(CLIP[RATE : 2 * RATE].tobytes())
            await websocket.send_message('{"type":"Finalize"}')
            await websocket.send_message(CLIP[RATE : 2 * RATE].tobytes())
            with trio.move_on_after(5) as patience:
                await websocket.ping()
            assert patience.cancelled_caught
            busy.set()
            with trio.fail_after(5):
                await websocket.ping()

    run_virtual(main)


def test_a_dead_recogniser_ends_its_connection(run_virtual: Callable[..., Any]) -> None:
    async def die() -> None:
        raise RecogniserFailed("out of memory")

    async def main() -> None:
        async with connected(StubPool(die)) as websocket:
            await websocket.send_message(CLIP[RATE : 2 * RATE].tobytes())
            await websocket.send_message('{"type":"Finalize"}')
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.get_message()
            assert caught.value.reason
            assert caught.value.reason.code == 1011

    run_virtual(main)


# ---- starting and stopping


def refused(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env=os.environ | environment,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return done.returncode, line


@pytest.fixture
def refused_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """What `refused` does, in this process."""

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["hearout.sttserver", *arguments])
            for name, value in environment.items():
                patched.setenv(name, value)
            status = command_line()
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        return status, line

    return run


def test_bad_usage_is_one_line(tmp_path: Path, refused_here: Callable[..., tuple[int, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, line = refused("--port", str(port))
    assert (status, str(port) in line, "--port" in line) == (2, True, True)

    status, line = refused_here("--host", "0.0.0.0")
    assert (status, "--token" in line) == (2, True)
    status, line = refused_here("--host", "no.such.host.invalid", "--token", "x")
    assert (status, "no.such.host.invalid" in line) == (2, True)
    status, line = refused_here("--port", "70000")
    assert (status, "70000" in line) == (2, True)

    status, line = refused_here("--port", "0", "--model", str(tmp_path / "missing"))
    assert (status, f"{tmp_path}/missing: there is no such folder" in line) == (2, True)
    status, line = refused_here("--port", "0", HEAROUT_MODELS=str(tmp_path))
    assert (status, "is not on this machine: hearout models get whisper-tiny-en" in line) == (2, True)
    for file in MODELS["whisper-tiny-en"].files:
        (tmp_path / "whisper-tiny-en" / file.name).parent.mkdir(exist_ok=True)
        (tmp_path / "whisper-tiny-en" / file.name).write_bytes(b"half of it")
    status, line = refused_here("--port", "0", HEAROUT_MODELS=str(tmp_path))
    assert (status, "model.bin: not the file it should be" in line) == (2, True)


def test_without_ctranslate2_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "ctranslate2.py").write_text("raise ImportError('not here')")
    status, line = refused(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert (status, "pip install 'hearout[local]'" in line) == (2, True)


@pytest.mark.parametrize(
    ("at_import", "kind", "said"),
    [
        (
            "raise RuntimeError('no such processor')",
            UsageError,
            "the recogniser needs ctranslate2 that works on this machine: no such processor",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            UsageError,
            "the local recogniser uses an instruction that this machine's processor does not have",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            SessionError,
            "the local recogniser did not start: it was ended by SIGKILL",
        ),
    ],
)
def test_a_recogniser_that_does_not_work_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_import: str, kind: type[Exception], said: str
) -> None:
    """For users of `local_server`: for those of the commands it is the same line."""

    async def main() -> None:
        async with local_server():
            pytest.fail("there is nothing to serve")

    (tmp_path / "ctranslate2.py").write_text(at_import)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(kind, match=f"^{said}$"):
        trio.run(main)


def test_local_server_lasts_as_long_as_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with local_server() as url, dial(f"{url}?{QUERY}"):
            pass
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", int(re.findall(r":(\d+)/", url)[0]))

        monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))
        with pytest.raises(UsageError, match="is not on this machine: hearout models get"):
            async with local_server():
                pytest.fail("there is nothing to serve")
        monkeypatch.undo()

        with pytest.raises(KeyError):  # the block's own errors come out as they are
            async with local_server():
                raise KeyError

    trio.run(main)


def test_the_local_server_speaks_the_protocol_that_is_named() -> None:
    async def main() -> None:
        async with local_server("elevenlabs") as url:
            assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/v1/speech-to-text/realtime", url)
            heard = []
            file = FileSource(DATA / "two_sentences.flac")
            async with open_session(file, ElevenLabs("any", url), realtime=False) as session:
                async for event in session:
                    heard += [event.text] if isinstance(event, TurnCompleted) else []
            assert "cancel my appointment" in " ".join(heard).lower()

    trio.run(main)


def test_the_local_server_of_no_protocol() -> None:
    async def main() -> None:
        async with local_server("parrot"):
            pytest.fail("there is nothing to serve")

    with pytest.raises(UsageError, match=r"^argument --protocol: invalid choice: 'parrot' \(choose from '?deepgram"):
        trio.run(main)


def test_a_query_that_is_wrong_here_is_told_where_it_may_be_right(url: str) -> None:
    said = json.loads(rejection(f"{url}?model_id=scribe").body or b"")["err_msg"]
    assert said.startswith("encoding is missing")
    assert "; this is /v1/listen, others: /v2/listen (flux), " in said
    assert "/v1/speech-to-text/realtime (elevenlabs)" in said


def descendants(pid: int) -> list[int]:
    # A child belongs to the thread that started it.
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for text in lists for child in text.split()]
    return [*children, *(each for child in children for each in descendants(child))]


def assert_ended(pidfds: Sequence[int]) -> None:
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 20)[0], "a process was left behind"
        os.close(pidfd)


@linux_only
def test_no_process_is_left_when_the_parent_is_killed() -> None:
    program = """
import trio, pathlib
from hearout.sttserver.local import local_server
async def main():
    async with local_server():
        print("up", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        watched = [os.pidfd_open(pid) for pid in descendants(parent.pid)]
        parent.kill()
    assert len(watched) == 1  # the server
    assert_ended(watched)


def test_a_parent_s_server_ends_with_it_and_not_by_a_signal_to_all(tmp_path: Path) -> None:
    """systemd sends one to every process of a service: the last words are asked for after that."""
    script = tmp_path / "call.jsonl"
    script.write_text('{"hearout_trace":1,"stt":"deepgram","channels":1,"vad":false}\n')
    command = [*COMMAND, "--until-eof", "--script", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        url = server.stdout.readline().decode().strip().removeprefix("listening on ")
        server.send_signal(signal.SIGTERM)
        assert rejection(f"{url}?encoding=morse").status_code == 400
        server.stdin.close()
        assert server.wait() == 0


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_server_is_stopped(number: signal.Signals) -> None:
    command = [*COMMAND, "--protocol", "deepgram"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        ready = server.stdout.readline()
        os.killpg(server.pid, number)  # as the terminal does at Ctrl-C
        errors = server.stderr.read()
    assert ready.startswith(b"listening")
    assert errors == b""
    assert server.returncode == (-9 if number == signal.SIGKILL else 0)
