"""AssemblyAI's protocol, as its own Python client and ours see it, and its rules that no client breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import soundfile

from hearout.sttserver.assemblyai.options import parse_query
from hearout.sttserver.assemblyai.stream import AssemblyAIStream
from hearout.sttserver.steps import Close, Refused, Send
from tests.kit.paths import DATA
from tests.kit.serving import playing, serving

CLIP, RATE = soundfile.read(DATA / "two_sentences.flac", dtype="int16")
SENTENCES = ["i would like to cancel my appointment", "could you repeat that please"]
BLOCKS = [CLIP[at : at + RATE // 10].tobytes() for at in range(0, len(CLIP), RATE // 10)]
USUAL = "speech_model=universal-streaming-english&sample_rate=16000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving() as address:
        yield address


def converse(server: str, act: Callable[[Any], Any], key: str = "any", **options: Any) -> list[Any]:
    """All events that AssemblyAI's asynchronous client gets, errors among them."""
    from assemblyai.streaming import v3

    async def main() -> list[Any]:
        events: list[Any] = []

        async def heard(client: Any, event: Any) -> None:
            events.append(event)

        client = v3.AsyncRealTimeTranscriber(v3.RealTimeTranscriberOptions(api_host=f"ws://{server}", api_key=key))
        for kind in v3.RealTimeEvents:
            client.on(kind, heard)
        usual: dict[str, Any] = {"sample_rate": RATE, "speech_model": v3.SpeechModel.universal_streaming_english}
        await client.connect(v3.RealTimeParameters(**(usual | options)))
        await act(client)
        await client.disconnect(terminate=True)
        return events

    return asyncio.run(asyncio.wait_for(main(), 60))


async def say_all(client: Any) -> None:
    for block in BLOCKS:
        await client.stream(block if len(block) >= RATE // 10 else block.ljust(RATE // 10, b"\0"))


def turns(events: list[Any]) -> list[Any]:
    return [event for event in events if type(event).__name__ == "TurnEvent"]


def test_turns_as_its_client_hears_them(server: str) -> None:
    events = converse(server, say_all)
    assert [type(event).__name__ for event in (events[0], events[-1])] == ["BeginEvent", "TerminationEvent"]
    assert events[0].configuration.model == "universal-streaming-english"
    ends = [event for event in turns(events) if event.end_of_turn]
    assert [event.transcript for event in ends] == SENTENCES
    assert [event.turn_order for event in ends] == [0, 1]
    assert all(word.word_is_final for event in ends for word in event.words)
    assert any(event.words and not event.end_of_turn for event in turns(events)), "results before the end"
    assert events[-1].audio_duration_seconds == 6


def test_later_models_tell_when_speech_starts(server: str) -> None:
    from assemblyai.streaming.v3 import SpeechModel

    told = [type(event).__name__ for event in converse(server, say_all, speech_model=SpeechModel.u3_rt_pro)]
    spoken = [kind for kind, before in zip(told[1:-1], told, strict=False) if kind != before]
    assert spoken == ["SpeechStartedEvent", "TurnEvent"] * 2


def test_a_formatted_turn_comes_twice(server: str) -> None:
    ends = [event for event in turns(converse(server, say_all, format_turns=True)) if event.end_of_turn]
    assert [(event.turn_order, event.turn_is_formatted) for event in ends] == [
        (0, False),
        (0, True),
        (1, False),
        (1, True),
    ]
    assert [event.transcript for event in ends if event.turn_is_formatted] == [
        "I would like to cancel my appointment.",
        "Could you repeat that please?",
    ]


def test_a_forced_end_and_new_parameters(server: str) -> None:
    from assemblyai.streaming.v3 import RealTimeSessionParameters

    async def act(client: Any) -> None:
        await client.set_params(RealTimeSessionParameters(max_turn_silence=60_000))
        for block in BLOCKS[:28]:
            await client.stream(block)
        await client.force_endpoint()
        await client.keep_alive()

    events = converse(server, act, end_of_turn_confidence_threshold=1.0)
    ends = [event for event in turns(events) if event.end_of_turn]
    assert [event.transcript for event in ends] == SENTENCES[:1]


def test_silence_has_heartbeats(server: str) -> None:
    async def act(client: Any) -> None:
        for _ in range(11):
            await client.stream(bytes(2 * RATE))

    events = converse(server, act, session_heartbeat=True)
    beats = [event.total_audio_received_ms for event in events if type(event).__name__ == "HeartbeatEvent"]
    assert beats == [5000, 10000]
    assert not turns(events)


def test_what_is_too_short_is_error_3007(server: str) -> None:
    async def act(client: Any) -> None:
        await client.stream(bytes(2 * RATE // 25))

    assert [event.code for event in converse(server, act) if hasattr(event, "code")] == [3007]


def test_a_wrong_key_is_refused(tmp_path: Any) -> None:
    with serving(token="right") as address:

        async def nothing(client: Any) -> None: ...

        (error,) = converse(address, nothing, key="wrong")
        assert error.code == 401
        assert [type(event).__name__ for event in converse(address, nothing, key="right")] == [
            "BeginEvent",
            "TerminationEvent",
        ]


def test_a_script() -> None:
    def said(text: str, order: int) -> dict[str, Any]:
        words = [{"start": 100, "end": 400, "text": text, "confidence": 0.9, "word_is_final": True}]
        return {"type": "Turn", "turn_order": order, "turn_is_formatted": False, "end_of_turn": True} | {
            "transcript": text,
            "end_of_turn_confidence": 1.0,
            "words": words,
        }

    lines: list[dict[str, Any]] = [
        {"t": 0.5, "stt": said("one", 0)},
        {"on": "finalize", "after": 0.0, "stt": said("two", 1)},
    ]

    async def act(client: Any) -> None:
        await client.stream(bytes(2 * RATE))
        await client.force_endpoint()

    with playing(*lines, stt="assemblyai") as address:
        assert [event.transcript for event in turns(converse(address, act))] == ["one", "two"]


# Rules that no client breaks


def stream(query: str = USUAL, **options: Any) -> AssemblyAIStream:
    return AssemblyAIStream(parse_query(query), "id", **options)


def error(steps: list[Any]) -> int:
    (said, close) = steps
    assert isinstance(said, Send)
    assert isinstance(close, Close)
    assert json.loads(said.text)["error_code"] == close.code
    return close.code


@pytest.mark.parametrize(
    "message", ["nonsense", "[]", '{"type":"terminate"}', '{"type":"UpdateConfiguration","max_turn_silence":-1}']
)
def test_commands_that_are_none(message: str) -> None:
    assert error(stream().receive(message)) == 3006


@pytest.mark.parametrize("seconds", [0.0, 0.02, 1.01])
def test_lengths_that_are_none(seconds: float) -> None:
    assert error(stream().receive(bytes(2 * round(seconds * RATE)))) == 3007


def test_who_says_nothing_is_sent_away_only_if_he_asked_for_it() -> None:
    assert stream().wait(300.0) == []
    assert error(stream(USUAL + "&inactivity_timeout=30").wait(30.0)) == 3008


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sample_rate=16000", "speech_model"),
        (f"{USUAL}&encoding=opus", "encoding"),
        ("speech_model=u3-rt-pro&sample_rate=9", "sample_rate"),
        (f"{USUAL}&end_of_turn_confidence_threshold=2", "end_of_turn_confidence_threshold"),
        (f"{USUAL}&format_turns=perhaps", "format_turns"),
    ],
)
def test_queries_that_are_refused(query: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_query(query)
    assert refused.value.status == 400
    assert says in refused.value.detail
