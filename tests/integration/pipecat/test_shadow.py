"""A shadow of a pipeline that keeps its own service, voice detection and turn detection."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterimTranscriptionFrame,
    StartFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    UserTurnInferenceCompletedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.stt_service import STTService
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import FilterIncompleteUserTurnStrategies, UserTurnStrategies
from pipecat.utils.time import time_now_iso8601

from hearout import read_trace, replay
from hearout.shadow.pipecat import Shadow
from hearout.traces.records import AgentChange, BotInterrupted, BotTurn, Received, Trace, VoiceChange
from hearout_policies.events import Output, TurnCompleted
from tests.integration.pipecat.conversation import RATE, Conversation, converse
from tests.integration.pipecat.kit import CALL_ME_BACK, LEAD, WORDS, Script, moved, run
from tests.integration.servers.flux_messages import turn_info
from tests.kit.serving import playing
from tests.kit.slow_loop import blocked

# Deepgram's client uses old ways of its websocket library.
pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:connect:DeprecationWarning"),
]

SAID = "call me back"
LENGTH = len(CALL_ME_BACK) / 2 / RATE


@asynccontextmanager
async def talk(
    stt: STTService, shadow: Shadow | None, *, silence: float | None = 0.6, mute: Sequence[Any] = (), **options: Any
) -> AsyncIterator[Conversation]:
    """A bot whose turns end after so much silence; None: as Pipecat's do by default, or the service wants it."""
    strategies = None
    if silence is not None:
        strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=silence)])
    user = LLMUserAggregatorParams(
        vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=strategies, user_mute_strategies=[*mute]
    )
    async with converse(stt, user=user, observers=[shadow] if shadow else [], **options) as call:
        yield call


class Prompt(STTService):
    """Shows words while the user speaks, and has them 0.1 s after the voice."""

    def __init__(self) -> None:
        super().__init__(sample_rate=RATE, ttfs_p99_latency=0.3)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        yield None

    async def process_frame(self, frame: Frame, direction: Any) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            await asyncio.sleep(0.2)
            await self.push_frame(InterimTranscriptionFrame("call me", "", time_now_iso8601()))
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            await asyncio.sleep(0.1)
            await self.push_frame(TranscriptionFrame(SAID, "", time_now_iso8601()))


def deepgram(server: str) -> DeepgramSTTService:
    return DeepgramSTTService(api_key="any", base_url=f"ws://{server}")


def written(folder: Path) -> Trace:
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return read_trace(path)


def of(trace: Trace, kind: type) -> list[Any]:
    return [record for record in trace.records if isinstance(record, kind)]


def one_turn(script: Script) -> None:
    script.result(LEAD + LENGTH, moved(WORDS, LEAD)[:-1])
    script.answer(LEAD + LENGTH + 0.2, moved(WORDS, LEAD))


@pytest.mark.parametrize("silence", [0.6, None], ids=["a timeout", "Smart Turn"])
def test_a_turn_and_the_reply_to_it(tmp_path: Path, silence: float | None) -> None:
    async def main() -> None:
        script = Script()
        one_turn(script)
        with playing(*script.lines) as server:
            shadow = Shadow(tmp_path)
            async with talk(deepgram(server), shadow, silence=silence, reply=0.5) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("bot stopped", most=8.0)
            shadow.settle()

    run(main)
    trace = written(tmp_path)
    (turn,) = of(trace, BotTurn)
    assert turn.text == SAID
    began, ended = of(trace, VoiceChange)
    assert (began.kind, ended.kind) == ("start", "stop")
    if silence is not None:
        assert 0.5 < turn.t - ended.audio < 1.3, "0.6 s after the end of speech, and what Pipecat waits for"
    kinds = [record.message["type"] for record in of(trace, Received)]
    assert kinds == ["interim", "final"], "each result once, though frames go up and down"
    assert [record.kind for record in of(trace, AgentChange)] == ["started", "stopped"]
    assert not of(trace, BotInterrupted)
    (decided,) = [event for event in replay(trace).outputs if isinstance(event, TurnCompleted)]
    assert decided.text == SAID
    assert decided.at < turn.t + 0.3


def test_flux_ends_the_turns(tmp_path: Path) -> None:
    """What the service proposes, which the bot obeys, is in the trace, too."""

    async def main() -> None:
        begins, ends = LEAD + LENGTH, LEAD + LENGTH + 0.3
        lines = [turn_info(begins, "StartOfTurn", "call", 1), turn_info(ends, "EndOfTurn", "call me back", 2)]
        with playing(*lines, stt="flux") as server:
            shadow = Shadow(tmp_path)
            service = DeepgramFluxSTTService(api_key="any", url=f"ws://{server}/v2/listen")
            async with talk(service, shadow, silence=None) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn", most=8.0)
            shadow.settle()

    run(main)
    trace = written(tmp_path)
    assert [turn.text for turn in of(trace, BotTurn)] == [SAID]
    kinds = [record.message["type"] for record in of(trace, Received)]
    assert kinds.count("turn_started") == kinds.count("turn_ended") == 1
    assert [event.text for event in replay(trace).outputs if isinstance(event, TurnCompleted)] == [SAID]


def test_a_turn_that_is_cut_in_two_and_an_interruption(tmp_path: Path) -> None:
    """The bot's timeout is shorter than a pause within the turn; its reply is spoken into, and stops."""

    async def main() -> None:
        script = Script()
        first, second = moved(WORDS, LEAD), moved(WORDS, LEAD + LENGTH + 1.5)
        script.result(LEAD + LENGTH + 0.1, first, final=True, speech_final=True)
        script.result(second[-1][2] + 0.1, second, final=True, speech_final=True)
        with playing(*script.lines) as server:
            shadow = Shadow(tmp_path)
            async with talk(deepgram(server), shadow, silence=0.1, reply=4.0) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet(1.5)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn", 2)
            shadow.settle()

    run(main)
    trace = written(tmp_path)
    assert [turn.text for turn in of(trace, BotTurn)] == [SAID, SAID]
    (interrupted,) = of(trace, BotInterrupted)
    started, stopped, *_ = of(trace, AgentChange)
    assert started.t < interrupted.t <= stopped.t


def test_a_user_who_is_muted_is_not_heard(tmp_path: Path) -> None:
    async def main() -> None:
        shadow = Shadow(tmp_path)
        async with talk(Prompt(), shadow, mute=[AlwaysUserMuteStrategy()]) as call:
            await call.bot_says(2.0)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("bot stopped")
            await call.quiet(0.5)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == [SAID]
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    _, stopped = of(trace, AgentChange)
    heard = of(trace, VoiceChange) + of(trace, Received)
    assert len(heard) == 4
    assert all(record.t > stopped.t for record in heard)
    assert [turn.text for turn in of(trace, BotTurn)] == [SAID]


def test_without_words(tmp_path: Path) -> None:
    async def main() -> None:
        script = Script()
        one_turn(script)
        with playing(*script.lines) as server:
            shadow = Shadow(tmp_path, redact=True)
            async with talk(deepgram(server), shadow) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn")
            shadow.settle()

    run(main)
    assert [turn.text for turn in of(written(tmp_path), BotTurn)] == ["xxxx xx xxxx"]


def test_a_shadow_that_fails_is_told_of_once_and_the_bot_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        script = Script()
        one_turn(script)
        (tmp_path / "calls").write_text("not a folder")
        told: list[str] = []
        sink = logger.add(told.append, level="WARNING", format="{message}")
        with playing(*script.lines) as server:
            shadow = Shadow(tmp_path / "calls")
            async with talk(deepgram(server), shadow) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("turn")
                assert call.texts("turn") == [SAID]
                assert call.errors == []
        logger.remove(sink)
        assert [line for line in told if "shadow" in line] == [
            f"the shadow has stopped, the bot goes on: FileExistsError: [Errno 17] File exists: '{tmp_path}/calls'\n"
        ]

    run(main)


@pytest.mark.parametrize("cancelled", [False, True], ids=["ended", "cancelled"])
def test_a_call_that_ends_within_a_turn(tmp_path: Path, cancelled: bool) -> None:
    """Pipecat hands on what the user has said by then; nobody tells that the turn is over."""
    told: list[str] = []

    async def main() -> None:
        shadow = Shadow(tmp_path)
        async with talk(Prompt(), shadow, silence=5.0, on_turn=told.append) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet(0.8)
            if cancelled:
                await call.worker.cancel()
        shadow.settle()

    run(main)
    assert told == [SAID]
    paths = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    assert [turn.text for path in paths for turn in of(read_trace(path), BotTurn)] == told


class _Judge(FrameProcessor):
    """Says that the turn is complete 1 s after its second result, as a model may."""

    def __init__(self) -> None:
        super().__init__()
        self._results = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self._results += 1
            if self._results == 2:
                self.create_task(self._judge())

    async def _judge(self) -> None:
        await asyncio.sleep(1.0)
        await self.push_frame(UserTurnInferenceCompletedFrame())


def test_a_turn_that_the_model_takes_for_incomplete_is_not_committed(tmp_path: Path) -> None:
    """What is said so far is written into the context, and the model asked; the turn goes on."""

    async def main() -> None:
        shadow = Shadow(tmp_path)
        timeout = SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.2)
        user = LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=FilterIncompleteUserTurnStrategies(stop=[timeout])
        )
        async with converse(Prompt(), user=user, observers=[shadow], between=[_Judge()]) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
            await call.quiet(0.5)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == [f"{SAID} {SAID}"]
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    (turn,) = of(trace, BotTurn)
    assert turn.text == f"{SAID} {SAID}"
    assert turn.t > of(trace, Received)[-1].t + 0.9


class _Clock(BaseObserver):
    """What the bot did, and when, by the loop's clock; 0 is the beginning of the pipeline."""

    def __init__(self) -> None:
        super().__init__(observe_every_push=False)
        self.did: list[tuple[str, float]] = []
        self._began = 0.0

    async def on_push_frame(self, data: FramePushed) -> None:
        now = asyncio.get_running_loop().time()
        match data.frame:
            case StartFrame():
                self._began = now
            case UserStoppedSpeakingFrame() | BotStartedSpeakingFrame() | BotStoppedSpeakingFrame() as frame:
                if data.direction is FrameDirection.DOWNSTREAM:
                    self.did.append((type(frame).__name__, now - self._began))


def test_times_and_decisions_are_those_of_the_call(tmp_path: Path) -> None:
    """All is on the bot's own clock, and a replay decides what the machine beside it did, to the last digit."""
    clock = _Clock()
    decided: list[Output] = []

    async def main() -> None:
        shadow = Shadow(tmp_path, caller="Ann")
        shadow._call._take = decided.append
        async with converse(
            Prompt(),
            user=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer()),
            observers=[shadow, clock],
            reply=0.5,
        ) as call:
            for number in (1, 2):
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("bot stopped", number, most=8.0)
            texts = call.texts("turn")
        shadow.settle()
        assert [turn.text for turn in of(written(tmp_path), BotTurn)] == texts

    run(main)
    trace = written(tmp_path)
    assert trace.header.caller == "Ann"
    did = [
        (record.kind if isinstance(record, AgentChange) else "committed", record.t)
        for record in trace.records
        if isinstance(record, AgentChange | BotTurn)
    ]
    assert [name for name, _ in did] == ["committed", "started", "stopped"] * 2
    assert [name for name, _ in clock.did] == [
        "UserStoppedSpeakingFrame",
        "BotStartedSpeakingFrame",
        "BotStoppedSpeakingFrame",
    ] * 2
    assert [at for _, at in did] == pytest.approx([at for _, at in clock.did], abs=0.05)
    assert decided
    assert [output for output in replay(trace).outputs if output.at <= trace.records[-1].t] == decided


def test_a_shadow_watches_one_worker_after_the_other_and_no_two_at_a_time(tmp_path: Path) -> None:
    shadow = Shadow(tmp_path)
    told: list[str] = []

    def commits() -> list[list[str]]:
        return [[turn.text for turn in of(read_trace(path), BotTurn)] for path in tmp_path.iterdir()]

    async def one() -> None:
        async with talk(Prompt(), shadow) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            assert call.texts("turn") == [SAID]
            assert call.errors == []

    async def main() -> None:
        for _ in range(2):
            await one()
        shadow.settle()
        assert commits() == [[SAID]] * 2
        sink = logger.add(told.append, level="WARNING", format="{message}")
        async with asyncio.TaskGroup() as group:
            group.create_task(one())
            group.create_task(one())
        logger.remove(sink)

    run(main)
    assert [line for line in told if "shadow" in line] == [
        "the shadow has stopped, the bot goes on: "
        "a Shadow watches one PipelineWorker, this one was given to two: make one for each\n"
    ]


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_the_bot_is_as_fast_as_without(tmp_path: Path, seconds: float) -> None:
    """Calls one after the other, each second one with a shadow, on a loop that something blocks so long in each 0.06 s.

    Not beside each other: a shadow that held up the loop would hold up both.
    """
    calls, turns = 4, 4
    delays: dict[bool, list[float]] = {True: [], False: []}
    told: list[str] = []  # by the bot with a shadow, of its turns

    async def one(shadow: Shadow | None) -> None:
        ended = 0.0

        def turned(text: str) -> None:
            delays[shadow is not None].append(time.monotonic() - ended)
            if shadow is not None and text:  # on a machine that is too busy Pipecat gives some up
                told.append(text)

        async with blocked(seconds), talk(Prompt(), shadow, on_turn=turned) as call:
            for number in range(1, turns + 1):
                await call.quiet(2 * LEAD)
                await call.say(CALL_ME_BACK)
                ended = time.monotonic()
                await call.quiet_until("turn", number, most=12.0)
        if shadow is not None:
            shadow.settle()

    for number in range(calls):
        shadow = Shadow(tmp_path) if number % 2 else None
        run(partial(one, shadow))
    with_, without = (median(delays[way]) for way in (True, False))
    print(
        f"loop blocked {seconds} s in 0.06 s, load {os.getloadavg()[0]:.1f}: turns end {with_:.3f} s after the speech"
    )
    print(f"  with a shadow, {without:.3f} s without; worst {max(delays[True]):.3f} and {max(delays[False]):.3f} s")
    assert len(delays[True]) == len(delays[False]) == turns * calls // 2
    assert with_ < without + 0.15
    paths = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    assert [turn.text for path in paths for turn in of(read_trace(path), BotTurn)] == told
