"""Deepgram's own Python SDK against the local server: the snippet of docs/stt-server.md, and what goes wrong."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# The SDK imports websockets.legacy, which says that it is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")

HERE = Path(__file__).parent
CLIP = HERE / "data" / "two_sentences.flac"


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """HOST:PORT of a server that expects the sentences of the clip."""
    sentences = folder / "sentences.txt"
    sentences.write_text("i would like to cancel my appointment\ncould you repeat that please\n")
    command = [sys.executable, "-m", "turnwise.sttserver", "--port", "0", "--until-eof", "--sentences", str(sentences)]
    with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split("//")[1].split("/")[0]
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("sdk")) as address:
        yield address


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 60))


def client(server: str) -> Any:
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    http, ws = f"http://{server}", f"ws://{server}"
    environment = DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)
    return AsyncDeepgramClient(api_key="any", environment=environment)


def test_the_snippet_in_the_documentation(server: str) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (HERE.parent / "docs" / "stt-server.md").read_text(), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    messages = run(namespace["transcribe"](CLIP, server))

    assert [type(message).__name__ for message in messages[-2:]] == ["ListenV1Results", "ListenV1Metadata"]
    results = messages[:-1]
    finals = [message for message in results if message.is_final]
    assert [message.channel.alternatives[0].transcript for message in finals] == [
        "i would like to cancel my appointment",
        "could you repeat that please",
        "",
    ]
    assert [message.speech_final for message in finals] == [True, True, True]
    assert [message.from_finalize for message in finals] == [False, False, True]
    assert finals[0].channel.alternatives[0].words[-1].word == "appointment"
    assert any(not message.is_final and message.channel.alternatives[0].transcript for message in results)
    assert messages[-1].duration == pytest.approx(6.0, abs=0.1)


def test_every_kind_of_message_is_one_the_sdk_knows(server: str) -> None:
    import soundfile
    from deepgram.listen.v1.types import ListenV1Configure

    async def main() -> list[Any]:
        audio, rate = soundfile.read(CLIP, dtype="int16")
        async with client(server).listen.v1.connect(
            model="nova-3",
            encoding="linear16",
            sample_rate=rate,
            interim_results=True,
            vad_events=True,
            utterance_end_ms=1000,
            request_options={"additional_query_parameters": {"no_delay": "true", "filler_words": "true"}},
        ) as connection:
            await connection.send_keep_alive()
            await connection.send_media(audio.tobytes() + bytes(3 * rate * 2))
            await connection.send_configure(ListenV1Configure(type="Configure", keyterms=["turnwise"]))
            await connection.send_close_stream()
            return [message async for message in connection]

    kinds = [message.type for message in run(main())]
    assert set(kinds) == {"Results", "SpeechStarted", "UtteranceEnd", "ConfigureFailure", "Metadata"}
    assert kinds[-1] == "Metadata"


@pytest.mark.parametrize(("options", "status"), [({"encoding": "opus"}, 400), ({"sample_rate": 1}, 400)])
def test_a_refusal_reaches_the_application(server: str, options: dict[str, Any], status: int) -> None:
    from deepgram.core.api_error import ApiError

    async def main() -> None:
        async with client(server).listen.v1.connect(
            **({"model": "nova-3", "encoding": "linear16", "sample_rate": 16000} | options)
        ):
            pass

    with pytest.raises(ApiError) as caught:
        run(main())
    assert caught.value.status_code == status


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    from deepgram.core.api_error import ApiError

    async def main(server: str) -> None:
        async with client(server).listen.v1.connect(model="nova-3", encoding="linear16", sample_rate=16000):
            pass

    with serving(tmp_path, "--token", "secret") as server:
        with pytest.raises(ApiError) as caught:
            run(main(server))
        assert caught.value.status_code == 401
