"""Soniox's and Flux's protocols, as their makers' own clients and ours see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trio

from hearout import open_session
from hearout.sttserver.flux.stream import confidence
from hearout.sttserver.soniox.options import SonioxError, parse_start
from hearout.sttserver.soniox.stream import SonioxStream
from hearout.sttserver.steps import Close, Send
from hearout.traces.reader import read_trace
from hearout.traces.records import AudioStall
from hearout.traces.replayer import replay
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout.transcribers.flux import Flux
from hearout.transcribers.openai_realtime import OpenAIRealtime
from hearout.transcribers.soniox import Soniox
from hearout_policies.events import TurnCompleted
from tests.kit.paths import DATA, ROOT
from tests.kit.scripted import in_memory, links
from tests.kit.serving import playing, serving

# Their websocket library says of its old ways, which they use, that they are deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:connect:DeprecationWarning"),
]

CLIP, RATE = soundfile.read(DATA / "two_sentences.flac", dtype="int16")
SENTENCES = ["I would like to cancel my appointment.", "Could you repeat that please?"]
BLOCKS = [CLIP[at : at + RATE // 10].tobytes() for at in range(0, len(CLIP), RATE // 10)]
SPEECH = bytes(3200)  # 0.1 s


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving() as address:
        yield address


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 60))


# ---- Soniox


def soniox_config(**options: Any) -> Any:
    from soniox.types import RealtimeSTTConfig

    usual: dict[str, Any] = {
        "model": "stt-rt-v5",
        "audio_format": "pcm_s16le",
        "sample_rate": 16000,
        "num_channels": 1,
    }
    return RealtimeSTTConfig(**(usual | options))


def soniox(server: str, act: Callable[[Any], Any], key: str = "any", **options: Any) -> list[Any]:
    """All events that Soniox's asynchronous client gets."""
    from soniox import AsyncSonioxClient

    async def main() -> list[Any]:
        client = AsyncSonioxClient(api_key=key, websocket_base_url=f"ws://{server}/transcribe-websocket")
        async with client.realtime.stt.connect(config=soniox_config(**options)) as session:
            acting = asyncio.create_task(act(session))
            events = [event async for event in session.receive_events()]
            await acting
            return events

    return run(main())  # type: ignore[no-any-return]


async def say_all(session: Any) -> None:
    for block in BLOCKS:
        await session.send_byte_chunk(block)
    await session.finish()


def final_text(events: list[Any]) -> str:
    return "".join(token.text for event in events for token in event.tokens if token.is_final)


def test_soniox_endpoints(server: str) -> None:
    events = soniox(server, say_all, enable_endpoint_detection=True, max_endpoint_delay_ms=500)
    assert final_text(events) == f"{SENTENCES[0]}<end> {SENTENCES[1]}<end>"
    assert events[-1].finished
    assert events[-1].total_audio_proc_ms == pytest.approx(len(CLIP) / RATE * 1000, abs=1)
    assert all(a.final_audio_proc_ms <= b.final_audio_proc_ms for a, b in pairwise(events))
    # The last word but one list of each sentence: a snapshot of what is not final yet.
    shown = ["".join(token.text for token in event.tokens if not token.is_final).strip() for event in events]
    assert any(text and SENTENCES[0].startswith(text) for text in shown)
    words = [token for event in events for token in event.tokens if token.is_final and token.start_ms is not None]
    assert words[0].start_ms == pytest.approx(500, abs=150)
    assert words[-1].end_ms == pytest.approx(5250, abs=150)


def test_soniox_finalize(server: str) -> None:
    async def act(session: Any) -> None:
        for block in BLOCKS[:30]:
            await session.send_byte_chunk(block)
        await session.keep_alive()
        await session.finalize()
        await session.finalize()
        await session.finish()

    assert final_text(soniox(server, act)) == f"{SENTENCES[0]}<fin><fin>"


def test_soniox_without_endpoint_detection_has_no_marker(server: str) -> None:
    assert final_text(soniox(server, say_all)) == " ".join(SENTENCES)


def test_soniox_the_synchronous_client(server: str) -> None:
    from soniox import SonioxClient

    client = SonioxClient(api_key="any", websocket_base_url=f"ws://{server}/transcribe-websocket")
    with client.realtime.stt.connect(config=soniox_config()) as session:
        for block in BLOCKS:
            session.send_byte_chunk(block)
        session.finish()
        assert final_text(list(session.receive_events())) == " ".join(SENTENCES)


def test_soniox_refusals() -> None:
    from soniox.errors import SonioxRealtimeError

    async def nothing(session: Any) -> None:
        pass

    with playing(stt="soniox", token="secret", idle_timeout=0.2) as server:
        with pytest.raises(SonioxRealtimeError) as caught:
            soniox(server, nothing, key="wrong")
        assert "401" in str(caught.value.__cause__)
        (error,) = soniox(server, nothing, key="secret", audio_format="auto", sample_rate=None, num_channels=None)
        assert (error.error_code, "audio_format" in error.error_message) == (400, True)
        (error,) = soniox(server, nothing, key="secret")
        assert error.error_code == 408
    with playing(stt="soniox", refuse=503) as server, pytest.raises(SonioxRealtimeError):
        soniox(server, nothing)


def test_what_a_client_of_soniox_says_at_length_is_cut() -> None:
    with pytest.raises(SonioxError) as caught:
        parse_start(start(audio_format="\x1b\x9b" + 60_000 * "x"))
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()


def test_soniox_by_a_script() -> None:
    def token(text: str, **fields: Any) -> dict[str, Any]:
        return {"text": text, "is_final": True} | fields

    lines: list[dict[str, Any]] = [
        {"t": 0.1, "stt": {"tokens": [token("Wh", is_final=False)]}},
        {"t": 0.2, "stt": {"tokens": [token("What"), token("'s")]}},
        {"on": "finalize", "after": 0.01, "stt": {"tokens": [token(" up"), token("<fin>")]}},
        {"t": 9.0, "stt": {"tokens": [token(" then")]}},
    ]

    async def act(session: Any) -> None:
        await session.send_byte_chunk(SPEECH + SPEECH)
        await session.finalize()
        await session.finish()

    with playing(*lines, stt="soniox") as server:
        events = soniox(server, act)
    assert final_text(events) == "What's up<fin> then"
    assert [event.finished for event in events] == [False, False, False, False, True]


# ---- Flux


def flux(server: str, act: Callable[[Any], Any], **options: Any) -> list[Any]:
    """All messages that the asynchronous client of Deepgram's SDK gets."""
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    http, ws = f"http://{server}", f"ws://{server}"
    environment = DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)
    options = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": 16000} | options

    async def main() -> list[Any]:
        client = AsyncDeepgramClient(api_key="any", environment=environment)
        async with client.listen.v2.connect(**options) as connection:
            acting = asyncio.create_task(act(connection))
            messages = [message async for message in connection]
            await acting
            return messages

    return run(main())  # type: ignore[no-any-return]


async def say_all_to_flux(connection: Any) -> None:
    for block in BLOCKS:
        await connection.send_media(block)
    await connection.send_close_stream()


def turns_of(messages: list[Any]) -> list[Any]:
    return [message for message in messages if message.type == "TurnInfo"]


def test_flux_turns(server: str) -> None:
    messages = flux(server, say_all_to_flux, eager_eot_threshold=0.4, eot_threshold=0.7)
    assert messages[0].type == "Connected"
    assert [message.sequence_id for message in messages] == list(range(len(messages)))
    turns = turns_of(messages)
    ends = [turn for turn in turns if turn.event == "EndOfTurn"]
    assert [turn.transcript for turn in ends] == SENTENCES
    assert [(turn.turn_index, turn.trigger) for turn in ends] == [(0, "model"), (1, "model")]
    assert ends[0].end_of_turn_confidence >= 0.7
    assert ends[0].audio_window_end == pytest.approx(2.6 + 0.6, abs=0.15)
    for index, sentence in enumerate(SENTENCES):
        events = [turn.event for turn in turns if turn.turn_index == index]
        spoken = [event for event in events if event != "Update"]
        assert spoken[0] == "StartOfTurn"
        # Eager ends and resumptions alternate; the last one before the end stands.
        assert spoken[1:-1] == ["EagerEndOfTurn", "TurnResumed"] * (len(spoken[1:-1]) // 2) + ["EagerEndOfTurn"]
        eager = [turn for turn in turns if turn.turn_index == index and turn.event == "EagerEndOfTurn"]
        assert eager[-1].transcript == sentence


def test_flux_without_eager_ends(server: str) -> None:
    events = {turn.event for turn in turns_of(flux(server, say_all_to_flux))}
    assert events == {"Update", "StartOfTurn", "EndOfTurn"}


def test_flux_forced_ends_and_configure(server: str) -> None:
    async def act(connection: Any) -> None:
        await connection.send_force_end_turn()
        await connection.send_configure({"type": "Configure", "thresholds": {"eot_threshold": 1.0}})
        await connection.send_configure({"type": "Configure", "thresholds": {"eager_eot_threshold": 2}})
        for block in BLOCKS[:33]:
            await connection.send_media(block)
        await connection.send_force_end_turn()
        for block in BLOCKS[33:]:
            await connection.send_media(block)
        await connection.send_close_stream()

    messages = flux(server, act)
    kinds = [message.type for message in messages if message.type != "TurnInfo"]
    assert kinds == ["Connected", "Warning", "ConfigureSuccess", "ConfigureFailure"]
    assert messages[2].thresholds.eot_threshold == 1.0
    turns = turns_of(messages)
    ((turn, trigger),) = [(turn.transcript, turn.trigger) for turn in turns if turn.event == "EndOfTurn"]
    assert (turn, trigger) == (SENTENCES[0], "manual")
    assert turns[-1].event == "Update"  # CloseStream ends no turn
    assert turns[-1].transcript.startswith("Could you repeat")


def test_flux_timeout(server: str) -> None:
    async def act(connection: Any) -> None:
        for block in [*BLOCKS[:33], *[np.zeros(RATE // 10, np.int16).tobytes()] * 10]:
            await connection.send_media(block)
        await connection.send_close_stream()

    ends = [turn for turn in turns_of(flux(server, act, eot_threshold=1.0, eot_timeout_ms=1500)) if turn.trigger]
    assert [(turn.transcript, turn.trigger) for turn in ends] == [(SENTENCES[0], "timeout")]


@pytest.mark.parametrize(
    "options",
    [{"model": "nova-3"}, {"eager_eot_threshold": 0.9, "eot_threshold": 0.6}, {"eot_timeout_ms": 100}],
)
def test_flux_refusals(server: str, options: dict[str, Any]) -> None:
    from deepgram.core.api_error import ApiError

    with pytest.raises(ApiError) as caught:
        flux(server, say_all_to_flux, **options)
    assert caught.value.status_code == 400


def test_flux_is_surer_the_longer_the_silence() -> None:
    sure = [confidence(tenths / 10) for tenths in range(60)]
    assert sure == sorted(sure)
    assert (sure[0], sure[-1]) == (0, 0.99)


# ---- our clients, with scripts


def playable(path: Path) -> bool:
    trace = read_trace(path)
    return not links(trace) and not any(isinstance(record, AudioStall) for record in trace.records)


@pytest.mark.parametrize(
    "path",
    [
        p
        for provider in ("assemblyai", "flux", "soniox")
        for p in sorted((ROOT / "tests").glob(f"cases/{provider}_*.jsonl"))
        if playable(p)
    ],
    ids=lambda path: path.stem,
)
def test_field_cases_in_real_time(path: Path, run_virtual: Callable[..., Any]) -> None:
    trace = read_trace(path)
    heard = run_virtual(in_memory, trace)
    expected = [turn.text for turn in replay(trace).outputs if isinstance(turn, TurnCompleted)]
    assert [turn.text for turn in heard] == expected


# ---- Soniox's rules that no client breaks


def soniox_stream(*messages: str | bytes, authorised: bool = False) -> list[Any]:
    """Error code or "open" after each message; then what the connection was closed with."""
    stream = SonioxStream("id", authorised, lambda key: key == "good")
    out: list[Any] = []
    for message in messages:
        steps = stream.receive(message)
        out += [json.loads(step.text).get("error_code") for step in steps if isinstance(step, Send)] or ["open"]
        out += [step.code for step in steps if isinstance(step, Close)]
    return out


def start(**fields: Any) -> str:
    known = {"model": "stt-rt-v5", "audio_format": "pcm_s16le", "sample_rate": 16000, "num_channels": 1}
    return json.dumps({name: value for name, value in (known | fields).items() if value is not None})


@pytest.mark.parametrize(
    ("authorised", "fields", "code"),
    [
        (False, {"api_key": "good"}, None),  # the old way
        (True, {}, None),
        (True, {"api_key": "good"}, 400),  # in both places
        (False, {"api_key": "bad"}, 401),
        (False, {}, 401),
        (True, {"api_key": 3}, 400),
        (True, {"model": None}, 400),
        (True, {"model": "nova-3"}, 400),
        (True, {"audio_format": "pcm_f64be"}, 400),
        (True, {"sample_rate": None}, 400),
        (True, {"sample_rate": True}, 400),
        (True, {"num_channels": 0}, 400),
        (True, {"max_endpoint_delay_ms": 499}, 400),
        (True, {"endpoint_sensitivity": 1.1}, 400),
        (True, {"endpoint_latency_adjustment_level": 4}, 400),
        (True, {"enable_endpoint_detection": "yes"}, 400),
    ],
)
def test_soniox_start_messages(authorised: bool, fields: dict[str, Any], code: int | None) -> None:
    expected = ["open"] if code is None else [code, 1000]
    assert soniox_stream(start(**fields), authorised=authorised) == expected


@pytest.mark.parametrize("bad", ["nonsense", "[" * 100_000, '{"type":"Finalize"}', "[]"])
def test_soniox_control_messages(bad: str) -> None:
    assert soniox_stream(bad, authorised=True) == [400, 1000]  # as a start message, too
    assert soniox_stream(start(), '{"type":"keepalive"}', bad, authorised=True) == ["open", "open", 400, 1000]
    assert soniox_stream(b"audio", authorised=True) == [400, 1000]


def test_soniox_knobs_turn_in_their_direction() -> None:
    def after(**fields: Any) -> float:
        value = parse_start(start(enable_endpoint_detection=True, **fields)).endpoint_after
        assert value is not None
        return value

    assert parse_start(start()).endpoint_after is None
    assert after(max_endpoint_delay_ms=500) == 0.5
    assert after(endpoint_latency_adjustment_level=3) < after(endpoint_latency_adjustment_level=1) < after()
    assert after(endpoint_sensitivity=1) < after() < after(endpoint_sensitivity=-1)


# ---- our clients, with the recogniser


@pytest.mark.parametrize(
    "transcriber",
    [
        lambda server: Soniox("any", url=f"ws://{server}/transcribe-websocket"),
        lambda server: Flux("any", url=f"ws://{server}/v2/listen", eager_eot_threshold=0.4),
        lambda server: Flux("any", url=f"ws://{server}/v2/listen", own_turns=True),
        lambda server: OpenAIRealtime("any", url=f"ws://{server}/v1/realtime?intent=transcription"),
        lambda server: OpenAIRealtime("any", url=f"ws://{server}/v1/realtime", wire_rate=16000, model="whisper-1"),
        lambda server: ElevenLabs("any", url=f"ws://{server}/v1/speech-to-text/realtime"),
        lambda server: AssemblyAI("any", url=f"ws://{server}/v3/ws"),
        lambda server: AssemblyAI("any", url=f"ws://{server}/v3/ws", own_turns=False, format_turns=False),
    ],
    ids=["soniox", "flux", "flux own_turns", "openai", "openai whisper", "elevenlabs", "assemblyai", "assemblyai ends"],
)
def test_our_clients_hear_the_clip(server: str, transcriber: Callable[[str], Any]) -> None:
    class Clip:
        sample_rate, channels = RATE, 1
        duration: float | None = None

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for block in BLOCKS:
                yield block

    async def main() -> list[str]:
        with trio.fail_after(60):
            async with open_session(Clip(), transcriber(server), realtime=False) as session:
                return [event.text async for event in session if isinstance(event, TurnCompleted)]

    # AssemblyAI's universal-streaming models write small letters without punctuation.
    assert [text.strip(".?").lower() for text in trio.run(main)] == [text[:-1].lower() for text in SENTENCES]
