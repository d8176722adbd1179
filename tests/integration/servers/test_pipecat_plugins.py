"""Pipecat's own services for what the local server speaks, with it. Run by ``run_pipecat.py``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from pipecat.frames.frames import STTUpdateSettingsFrame, VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.services.assemblyai.stt import AssemblyAISTTService
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.elevenlabs.stt import ElevenLabsRealtimeSTTService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.services.soniox.stt import SonioxSTTService
from pipecat.services.stt_service import STTService
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies, UserTurnStrategies

from hearout_policies.marks import spoken
from tests.integration.pipecat.conversation import Conversation, converse
from tests.integration.pipecat.kit import CALL_ME_BACK, LEAD, WORDS, Script, moved, one_turn, run
from tests.integration.servers.flux_messages import turn_info
from tests.integration.servers.order import RATE, SENTENCES, TURNS, order, order_server, pairs, words_wrong
from tests.kit.serving import playing

# Deepgram's SDK uses the old ways of its websocket library.
pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:connect:DeprecationWarning"),
]

COMMITTED = "committed_transcript"
# At its end Pipecat's service sends what is left of 50 ms of audio. To AssemblyAI's documents, and so to the server,
# that is error 3007, and the service knows no errors.
LEFT_OVER = "Unknown error occurred: Unknown message type: Error"
NOTICED = 0.2  # seconds after which a voice detection notices


@pytest.fixture(autouse=True)
def warnings_only() -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")


def deepgram(server: str, **options: Any) -> DeepgramSTTService:
    return DeepgramSTTService(api_key="any", base_url=f"ws://{server}", **options)


def flux(server: str, **options: Any) -> DeepgramFluxSTTService:
    return DeepgramFluxSTTService(api_key="any", url=f"ws://{server}/v2/listen", **options)


def soniox(server: str, **options: Any) -> SonioxSTTService:
    return SonioxSTTService(api_key="any", url=f"ws://{server}/transcribe-websocket", **options)


class PlainElevenLabs(ElevenLabsRealtimeSTTService):
    """Without TLS, which Pipecat has no option for."""

    async def _websocket_connect(self, uri: str, **kwargs: Any) -> Any:
        return await super()._websocket_connect(uri.replace("wss://", "ws://"), **kwargs)


def elevenlabs(server: str, **options: Any) -> ElevenLabsRealtimeSTTService:
    return PlainElevenLabs(api_key="any", base_url=server, **options)


def openai(server: str) -> OpenAIRealtimeSTTService:
    return OpenAIRealtimeSTTService(api_key="any", base_url=f"ws://{server}/v1/realtime")


def assemblyai(server: str, **options: Any) -> AssemblyAISTTService:
    return AssemblyAISTTService(api_key="any", api_endpoint_base_url=f"ws://{server}/v3/ws", **options)


def by_voice() -> LLMUserAggregatorParams:
    """Turns by voice detection, which the tests play."""
    return LLMUserAggregatorParams(user_turn_strategies=UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy()]))


def by_service() -> LLMUserAggregatorParams:
    """Turns by what the service proposes."""
    return LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())


async def voice(call: Conversation, kind: str) -> None:
    start = kind == "start"
    await call.worker.queue_frame(
        VADUserStartedSpeakingFrame(start_secs=NOTICED) if start else VADUserStoppedSpeakingFrame(stop_secs=NOTICED)
    )


async def say_call_me_back(call: Conversation) -> None:
    """And let the voice detection notice."""
    await call.quiet(LEAD)
    await voice(call, "start")
    await call.say(CALL_ME_BACK)
    await call.quiet(NOTICED)
    await voice(call, "stop")


# ---- scripts


def test_deepgram_is_asked_to_finalize() -> None:
    script = Script()
    script.result(LEAD + 0.5, moved(WORDS[:1], LEAD))
    script.answer(LEAD + 0.9, moved(WORDS, LEAD))

    async def main() -> None:
        with playing(*script.lines) as server:
            async with converse(deepgram(server), user=by_voice()) as call:
                await say_call_me_back(call)
                await call.quiet_until("turn")
        assert call.texts("interim") == ["call"]
        assert call.texts("final") == call.texts("turn") == ["call me back"]
        assert call.finals[0].finalized
        assert not call.errors

    run(main)


def token(text: str, final: bool = False) -> dict[str, Any]:
    return {"text": text, "is_final": final}


def test_soniox_is_asked_to_finalize() -> None:
    final = [token("call", True), token(" me", True), token(" back", True), token("<fin>", True)]
    lines = [
        {"t": LEAD + 0.5, "stt": {"tokens": [token("call")]}},
        {"on": "finalize", "after": 0.1, "stt": {"tokens": final}},
    ]

    async def main() -> None:
        with playing(*lines, stt="soniox") as server:
            async with converse(soniox(server), user=by_voice()) as call:
                await say_call_me_back(call)
                await call.quiet_until("turn")
        assert call.texts("interim") == ["call"]
        assert call.texts("final") == call.texts("turn") == ["call me back"]
        assert not call.errors

    run(main)


@pytest.mark.parametrize("times", [False, True])
def test_elevenlabs_is_asked_to_commit(times: bool) -> None:
    def said(kind: str) -> dict[str, Any]:
        return {"message_type": kind, "text": "call me back"}

    lines: list[dict[str, Any]] = [
        {"t": LEAD + 0.5, "stt": {"message_type": "partial_transcript", "text": "call"}},
        {"on": "finalize", "after": 0.1, "stt": said("committed_transcript_with_timestamps" if times else COMMITTED)},
    ]

    async def main() -> None:
        with playing(*lines, stt="elevenlabs") as server:
            async with converse(elevenlabs(server, include_timestamps=times), user=by_voice()) as call:
                await say_call_me_back(call)
                await call.quiet_until("turn")
        assert call.texts("interim") == ["call"]
        assert call.texts("final") == call.texts("turn") == ["call me back"]
        assert call.finals[0].finalized
        assert not call.errors

    run(main)


def test_assemblyai_is_asked_to_force_an_endpoint() -> None:
    def turn(text: str, ends: bool) -> dict[str, Any]:
        times = [
            {"text": word, "start": 300, "end": 600, "word_is_final": ends, "confidence": 0.9} for word in text.split()
        ]
        flags = {"end_of_turn": ends, "turn_is_formatted": ends, "end_of_turn_confidence": 0.5}
        return {"type": "Turn", "turn_order": 0, "transcript": text, "utterance": text, "words": times, **flags}

    lines = [
        {"t": LEAD + 0.5, "stt": turn("call", False)},
        {"on": "finalize", "after": 0.1, "stt": turn("call me back", True)},
    ]

    async def main() -> None:
        with playing(*lines, stt="assemblyai") as server:
            async with converse(assemblyai(server), user=by_voice()) as call:
                await say_call_me_back(call)
                await call.quiet_until("turn")
        assert call.texts("interim") == ["call"]
        assert call.texts("final") == call.texts("turn") == ["call me back"]
        assert call.finals[0].finalized
        assert set(call.errors) <= {LEFT_OVER}

    run(main)


def test_elevenlabs_tells_a_wrong_key() -> None:
    async def main() -> None:
        with playing(stt="elevenlabs", token="right") as server:
            async with converse(elevenlabs(server), user=by_voice()) as call:
                await call.quiet(0.5)
        assert "You must be authenticated to use this endpoint." in call.errors[0]

    run(main)


def test_flux_ends_turns_itself() -> None:
    lines = [
        turn_info(0.4, "StartOfTurn", "call", 1),
        turn_info(0.5, "Update", "call me", 2),
        turn_info(0.6, "EagerEndOfTurn", "call me", 3),
        turn_info(0.7, "TurnResumed", "call me back", 4),
        turn_info(0.9, "EagerEndOfTurn", "call me back", 5),
        turn_info(1.1, "EndOfTurn", "call me back", 6),
    ]

    async def main() -> None:
        with playing(*lines, stt="flux") as server:
            async with converse(flux(server, enable_eager_end_of_turn=True), user=by_service()) as call:
                await call.quiet(1.2)
                await call.quiet_until("turn")
        names = [name for name, _ in call.events]
        spoken = [name for name in names if name in ("start proposed", "predicted", "resumed", "final")]
        assert spoken == ["start proposed", "predicted", "resumed", "predicted", "final"]
        assert call.texts("final") == call.texts("turn") == ["call me back"]
        assert call.count("stop proposed") == 1
        assert not call.errors

    run(main)


@pytest.mark.parametrize(("make", "stt"), [(deepgram, "deepgram"), (soniox, "soniox")])
def test_keep_alives_keep_a_muted_line_open(make: Callable[..., STTService], stt: str) -> None:
    # Both services have something to send every 5 s.
    script = Script()
    one_turn(script, 0.0)
    lines = script.lines if stt == "deepgram" else [{"t": 0.5, "stt": {"tokens": [token("hi", True), token("<fin>")]}}]

    async def main() -> None:
        with playing(*lines, stt=stt, idle_timeout=6.0) as server:
            async with converse(make(server), user=by_voice()) as call:
                await call.no_audio(11.5)
                assert not call.count("final")
                await call.quiet_until("final" if stt == "deepgram" else "interim")
        assert not call.errors

    run(main)


@pytest.mark.parametrize(("make", "stt"), [(deepgram, "deepgram"), (flux, "flux"), (soniox, "soniox")])
def test_a_refused_key_is_told(make: Callable[..., STTService], stt: str) -> None:
    async def main() -> None:
        with playing(stt=stt, refuse=401) as server:
            stt_service = make(server)
            async with converse(stt_service, user=by_voice()) as call:
                await call.quiet(0.5)
        assert "401" in call.errors[0]
        assert not stt_service.is_usable

    run(main)


# ---- the recogniser


async def say_the_order(call: Conversation) -> None:
    """The sample in real time; the voice detection notices its turns."""
    audio = order()
    said = 0
    for turn in TURNS:
        for kind in ("start", "end"):
            until = round((turn[kind] + NOTICED) * RATE) * 2
            await call.say(audio[said:until])
            said = until
            await voice(call, kind)
    await call.say(audio[said:])
    await call.quiet(0.2)


def test_the_order_is_heard(tmp_path: Path) -> None:
    services: dict[str, tuple[Callable[[str], STTService], Callable[[], LLMUserAggregatorParams]]] = {
        "deepgram": (lambda server: deepgram(server, settings=DeepgramSTTService.Settings(endpointing=300)), by_voice),
        "flux": (lambda server: flux(server, enable_eager_end_of_turn=True), by_service),
        "soniox": (soniox, by_voice),
        "assemblyai": (
            lambda server: assemblyai(server, settings=AssemblyAISTTService.Settings(min_turn_silence=900)),
            by_voice,
        ),
        "elevenlabs": (elevenlabs, by_voice),
        "openai": (openai, by_voice),
        "elevenlabs's times": (lambda server: elevenlabs(server, include_timestamps=True), by_voice),
        "soniox's turns": (lambda server: soniox(server, vad_force_turn_endpoint=False), by_service),
    }
    heard: dict[str, Conversation] = {}

    async def listen(name: str, server: str) -> None:
        make, user = services[name]
        async with converse(make(server), user=user()) as call:
            heard[name] = call
            await say_the_order(call)

    async def listen_all(names: Sequence[str], server: str) -> None:
        await asyncio.gather(*(listen(name, server) for name in names))

    with order_server() as server:
        for names in pairs(services):
            run(partial(listen_all, names, server))
    for name, call in heard.items():
        finals = [text.strip() for text in call.texts("final")]  # Soniox's tokens carry their spaces
        assert words_wrong(finals) <= 2, (name, finals)
        assert call.texts("turn")[-2:] == finals[-2:], name
        # The pause in the first sentence ends a turn where no model knows better.
        assert len(TURNS) <= call.count("turn") <= len(TURNS) + 1, name
        assert call.count("started") == call.count("stopped") == call.count("turn"), name
        assert call.count("interim") >= len(TURNS), name
        assert set(call.errors) <= ({LEFT_OVER} if name == "assemblyai" else set()), name
    assert heard["flux"].count("predicted") >= len(TURNS)


def test_flux_takes_new_settings_and_silence_ends_a_turn(tmp_path: Path) -> None:
    async def main() -> None:
        with order_server() as server:
            stt = flux(server, settings=DeepgramFluxSTTService.Settings(eager_eot_threshold=0.4, keyterm=["water"]))
            async with converse(stt, user=by_service()) as call:
                await call.quiet(0.2)
                for settings in (
                    {"eot_threshold": 0.6},
                    {"eager_eot_threshold": None},
                    {"keyterm": ["coffee"]},
                    {"eot_timeout_ms": 1500},
                ):
                    delta = DeepgramFluxSTTService.Settings(**settings)
                    await call.worker.queue_frame(STTUpdateSettingsFrame(delta=delta))
                audio = order()
                await call.say(audio[round(TURNS[2]["start"] * RATE - 4800) * 2 : round(TURNS[2]["end"] * RATE) * 2])
                await call.quiet_until("started")
                await call.no_audio(3.0)  # the service sends silence instead, as a turn is open
        assert [spoken(text) for text in call.texts("turn")] == SENTENCES[2:]
        assert not call.errors

    run(main)
