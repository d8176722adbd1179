"""Deepgram's own Python SDK against the local server: the snippet of docs/stt-server.md, and what goes wrong."""

from __future__ import annotations

import asyncio
import queue
import re
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from hearout.sttserver.protocols import REFUSALS
from tests.kit.paths import DATA, DOCS
from tests.kit.serving import playing, serving

# The SDK imports websockets.legacy, which says that it is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")

CLIP = DATA / "two_sentences.flac"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving() as address:
        yield address


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 60))


def client(server: str, kind: str = "AsyncDeepgramClient") -> Any:
    import deepgram
    from deepgram.environment import DeepgramClientEnvironment

    http, ws = f"http://{server}", f"ws://{server}"
    environment = DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)
    return getattr(deepgram, kind)(api_key="any", environment=environment)


def test_the_snippet_in_the_documentation(server: str) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (DOCS / "stt-server.md").read_text(), re.DOTALL)
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
            await connection.send_configure(ListenV1Configure(type="Configure", keyterms=["hearout"]))
            await connection.send_close_stream()
            return [message async for message in connection]

    kinds = [message.type for message in run(main())]
    assert set(kinds) == {"Results", "SpeechStarted", "UtteranceEnd", "ConfigureFailure", "Metadata"}
    assert kinds[-1] == "Metadata"


@pytest.mark.parametrize("options", [{"encoding": "opus"}, {"sample_rate": 1}])
def test_bad_options_are_refused(server: str, options: dict[str, Any]) -> None:
    assert refusal(server, **options)[0] == 400


def test_a_wrong_key_is_refused() -> None:
    with playing(token="secret") as server:
        assert refusal(server)[0] == 401


# ---- the same with scripts: what the service would say is known to the letter


SPEECH = bytes(3200)  # 0.1 s


def results(text: str, start: float, end: float, *, channel: tuple[int, int] = (0, 1), **flags: bool) -> dict[str, Any]:
    words = [{"word": text, "start": start, "end": end, "confidence": 0.9}] if text else []
    return {
        "type": "Results",
        "channel_index": list(channel),
        "duration": end - start,
        "start": start,
        **flags,
        "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": words}]},
        "metadata": {"request_id": "r", "model_info": {"name": "m", "version": "1", "arch": "a"}, "model_uuid": "u"},
    }


def at(t: float, message: dict[str, Any]) -> dict[str, Any]:
    return {"t": t, "stt": message}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    return {"on": "finalize", "after": 0.01, "stt": message}


Seen = list[tuple[str, Any]]
Act = tuple[Any, ...]


def talk(server: str, kind: str, *acts: Act, **options: Any) -> Seen:
    """What an application sees through the events of the SDK's "async" or "sync" client.

    Each act is the name of a method and its arguments, or ("until", type of a message).
    """
    options = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16000} | options
    seen: Seen = []
    arrived: queue.Queue[str] = queue.Queue()

    def watch(connection: Any) -> None:
        from deepgram.core.events import EventType

        def heard(event: Any, data: Any) -> None:
            seen.append((event.value, data))
            arrived.put(event.value if event is not EventType.MESSAGE else getattr(data, "type", None) or "unknown")

        for event in EventType:
            connection.on(event, partial(heard, event))

    def wait(kind: str) -> None:
        while arrived.get(timeout=20) != kind:
            pass

    async def asynchronous() -> None:
        async with client(server).listen.v1.connect(**options) as connection:
            watch(connection)
            listening = asyncio.create_task(connection.start_listening())
            for method, *arguments in acts:
                if method == "until":
                    await asyncio.to_thread(wait, *arguments)
                else:
                    await getattr(connection, method)(*arguments)
            await listening

    def synchronous() -> None:
        with client(server, "DeepgramClient").listen.v1.connect(**options) as connection:
            watch(connection)
            listening = threading.Thread(target=connection.start_listening)
            listening.start()
            for method, *arguments in acts:
                if method == "until":
                    wait(*arguments)
                else:
                    getattr(connection, method)(*arguments)
            listening.join(20)
            assert not listening.is_alive()

    if kind == "async":
        run(asynchronous())
    else:
        synchronous()
    return seen


def shown(seen: Seen) -> list[Any]:
    """Texts of results, types of other messages, names of other events."""
    out: list[Any] = []
    for event, data in seen:
        if event != "message":
            out.append(event)
        elif data is None:
            out.append(None)
        else:
            out.append(data.channel.alternatives[0].transcript if data.type == "Results" else data.type)
    return out


def messages(seen: Seen) -> list[Any]:
    return [data for event, data in seen if event == "message"]


def refusal(server: str, kind: str = "async", **options: Any) -> tuple[int, dict[str, str]]:
    """Status and headers of a refused handshake."""
    from deepgram.core.api_error import ApiError
    from websockets.exceptions import InvalidStatus

    with pytest.raises((ApiError, InvalidStatus)) as caught:
        talk(server, kind, **options)
    error: Any = caught.value
    if kind == "async":
        # The SDK's own headers are those of the request; those of the response are where the error came from.
        status, headers = error.status_code, error.__context__.headers
    else:  # no ApiError: SDK 7.17 expects an exception here that the synchronous websocket never raises
        status, headers = error.response.status_code, error.response.headers
    return status, {name.lower(): value for name, value in headers.items()}


both_clients = pytest.mark.parametrize("kind", ["async", "sync"])


@both_clients
def test_a_conversation(kind: str) -> None:
    lines = [
        at(0.1, {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.04}),
        at(0.2, results("hello", 0.0, 0.2, is_final=False, speech_final=False, from_finalize=False)),
        at(0.3, results("hello", 0.0, 0.3, is_final=True, speech_final=True, from_finalize=False)),
        at(0.4, {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 0.3}),
        answer(results("world", 0.3, 0.5, is_final=True, speech_final=False, from_finalize=True)),
        at(9.0, results("tail", 0.5, 0.6, is_final=True)),
    ]
    with playing(*lines) as server:
        seen = talk(
            server,
            kind,
            ("send_keep_alive",),
            *[("send_media", SPEECH)] * 5,
            ("send_finalize",),
            ("until", "Results"),
            ("send_media", SPEECH),
            ("send_close_stream",),
        )
    assert shown(seen) == [
        "open", "SpeechStarted", "hello", "hello", "UtteranceEnd", "world", "tail", "Metadata", "close",
    ]  # fmt: skip
    started, _, final, end, answered, tail, metadata = messages(seen)
    assert (started.channel, started.timestamp, end.last_word_end) == ([0, 1], 0.04, 0.3)
    assert (final.is_final, final.speech_final, final.from_finalize) == (True, True, False)
    assert answered.from_finalize
    assert tail.speech_final is None  # absent, as with endpointing=false
    assert metadata.duration == pytest.approx(0.6)
    assert len(metadata.sha256) == 64


@both_clients
def test_two_channels_and_finalize_for_one(kind: str) -> None:
    from deepgram.listen.v1.types import ListenV1Finalize

    lines = [
        at(0.1, results("left", 0.0, 0.1, channel=(0, 2), is_final=True, speech_final=True)),
        at(0.1, results("right", 0.0, 0.1, channel=(1, 2), is_final=False, speech_final=False)),
        answer(results("right", 0.0, 0.1, channel=(1, 2), is_final=True, from_finalize=True)),
    ]
    with playing(*lines, channels=2) as server:
        seen = talk(
            server,
            kind,
            ("send_media", bytes(2 * len(SPEECH))),
            ("send_finalize", ListenV1Finalize.model_validate({"type": "Finalize", "channel": 1})),
            ("send_close_stream",),
            channels=2,
            multichannel=True,
        )
    *found, metadata = messages(seen)
    assert [(result.channel_index, result.from_finalize) for result in found] == [
        ([0, 2], None),
        ([1, 2], None),
        ([1, 2], True),
    ]
    assert metadata.channels == 2


@both_clients
@pytest.mark.parametrize("status", [400, 401, 402, 403, 429, 500, 503])
def test_a_refusal_reaches_the_application(kind: str, status: int) -> None:
    with playing(refuse=status) as server:
        refused, headers = refusal(server, kind)
    assert refused == status
    assert headers["dg-error"] == REFUSALS[status][1]
    assert headers["dg-request-id"]


@both_clients
def test_a_quiet_client_is_sent_away(kind: str) -> None:
    with playing(idle_timeout=0.2) as server:
        seen = talk(server, kind, ("send_media", SPEECH))
    assert shown(seen) == ["open", "Metadata", "error", "close"]
    assert messages(seen)[0].sha256 == "incomplete"
    ((_, error),) = [entry for entry in seen if entry[0] == "error"]
    assert error.rcvd.code == 1011
    assert error.rcvd.reason.endswith("net0001")


@both_clients
def test_a_break_is_an_error(kind: str) -> None:
    with playing(at(0.1, results("a", 0.0, 0.1)), {"t": 0.2, "link": "lost"}) as server:
        seen = talk(server, kind, ("send_media", SPEECH), ("send_media", SPEECH))
    assert shown(seen) == ["open", "a", "error", "close"]


@both_clients
def test_messages_the_sdk_does_not_know_do_no_harm(kind: str) -> None:
    empty = results("", 0.0, 0.1, is_final=True) | {"channel": {"alternatives": []}}
    with playing(at(0.1, {"type": "FutureEvent", "a": 1}), at(0.1, empty), at(0.2, results("on", 0.1, 0.2))) as server:
        seen = talk(server, kind, ("send_media", SPEECH), ("send_media", SPEECH), ("send_close_stream",))
    unknown, nothing, on, _ = messages(seen)
    assert unknown is None
    assert nothing.channel.alternatives == []
    assert on.channel.alternatives[0].transcript == "on"
    assert seen[-1][0] == "close"


@both_clients
def test_what_the_server_does_not_know_is_an_error_message(kind: str) -> None:
    from deepgram.listen.v1.types import ListenV1Finalize

    with playing() as server:
        seen = talk(
            server,
            kind,
            ("send_finalize", ListenV1Finalize.model_validate({"type": "Finalize", "channel": 5})),
            ("send_close_stream",),
        )
    error, _ = messages(seen)
    assert (error.type, error.variant) == ("Error", "SchemaError")
    assert shown(seen)[-1] == "close"
