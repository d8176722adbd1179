"""The voice detection that is asked for is the one that listens, through whatever hearout is used.

Those for Pipecat and LiveKit show it of theirs (``tests/integration``).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import soundfile
import trio
from trio_websocket import open_websocket_url

from hearout import Deepgram, FileSource, TurnStarted, aio, open_session, silero_gate
from hearout.cli.main import main
from hearout.models.known import MODELS, find
from tests.kit.callers import heard
from tests.kit.commandline import COMMAND, environment
from tests.kit.paths import SAMPLES
from tests.kit.serving import playing

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(find(MODELS["silero-vad"]) is None, reason="hearout models get silero-vad")

CLIP = SAMPLES / "order.flac"
BY_WEBRTC, BY_SILERO = 0.5, 0.576  # when its first turn begins


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with playing(heard(4.4, "a large coffee", 0.6, 3.9)) as address:
        yield f"ws://{address}/v1/listen"


async def in_trio(url: str, **options: Any) -> float:
    async with open_session(FileSource(CLIP), Deepgram("any", url), realtime=False, **options) as session:
        starts = [event.audio_start async for event in session if isinstance(event, TurnStarted)]
    return starts[0]


async def in_asyncio(url: str, **options: Any) -> float:
    async with aio.open_session(FileSource(CLIP), Deepgram("any", url), realtime=False, **options) as session:
        starts = [event.audio_start async for event in session if isinstance(event, TurnStarted)]
    return starts[0]


@pytest.mark.parametrize(
    "hear",
    [
        lambda url, **options: trio.run(lambda: in_trio(url, **options)),
        lambda url, **options: asyncio.run(in_asyncio(url, **options)),
    ],
    ids=["trio", "asyncio"],
)
def test_in_python(url: str, hear: Callable[..., float]) -> None:
    assert hear(url) == pytest.approx(BY_WEBRTC)
    assert hear(url, vad=silero_gate) == pytest.approx(BY_SILERO)


@pytest.mark.parametrize(
    ("options", "start"), [([], BY_WEBRTC), (["--vad", "webrtc"], BY_WEBRTC), (["--vad", "silero"], BY_SILERO)]
)
def test_listen(url: str, options: list[str], start: float, capsys: pytest.CaptureFixture[str]) -> None:
    provider = ["--stt", "deepgram", "--url", url, "--speed", "max"]
    assert main(["listen", str(CLIP), "--json", *provider, *options]) == 0
    assert first_start(map(json.loads, capsys.readouterr().out.splitlines())) == pytest.approx(start, abs=0.001)


def first_start(events: Iterator[Any]) -> float:
    return next(float(event["audio_start"]) for event in events if event["type"] == "turn_started")


def test_serve(url: str) -> None:
    samples, rate = soundfile.read(CLIP, dtype="int16", frames=32_000)

    async def call(address: str) -> float:
        async with open_websocket_url(address) as websocket:
            await websocket.send_message(json.dumps({"sample_rate": rate}))
            for at in range(0, len(samples), 1600):
                await websocket.send_message(samples[at : at + 1600].tobytes())
            while (event := json.loads(await websocket.get_message()))["type"] != "turn_started":
                pass
            return float(event["audio_start"])

    command = [*COMMAND, "serve", "--port", "0", "--stt", "deepgram", "--url", url, "--vad", "silero"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        start = trio.run(call, process.stdout.readline().removeprefix("listening on ").strip())
        process.terminate()
    assert start == pytest.approx(BY_SILERO, abs=0.001)
