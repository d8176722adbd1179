"""A conversation of a scripted user with a bot, in a real Pipecat pipeline, in real time.

The transports, the user aggregator, its turn strategies and the interruptions are Pipecat's. Only the far ends are
made up: the user says pieces of a recording, and the bot says noise for a while, or nothing, in reply to whatever
would be given to an LLM.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    UserBackchannelFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import MetricsData, STTUsageMetricsData, TTFBMetricsData
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.stt_service import STTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
_BLOCK = RATE // 50  # sample frames: 20 ms


class _Line(BaseInputTransport):
    """The user's microphone."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_in_enabled=True, audio_in_sample_rate=RATE))
        self.ready = asyncio.Event()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self.ready.set()


class _Loudspeaker(BaseOutputTransport):
    """What the bot says takes its time."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        await asyncio.sleep(len(frame.audio) / 2 / RATE)
        return True


class _Replies(FrameProcessor):
    """LLM and TTS in one: says noise for so many seconds to whatever it is asked."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, LLMContextFrame) and self._seconds:
            await self.say(self._seconds)

    async def say(self, seconds: float) -> None:
        noise = b"\x00\x10\x00\xf0" * (_BLOCK // 2)
        for _ in range(round(seconds * 50)):
            await self.push_frame(TTSAudioRawFrame(audio=noise, sample_rate=RATE, num_channels=1))
        await self.push_frame(TTSStoppedFrame())


_NAMES: dict[type[Frame], str] = {
    ProposedUserStartedSpeakingFrame: "start proposed",
    ProposedUserStoppedSpeakingFrame: "stop proposed",
    EagerTranscriptionFrame: "predicted",
    EagerEndOfTurnCancelFrame: "resumed",
    UserStartedSpeakingFrame: "started",
    UserStoppedSpeakingFrame: "stopped",
    InterruptionFrame: "interruption",
    InterimTranscriptionFrame: "interim",
    TranscriptionFrame: "final",
    UserBackchannelFrame: "backchannel",
    LLMContextFrame: "asked",
    BotStartedSpeakingFrame: "bot started",
    BotStoppedSpeakingFrame: "bot stopped",
}


class _Log(BaseObserver):
    """Every frame of interest, once, as (name, text)."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str]] = []
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()
        self._seen: set[int] = set()

    async def on_push_frame(self, data: FramePushed) -> None:
        frame = data.frame
        sibling = frame.broadcast_sibling_id
        if frame.id in self._seen or sibling in self._seen:
            return
        if type(frame) in _NAMES or isinstance(frame, (ErrorFrame, MetricsFrame)):
            self._seen.add(frame.id)
            self.frames.append(frame)
            if isinstance(frame, LLMContextFrame):
                self.add("asked early" if frame.speculation else "asked", str(frame.context.messages[-1]["content"]))
            elif type(frame) in _NAMES:
                self.add(_NAMES[type(frame)], getattr(frame, "text", ""))

    def add(self, name: str, text: str = "") -> None:
        self.events.append((name, text))
        self.changed.set()


class Conversation:
    """What the user does, and what came of it.

    Attributes:
        events: (name, text) of frames in the order in which they were pushed first, and of the aggregator's ``turn``,
            with what the user said.
    """

    def __init__(self, line: _Line, worker: PipelineWorker, log: _Log, replies: _Replies) -> None:
        self._line, self._log, self._replies = line, log, replies
        self.worker = worker
        self.events = log.events
        self.clock = 0.0  # seconds of audio so far
        self._due = time.monotonic()

    async def say(self, audio: bytes, rate: int = RATE) -> None:
        """Audio, in real time."""
        size = rate // 50 * 2
        for begin in range(0, len(audio), size):
            block = audio[begin : begin + size].ljust(size, b"\0")
            self._due += 0.02
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            await self.push(block, rate)
            self.clock += 0.02

    async def push(self, block: bytes, rate: int = RATE) -> None:
        """Audio, now."""
        await self._line.push_audio_frame(InputAudioRawFrame(audio=block, sample_rate=rate, num_channels=1))

    async def quiet(self, seconds: float) -> None:
        """Silence, in real time."""
        await self.say(bytes(round(seconds * 50) * _BLOCK * 2))

    async def no_audio(self, seconds: float) -> None:
        self._due += seconds
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))

    async def quiet_until(self, name: str, times: int = 1, *, most: float = 4.0) -> None:
        """Silence until there were so many of these events."""
        end = self.clock + most
        while self.count(name) < times:
            assert self.clock < end, f"no {name!r} within {most} s: {self.events} {self.errors}"
            await self.quiet(0.02)

    async def bot_says(self, seconds: float) -> None:
        """The bot begins to speak, unasked."""
        await self._replies.say(seconds)
        await self.quiet_until("bot started")

    def count(self, name: str) -> int:
        return sum(event == name for event, _ in self.events)

    def texts(self, name: str) -> list[str]:
        return [text for event, text in self.events if event == name]

    @property
    def errors(self) -> list[str]:
        return [frame.error for frame in self._log.frames if isinstance(frame, ErrorFrame)]

    @property
    def ttfb(self) -> list[float]:
        items = [item for item in self._metrics(TTFBMetricsData) if "Hearout" in item.processor]
        return [item.value for item in items if item.value]  # 0: a pipeline begins with one for each processor

    @property
    def usage(self) -> list[float]:
        """Seconds of audio, in each report."""
        return [item.value.audio_seconds for item in self._metrics(STTUsageMetricsData)]

    def _metrics(self, kind: type[MetricsData]) -> list[Any]:
        items = [item for frame in self._log.frames if isinstance(frame, MetricsFrame) for item in frame.data]
        return [item for item in items if isinstance(item, kind)]

    @property
    def finals(self) -> list[TranscriptionFrame]:
        return [frame for frame in self._log.frames if type(frame) is TranscriptionFrame]


@asynccontextmanager
async def converse(
    stt: STTService,
    *,
    reply: float = 0.0,
    user: LLMUserAggregatorParams | None = None,
    between: Sequence[FrameProcessor] = (),
    on_turn: Callable[[str], object] | None = None,
    observers: Sequence[BaseObserver] = (),
) -> AsyncIterator[Conversation]:
    """Run a pipeline for the length of the block, and end it.

    Args:
        stt: the service.
        reply: seconds for which the bot speaks when it is asked.
        user: of the aggregator; None: with the strategies of the service, which is hearout's.
        between: processors between the service and the aggregator.
        on_turn: called with the text of each turn that is handed over.
        observers: of the pipeline.
    """
    line, replies, log = _Line(), _Replies(reply), _Log()
    aggregators = LLMContextAggregatorPair(
        LLMContext(), user_params=user or LLMUserAggregatorParams(user_turn_strategies=stt.user_turn_strategies())
    )
    aggregator = aggregators.user()

    @aggregator.event_handler("on_user_turn_stopped")
    async def stopped(_: Any, __: Any, message: Any) -> None:
        log.add("turn", message.content or "")
        if on_turn is not None:
            on_turn(message.content or "")

    worker = PipelineWorker(
        Pipeline([line, stt, *between, aggregator, replies, _Loudspeaker(), aggregators.assistant()]),
        params=PipelineParams(
            audio_in_sample_rate=RATE, audio_out_sample_rate=RATE, enable_metrics=True, enable_usage_metrics=True
        ),
        observers=[log, *observers],
        idle_timeout_secs=None,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await line.ready.wait()
    try:
        yield Conversation(line, worker, log, replies)
        await worker.stop_when_done()
    except BaseException:
        await worker.cancel()
        raise
    finally:
        async with asyncio.timeout(15):
            await running
