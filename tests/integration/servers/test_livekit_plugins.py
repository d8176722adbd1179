"""LiveKit's own plugins for what the local server speaks, with it. Run by ``run_livekit.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, APIConnectionError, APIStatusError, StopResponse, llm, stt
from livekit.agents.types import APIConnectOptions
from livekit.plugins import assemblyai, deepgram, elevenlabs, soniox

from tests.integration.livekit.kit import Line, result, run, words
from tests.integration.servers.flux_messages import turn_info
from tests.integration.servers.order import RATE, TURNS, order, order_server, pairs, words_wrong
from tests.kit.serving import playing

Type = stt.SpeechEventType
BLOCK = RATE // 50
ONCE = APIConnectOptions(max_retry=0, timeout=5.0)

Make = Callable[[str, aiohttp.ClientSession], stt.STT]


def v1(server: str, http: aiohttp.ClientSession, **options: Any) -> deepgram.STT:
    return deepgram.STT(api_key="any", base_url=f"http://{server}/v1/listen", http_session=http, **options)


def flux(server: str, http: aiohttp.ClientSession, **options: Any) -> deepgram.STTv2:
    return deepgram.STTv2(api_key="any", base_url=f"ws://{server}/v2/listen", http_session=http, **options)


def soniox_(server: str, http: aiohttp.ClientSession, **options: Any) -> soniox.STT:
    return soniox.STT(
        api_key="any",
        base_url=f"ws://{server}/transcribe-websocket",
        http_session=http,
        params=soniox.STTOptions(**options),
    )


def scribe(server: str, http: aiohttp.ClientSession, **options: Any) -> elevenlabs.STT:
    usual = {"model": "scribe_v2_realtime", "include_timestamps": True}
    return elevenlabs.STT(api_key="any", base_url=f"http://{server}/v1", http_session=http, **(usual | options))


def assembly(server: str, http: aiohttp.ClientSession, **options: Any) -> assemblyai.STT:
    return assemblyai.STT(api_key="any", base_url=f"ws://{server}", http_session=http, **options)


@dataclass
class Heard:
    """A stream of a plugin, and what it says."""

    stream: stt.RecognizeStream
    events: list[stt.SpeechEvent] = field(default_factory=list)

    async def say(self, audio: bytes) -> None:
        """In real time."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for at in range(0, len(audio), 2 * BLOCK):
            block = audio[at : at + 2 * BLOCK].ljust(2 * BLOCK, b"\0")
            due += 0.02
            await asyncio.sleep(due - loop.time())
            self.stream.push_frame(rtc.AudioFrame(block, RATE, 1, BLOCK))

    async def quiet(self, seconds: float) -> None:
        await self.say(bytes(round(seconds * RATE) * 2))

    def texts(self, kind: stt.SpeechEventType) -> list[str]:
        return [event.alternatives[0].text.strip() for event in self.events if event.type == kind]

    def kinds(self) -> list[stt.SpeechEventType]:
        """Of the events, each once where it was repeated; without those about the bill."""
        kinds = [event.type for event in self.events if event.type != Type.RECOGNITION_USAGE]
        return [kind for kind, last in zip(kinds, [None, *kinds], strict=False) if kind != last]


@asynccontextmanager
async def listening(make: Make, server: str, *, ends: bool = True) -> AsyncIterator[Heard]:
    """A stream for the length of a block, and to its end unless the plugin has none (``ends``)."""
    async with aiohttp.ClientSession() as http, make(server, http).stream(conn_options=ONCE) as stream:
        heard = Heard(stream)

        async def collect() -> None:
            async for event in stream:
                heard.events.append(event)

        collecting = asyncio.create_task(collect())
        try:
            yield heard
            if ends:
                stream.end_input()
                # The Deepgram plugin waits until its next KeepAlive would be due.
                await asyncio.wait_for(asyncio.shield(collecting), 10.0)
        finally:
            collecting.cancel()
            await asyncio.wait([collecting])
        if not collecting.cancelled():
            collecting.result()


# ---- scripts


def deepgram_result(t: float, spoken: Sequence[dict[str, Any]], **flags: bool) -> dict[str, Any]:
    confident = [word | {"confidence": 0.9} for word in spoken]
    return {"t": t, "stt": result(confident, 0.0, t, **flags) | {"metadata": {"request_id": "id"}}}


YES = words("yes please", 0.3, 0.8)


def test_deepgram_finalizes_when_flushed() -> None:
    answer = deepgram_result(1.0, YES, is_final=True, speech_final=True, from_finalize=True)
    lines = [
        {"t": 0.4, "stt": {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.3}},
        deepgram_result(0.6, YES[:1]),
        {"on": "finalize", "after": 0.1, "stt": answer["stt"]},
    ]

    async def main() -> Heard:
        with playing(*lines) as server:
            async with listening(v1, server) as heard:
                await heard.quiet(1.0)
                assert heard.texts(Type.INTERIM_TRANSCRIPT) == ["yes"]
                heard.stream.flush()
                await heard.quiet(0.3)
                assert heard.texts(Type.FINAL_TRANSCRIPT) == ["yes please"]
        return heard

    turn = [Type.START_OF_SPEECH, Type.INTERIM_TRANSCRIPT, Type.FINAL_TRANSCRIPT, Type.END_OF_SPEECH]
    assert run(main).kinds() == turn


def test_flux_ends_turns_itself() -> None:
    lines = [
        turn_info(0.4, "StartOfTurn", "yes", 1),
        turn_info(0.5, "EagerEndOfTurn", "yes", 2),
        turn_info(0.6, "TurnResumed", "yes please", 3),
        turn_info(0.8, "EndOfTurn", "yes please", 4),
    ]

    async def main() -> Heard:
        with playing(*lines, stt="flux") as server:
            async with listening(flux, server) as heard:
                await heard.quiet(1.0)
        return heard

    heard = run(main)
    assert heard.kinds() == [
        Type.START_OF_SPEECH,
        Type.INTERIM_TRANSCRIPT,
        Type.PREFLIGHT_TRANSCRIPT,
        Type.INTERIM_TRANSCRIPT,
        Type.FINAL_TRANSCRIPT,
        Type.END_OF_SPEECH,
    ]
    assert heard.texts(Type.FINAL_TRANSCRIPT) == ["yes please"]


def test_flux_ends_the_turns_of_a_session() -> None:
    lines = [turn_info(0.4, "StartOfTurn", "yes", 1), turn_info(0.8, "EndOfTurn", "yes please", 2)]
    turns: list[str] = []

    class Clerk(Agent):
        async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
            turns.append(new_message.text_content or "")
            raise StopResponse

    async def main() -> None:
        with playing(*lines, stt="flux") as server:
            async with aiohttp.ClientSession() as http:
                session: AgentSession[Any] = AgentSession(
                    stt=flux(server, http), vad=None, turn_handling={"turn_detection": "stt"}, aec_warmup_duration=None
                )
                session.input.audio = line = Line(2.0)
                await session.start(Clerk(instructions="Say nothing."))
                await line.over.wait()
                await session.aclose()

    run(main)
    assert turns == ["yes please"]


def test_soniox_ends_at_its_endpoint() -> None:
    def token(text: str, final: bool = False) -> dict[str, Any]:
        return {"text": text, "is_final": final}

    lines = [
        {"t": 0.4, "stt": {"tokens": [token("yes")]}},
        {"t": 0.8, "stt": {"tokens": [token("yes", True), token(" please", True)]}},
        {"t": 0.9, "stt": {"tokens": [token("<end>", True)]}},
    ]

    async def main() -> Heard:
        with playing(*lines, stt="soniox") as server:
            async with listening(soniox_, server, ends=False) as heard:
                await heard.quiet(1.1)
        return heard

    heard = run(main)
    assert heard.kinds() == [
        Type.START_OF_SPEECH,
        Type.INTERIM_TRANSCRIPT,
        Type.PREFLIGHT_TRANSCRIPT,
        Type.FINAL_TRANSCRIPT,
        Type.END_OF_SPEECH,
    ]
    assert heard.texts(Type.FINAL_TRANSCRIPT) == ["yes please"]


def test_elevenlabs_commits_when_flushed() -> None:
    """And fills up what is too short, as hearout does."""
    timed = {"text": "yes please", "start": 0.3, "end": 0.8, "type": "word", "logprob": -0.1}
    lines: list[dict[str, Any]] = [
        {"t": 0.15, "stt": {"message_type": "partial_transcript", "text": "yes"}},
        {
            "on": "finalize",
            "after": 0.1,
            "stt": {"message_type": "committed_transcript_with_timestamps", "text": "yes please", "words": [timed]},
        },
        {"on": "finalize", "after": 0.1, "stt": {"message_type": "committed_transcript", "text": ""}},
    ]

    async def main() -> Heard:
        with playing(*lines, stt="elevenlabs") as server:
            async with listening(scribe, server, ends=False) as heard:
                await heard.quiet(0.2)
                heard.stream.flush()
                await heard.quiet(0.3)
                heard.stream.flush()
                heard.stream.flush()
                await heard.quiet(0.3)
        return heard

    heard = run(main)
    assert heard.kinds() == [Type.START_OF_SPEECH, Type.INTERIM_TRANSCRIPT, Type.FINAL_TRANSCRIPT]
    assert heard.texts(Type.FINAL_TRANSCRIPT) == ["yes please"]


def test_assemblyai_ends_when_forced() -> None:
    def turn(text: str, ends: bool) -> dict[str, Any]:
        times = [
            {"text": word, "start": 300, "end": 600, "word_is_final": ends, "confidence": 0.9} for word in text.split()
        ]
        flags = {"end_of_turn": ends, "turn_is_formatted": ends, "end_of_turn_confidence": 0.5}
        return {"type": "Turn", "turn_order": 0, "transcript": text, "utterance": text, "words": times, **flags}

    lines = [
        {"t": 0.4, "stt": {"type": "SpeechStarted", "timestamp": 300}},
        {"t": 0.5, "stt": turn("yes", False)},
        {"on": "finalize", "after": 0.1, "stt": turn("yes please", True)},
    ]

    async def main() -> Heard:
        with playing(*lines, stt="assemblyai") as server:
            async with listening(assembly, server) as heard:
                await heard.quiet(0.8)
                assert isinstance(heard.stream, assemblyai.SpeechStream)
                heard.stream.force_endpoint()
                await heard.quiet(0.4)
        return heard

    heard = run(main)
    assert heard.texts(Type.INTERIM_TRANSCRIPT)[:1] == ["yes"]
    assert heard.texts(Type.FINAL_TRANSCRIPT) == ["yes please"]
    kinds = heard.kinds()
    assert kinds[0] == Type.START_OF_SPEECH
    assert kinds[-1] == Type.END_OF_SPEECH


def test_elevenlabs_tells_a_wrong_key() -> None:
    async def main() -> None:
        with playing(stt="elevenlabs", token="right") as server:
            async with aiohttp.ClientSession() as http, scribe(server, http).stream(conn_options=ONCE) as stream:
                with pytest.raises(APIConnectionError, match="auth_error"):
                    await anext(stream)

    run(main)


@pytest.mark.parametrize(("make", "stt_name"), [(v1, "deepgram"), (soniox_, "soniox")])
def test_keep_alives_keep_a_muted_line_open(make: Make, stt_name: str) -> None:
    # Both plugins send something every 5 s.
    message: Any = deepgram_result(0.5, YES) if stt_name == "deepgram" else {"t": 0.5, "stt": {"tokens": []}}
    if stt_name == "soniox":
        message["stt"]["tokens"] = [{"text": "yes please", "is_final": False}]

    async def main() -> Heard:
        with playing(message, stt=stt_name, idle_timeout=6.0) as server:
            async with listening(make, server, ends=False) as heard:
                await asyncio.sleep(11.5)
                assert not heard.events
                await heard.quiet(0.8)
        return heard

    assert run(main).texts(Type.INTERIM_TRANSCRIPT) == ["yes please"]


@pytest.mark.parametrize(("make", "stt_name"), [(v1, "deepgram"), (flux, "flux"), (soniox_, "soniox")])
def test_a_refused_key_is_told(make: Make, stt_name: str) -> None:
    async def main() -> None:
        with playing(stt=stt_name, refuse=401) as server:
            async with aiohttp.ClientSession() as http, make(server, http).stream(conn_options=ONCE) as stream:
                with pytest.raises(APIStatusError) as caught:
                    await anext(stream)
        assert caught.value.status_code == 401

    run(main)


# ---- the recogniser


def test_the_order_is_heard(tmp_path: Path) -> None:
    makers: dict[str, Make] = {
        "deepgram": lambda server, http: v1(server, http, endpointing_ms=300, utterance_end_ms=1000),
        "deepgram, flushed": lambda server, http: v1(server, http, endpointing_ms=1000),
        "flux": lambda server, http: flux(server, http, eager_eot_threshold=0.4, keyterm=["coffee"]),
        "soniox": soniox_,
        "assemblyai": lambda server, http: assembly(server, http, min_turn_silence=900, max_turn_silence=900),
        "elevenlabs": scribe,
        "elevenlabs, by itself": lambda server, http: scribe(
            server, http, server_vad={"vad_silence_threshold_secs": 0.5}, include_timestamps=False
        ),
    }
    heards: dict[str, Heard] = {}

    async def listen(name: str, server: str) -> None:
        async with listening(makers[name], server, ends=name.startswith(("deepgram", "flux"))) as heard:
            heards[name] = heard
            audio, said = order(), 0
            for turn in TURNS:
                until = round((turn["end"] + 0.2) * RATE) * 2
                await heard.say(audio[said:until])
                said = until
                if isinstance(heard.stream, deepgram.SpeechStreamv2):
                    heard.stream.update_options(eot_threshold=0.8, keyterm=["water"])  # Configure
                elif name in ("deepgram, flushed", "elevenlabs"):
                    heard.stream.flush()
            await heard.say(audio[said:])

    async def main() -> None:
        with order_server() as server:
            for names in pairs(makers):
                await asyncio.gather(*(listen(name, server) for name in names))

    run(main)
    for name, heard in heards.items():
        finals = heard.texts(Type.FINAL_TRANSCRIPT)
        assert words_wrong(finals) <= 2, (name, finals)
        assert len(TURNS) <= len(finals) <= len(TURNS) + 1, (name, finals)  # the first sentence has a pause
        assert heard.texts(Type.INTERIM_TRANSCRIPT), name
        starts, ends = (heard.kinds().count(kind) for kind in (Type.START_OF_SPEECH, Type.END_OF_SPEECH))
        # LiveKit's plugin hears of no end of speech where it is the one to commit.
        assert (0 if name == "elevenlabs" else len(finals)) <= ends <= starts, name
    assert heards["flux"].texts(Type.PREFLIGHT_TRANSCRIPT)
    (language,) = {e.alternatives[0].language for e in heards["soniox"].events if e.type == Type.FINAL_TRANSCRIPT}
    assert language == "en"
