"""hearout's turns over services that a pipeline has already: Pipecat's own, with Pipecat's voice detection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import Frame, InterimTranscriptionFrame, TranscriptionFrame, VADUserStoppedSpeakingFrame
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.soniox.stt import SonioxSTTService
from pipecat.services.stt_service import SegmentedSTTService, STTService
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.utils.time import time_now_iso8601

from hearout.integrations.pipecat_turns import HearoutTurns
from hearout_policies.events import TurnCompleted, UserIdle
from hearout_policies.expect import Digits
from hearout_policies.policy import preset
from tests.integration.pipecat.conversation import RATE, Conversation, converse
from tests.integration.pipecat.kit import CALL_ME_BACK, LEAD, WORDS, Script, moved, run
from tests.kit.serving import playing

# Deepgram's and Soniox's clients use old ways of their websocket library.
pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:connect:DeprecationWarning"),
]

SAID = "call me back"
LENGTH = len(CALL_ME_BACK) / 2 / RATE


class Whisper(SegmentedSTTService):
    """Says one text after another, each some time after the end of a segment of speech."""

    def __init__(self, texts: Sequence[str], late: float = 0.1) -> None:
        super().__init__(sample_rate=RATE, ttfs_p99_latency=1.0)
        self._texts, self._late = list(texts), late

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        await asyncio.sleep(self._late)
        yield TranscriptionFrame(self._texts.pop(0), "", time_now_iso8601())


class NeverFinal(STTService):
    """Shows words that never become final."""

    def __init__(self) -> None:
        super().__init__(sample_rate=RATE, ttfs_p99_latency=0.3)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        yield None

    async def process_frame(self, frame: Frame, direction: Any) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.push_frame(InterimTranscriptionFrame(SAID, "", time_now_iso8601()))


@asynccontextmanager
async def talk(stt: STTService, turns: HearoutTurns, *, reply: float = 0.0, **user: Any) -> AsyncIterator[Conversation]:
    params = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=turns, **user)
    async with converse(stt, reply=reply, user=params) as call:
        yield call


def completions(turns: HearoutTurns) -> list[TurnCompleted]:
    heard: list[TurnCompleted] = []

    @turns.event_handler("on_turn_event")
    async def hear(_: Any, event: Any) -> None:
        if isinstance(event, TurnCompleted):
            heard.append(event)

    return heard


def deepgram(server: str) -> DeepgramSTTService:
    return DeepgramSTTService(api_key="any", base_url=f"ws://{server}")


def soniox(server: str) -> SonioxSTTService:
    return SonioxSTTService(api_key="any", url=f"ws://{server}/transcribe-websocket")


def soniox_lines(words: Sequence[tuple[str, float, float]], until: float) -> list[dict[str, Any]]:
    def tokens(final: bool) -> list[dict[str, Any]]:
        return [
            {
                "text": f" {text}",
                "start_ms": round(1000 * start),
                "end_ms": round(1000 * end),
                "confidence": 0.9,
                "is_final": final,
            }
            for text, start, end in words
        ]

    shown = {"tokens": tokens(False), "final_audio_proc_ms": 0, "total_audio_proc_ms": round(1000 * until)}
    done = {"text": "<fin>", "is_final": True, "start_ms": 0, "end_ms": 0, "confidence": 1.0}
    answer = {"tokens": [*tokens(True), done], "final_audio_proc_ms": round(1000 * until)}
    answer |= {"total_audio_proc_ms": round(1000 * until)}
    return [{"t": until, "stt": shown}, {"on": "finalize", "after": 0.1, "stt": answer}]


def test_deepgram_in_one_changed_line() -> None:
    async def main() -> None:
        script = Script()
        script.result(LEAD + LENGTH, moved(WORDS, LEAD)[:-1])
        script.answer(LEAD + LENGTH + 0.2, moved(WORDS, LEAD))
        with playing(*script.lines) as server:
            turns = HearoutTurns()
            heard = completions(turns)
            async with talk(deepgram(server), turns) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn")
                assert call.texts("turn") == [SAID]
                assert call.texts("asked") == [SAID]
                assert call.count("started") == call.count("stopped") == 1
            (turn,) = heard
            assert turn.confirmed
            assert turn.timings.answered is not None, "the service's own Finalize was heard"

    run(main)


def test_soniox() -> None:
    async def main() -> None:
        with playing(*soniox_lines(moved(WORDS, LEAD), LEAD + LENGTH), stt="soniox") as server:
            turns = HearoutTurns()
            async with talk(soniox(server), turns) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn")
                assert call.texts("turn") == [SAID]

    run(main)


@pytest.mark.parametrize("late", [0.1, 0.9])
def test_a_segmented_service(late: float) -> None:
    async def main() -> None:
        turns = HearoutTurns()
        heard = completions(turns)
        async with talk(Whisper(["Call me back."], late), turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == ["Call me back."]
            assert call.count("asked") == 1
        (turn,) = heard
        assert LEAD - 0.3 < turn.words[0].start < turn.words[-1].end < LEAD + LENGTH + 0.3, "laid over the voice"

    run(main)


def test_a_pause_after_and_is_held() -> None:
    """Two segments, one turn: Pipecat's own strategies know no words."""

    async def main() -> None:
        turns = HearoutTurns()
        async with talk(Whisper(["Call me and", "call me back."]), turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet(0.4)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == ["Call me and call me back."]

    run(main)


def test_a_service_that_never_finalises() -> None:
    """Pipecat gets the words with the end of the turn, once."""

    async def main() -> None:
        turns = HearoutTurns()
        heard = completions(turns)
        async with talk(NeverFinal(), turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == [SAID]
            assert call.texts("asked") == [SAID]
        (turn,) = heard
        assert not turn.confirmed

    run(main)


def test_a_late_final_is_not_said_again() -> None:
    """What was handed over as it stood comes once more as final: the next turn does not begin with it."""

    async def main() -> None:
        turns = HearoutTurns()
        service = NeverFinal()
        async with talk(service, turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            await service.push_frame(TranscriptionFrame(SAID, "", time_now_iso8601()))
            await call.quiet(1.5)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn", 2)
            assert call.texts("turn") == [SAID, SAID]

    run(main)


def test_words_interrupt_and_a_backchannel_does_not() -> None:
    async def main() -> None:
        turns = HearoutTurns()
        async with talk(Whisper(["Mhm.", "Call me back instead."]), turns) as call:
            await call.quiet(LEAD)
            await call.bot_says(6.0)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("backchannel")
            assert call.count("interruption") == call.count("asked") == 0
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.count("interruption") == 1
            assert call.texts("turn") == ["Call me back instead."], "without the backchannel before it"

    run(main)


def test_an_end_is_predicted_and_the_answer_kept() -> None:
    async def main() -> None:
        turns = HearoutTurns("patient", enable_eager_end_of_turn=True)
        async with talk(Whisper(["Please call me back now."]), turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("asked early") == ["Please call me back now."]
            assert call.count("asked") == 0, "the answer was on its way"

    run(main)


def test_a_policy_and_a_question_for_a_step() -> None:
    async def main() -> None:
        turns = HearoutTurns()
        turns.expect(Digits(4))
        heard = completions(turns)
        async with talk(Whisper(["five five one two"]), turns) as call:
            turns.use("patient")
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn", most=6.0)
        (turn,) = heard
        assert turn.answer is not None
        assert turn.answer.value == "5512"

    run(main)


def test_pipecats_own_limit_ends_a_turn_once() -> None:
    """What its watchdog ends is over for us, too."""

    async def main() -> None:
        turns = HearoutTurns("patient")
        heard = completions(turns)
        async with talk(Whisper(["Call me and"]), turns, user_turn_stop_timeout=0.5) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            await call.quiet(2.0)
            assert call.texts("turn") == ["Call me and"]
            assert call.count("asked") == 1
        assert len(heard) == 1

    run(main)


def test_a_bot_without_words_hears_no_turn() -> None:
    """Noise that the voice detection takes for a voice starts nothing."""

    async def main() -> None:
        turns = HearoutTurns()
        async with talk(Whisper([""]), turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet(2.5)
            assert call.count("started") == call.count("asked") == 0

    run(main)


def test_words_that_come_too_late_for_their_turn_are_not_lost() -> None:
    """They are a turn of their own."""

    async def main() -> None:
        turns = HearoutTurns("fast")
        service = Whisper(["Call me back.", "Now."])
        async with talk(service, turns) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            await service.push_frame(TranscriptionFrame("Tomorrow.", "", time_now_iso8601()))
            await call.quiet_until("turn", 2)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn", 3, most=6.0)
            assert call.texts("turn") == ["Call me back.", "Tomorrow.", "Now."]

    run(main)


def test_a_service_that_detects_turns() -> None:
    """Flux proposes; the turn is ours: what Flux ends after "and" goes on."""

    def info(event: str, text: str, turn: int, start: float, end: float) -> dict[str, Any]:
        words = [{"word": word, "confidence": 0.9} for word in text.split()]
        message = {"type": "TurnInfo", "request_id": "0b6f", "sequence_id": 1, "event": event, "turn_index": turn}
        message |= {"audio_window_start": start, "audio_window_end": end, "transcript": text, "words": words}
        return message | {"end_of_turn_confidence": 0.8}

    second = LEAD + LENGTH + 0.5
    lines = [
        {"t": LEAD + 0.6, "stt": info("StartOfTurn", "call me", 0, 0.0, LEAD + 0.6)},
        {"t": LEAD + LENGTH + 0.2, "stt": info("EndOfTurn", "call me and", 0, 0.0, LEAD + LENGTH + 0.2)},
        {"t": second + 0.6, "stt": info("StartOfTurn", "call me", 1, second, second + 0.6)},
        {"t": second + LENGTH + 0.2, "stt": info("EndOfTurn", "call me back", 1, second, second + LENGTH + 0.2)},
    ]

    async def main() -> None:
        with playing(*lines, stt="flux") as server:
            turns = HearoutTurns()
            service = DeepgramFluxSTTService(api_key="any", url=f"ws://{server}/v2/listen")
            async with talk(service, turns) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet(0.5)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn")
                assert call.texts("turn") == ["call me and call me back"]
                assert call.count("started") == 1

    run(main)


def test_a_muted_user_is_not_heard_and_the_next_turn_is() -> None:
    async def main() -> None:
        turns = HearoutTurns()
        mute = [AlwaysUserMuteStrategy()]
        async with talk(Whisper(["Call me back."]), turns, user_mute_strategies=mute) as call:
            await call.quiet(LEAD)
            await call.bot_says(2.0)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("bot stopped")
            await call.quiet(0.5)
            assert call.count("interruption") == call.count("asked") == 0
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == ["Call me back."]

    run(main)


def test_nobody_answers() -> None:
    """`UserIdle`, off by default, beside Pipecat's own user_idle_timeout."""

    async def main() -> None:
        turns = HearoutTurns(preset("balanced").replace({"idle_after": 1.0}))
        idle: list[UserIdle] = []

        @turns.event_handler("on_turn_event")
        async def hear(_: Any, event: Any) -> None:
            if isinstance(event, UserIdle):
                idle.append(event)

        async with talk(Whisper([]), turns) as call:
            await call.quiet(LEAD)
            await call.bot_says(0.5)
            await call.quiet(2.2)
        assert len(idle) == 1

    run(main)
