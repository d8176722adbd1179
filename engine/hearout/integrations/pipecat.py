"""A speech-to-text service for Pipecat that also decides when the user's turn is over. Needs the extra ``pipecat``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hearout.aio.session as aio
from hearout.audio import AudioFormat
from hearout.ear.base import Ear
from hearout.errors import HearoutError, UsageError
from hearout.extras import needs_extra
from hearout.link.settings import LinkSettings
from hearout.session.controls import chosen_expectations, chosen_key, chosen_policy
from hearout.session.notices import AudioLost, LinkDown, LinkUp, SessionWarning
from hearout.session.recording import TraceWriter
from hearout.session.session import SessionEvent
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate, webrtc_gate
from hearout_policies import events
from hearout_policies.expect import Expectation
from hearout_policies.policy import Policy
from hearout_policies.signals import KEYS

with needs_extra("pipecat", __name__, "Pipecat 1.14 or newer"):
    from loguru import logger
    from pipecat.frames import frames
    from pipecat.observers.base_observer import BaseObserver, FramePushed
    from pipecat.processors.frame_processor import FrameDirection
    from pipecat.services.settings import NOT_GIVEN, STTSettings, is_given
    from pipecat.services.stt_service import STTService
    from pipecat.turns.eager_end_of_turn_mixin import EagerEndOfTurnSTTServiceMixin
    from pipecat.turns.user_start import TranscriptionUserTurnStartStrategy
    from pipecat.turns.user_turn_strategies import UserTurnStrategies
    from pipecat.utils.time import time_now_iso8601

__all__ = ["HearoutSTTService", "HearoutSettings"]

_LAST_WORDS = 10.0  # seconds that the end of a pipeline waits for them


@dataclass
class HearoutSettings(STTSettings):
    """What may change while a bot runs: ``STTUpdateSettingsFrame(delta=HearoutSettings(policy="patient"))``.

    Attributes:
        policy: `hearout.Session.use`.
        expect: `hearout.Session.expect`: a list of expectations, or of their names.
    """

    policy: Policy | str | Any = field(default_factory=lambda: NOT_GIVEN)
    expect: Sequence[Expectation | str] | Any = field(default_factory=lambda: NOT_GIVEN)


class BotText(BaseObserver):
    """Tells what the bot is about to say, sentence by sentence."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell
        self._latest: int | None = None  # a frame is seen at each step of its way

    async def on_push_frame(self, data: FramePushed) -> None:
        frame = data.frame
        if not isinstance(frame, frames.AggregatedTextFrame) or frame.id == self._latest:
            return
        # A service that tells of the words, too, does so with the id of their sentence.
        word = isinstance(frame, frames.TTSTextFrame) and frame.segment_id is not None
        if not word and (frame.will_be_spoken or isinstance(frame, frames.TTSTextFrame)):
            self._latest = frame.id
            self._tell(frame.text)


class HearoutSTTService(EagerEndOfTurnSTTServiceMixin, STTService):
    """Takes the place of a pipeline's STT service, VAD and turn strategies::

        stt = HearoutSTTService(Deepgram(key))

    It proposes the user's turns to Pipecat's external turn strategies, which it recommends to the user aggregator.
    A turn is proposed with its first words, or, over the bot's speech, when it is an interruption; so noise and
    backchannels do not interrupt. Each has one finalised `TranscriptionFrame` with all of its text, whose ``result``
    is the `hearout.TurnCompleted`. Frames of Pipecat's own voice detection mean nothing to it.

    Event handlers, besides those of every STT service: ``on_turn_event(service, event)`` gets everything that the
    session tells, in order; `hearout.TurnAmended`, for one, has no counterpart in Pipecat.

    Args:
        transcriber: the provider's dialect, of one channel; its ``sample_rate`` is set to that of the audio.
        policy, vad, ear, recorder, link: as in `hearout.open_session`.
        should_interrupt: whether a turn interrupts the bot.
        options: of Pipecat's `STTService`. ``enable_eager_end_of_turn``: answer `hearout.TurnPredicted` ahead of
            the end of the turn, at the price of an LLM run for each prediction that is taken back.

    Raises:
        UsageError: the transcriber has several channels, or the policy cannot be used. What goes wrong later is
            an ``ErrorFrame``.
    """

    def __init__(
        self,
        transcriber: Dialect,
        *,
        policy: Policy | str = "balanced",
        vad: Callable[[int], SpeechGate] | None = webrtc_gate,
        ear: Ear | None = None,
        recorder: TraceWriter | None = None,
        link: LinkSettings | None = None,
        should_interrupt: bool = True,
        **options: Any,
    ) -> None:
        if transcriber.channels != 1:
            raise UsageError(f"a Pipecat user has one channel, but {transcriber.name} is set to {transcriber.channels}")
        policy = chosen_policy(policy)
        settings = HearoutSettings(
            model=getattr(transcriber, "model", None), language=None, policy=policy.name, expect=None
        )
        super().__init__(settings=settings, **options)
        self._transcriber = transcriber
        self._open = partial(
            aio.open_session,
            transcriber=transcriber,
            policy=policy,
            vad=vad,
            ear=ear,
            recorder=recorder,
            link=link,
        )
        self._should_interrupt = should_interrupt
        self._source: aio.PushSource | None = None
        self._session: aio.Session | None = None
        self._listening: asyncio.Task[None] | None = None
        self._wanted: list[Callable[[aio.Session], None]] = []  # of a session that is not there yet
        self._bot_speaking = False
        self._over_bot = False  # the turn began while the bot spoke
        self._proposed = False  # Pipecat was told of it
        self._register_event_handler("on_turn_event", sync=True)

    @property
    def observer(self) -> BaseObserver:
        """For ``PipelineWorker(..., observers=[stt.observer])``: what the bot says tells what is asked.

        And it guards against the echo of it (`hearout.Session.agent_said`).
        """
        return BotText(self.agent_said)

    def expect(self, *expectations: Expectation | str, keep: bool = False) -> None:
        """`hearout.Session.expect`; also before the pipeline runs."""
        chosen = chosen_expectations(expectations)
        self._say(lambda session: session.expect(*chosen, keep=keep))

    def use(self, policy: Policy | str) -> None:
        """`hearout.Session.use`; also before the pipeline runs."""
        chosen = chosen_policy(policy)
        self._say(lambda session: session.use(chosen))

    def agent_said(self, text: str) -> None:
        """`hearout.Session.agent_said`; also before the pipeline runs."""
        self._say(lambda session: session.agent_said(text))

    def key(self, key: str) -> None:
        """`hearout.Session.key`. Those of an ``InputDTMFFrame`` come by themselves."""
        chosen = chosen_key(key)
        self._say(lambda session: session.key(chosen))

    def _say(self, tell: Callable[[aio.Session], None]) -> None:
        if self._session is None:
            self._wanted.append(tell)
        else:
            tell(self._session)

    def can_generate_metrics(self) -> bool:
        """TTFB is the time from the end of speech to the end of the turn."""
        return True

    @property
    def supports_ttfs(self) -> bool:
        """Nobody needs to wait for a transcript: it comes with the end of the turn."""
        return False

    def user_turn_strategies(self) -> UserTurnStrategies:
        """What the user aggregator is recommended. Given to it beforehand, it need not load its default model."""
        strategies = self.recommended_user_turn_strategies(enable_interruptions=self._should_interrupt)
        strategies.stop[0].wait_for_transcript = False  # if there is any, it came before the stop
        # The start of a turn may be lost on a user who is muted; its text then starts it.
        by_text = TranscriptionUserTurnStartStrategy(use_interim=False, enable_interruptions=self._should_interrupt)
        strategies.start.append(by_text)
        return strategies

    def service_metadata_frame(self) -> frames.STTMetadataFrame:
        frame = super().service_metadata_frame()
        frame.user_turn_strategies = self.user_turn_strategies()
        return frame

    async def start(self, frame: frames.StartFrame) -> None:
        await super().start(frame)
        self._source = aio.PushSource(AudioFormat(sample_rate=self.sample_rate))
        self._transcriber.sample_rate = self._source.sample_rate
        self._listening = self.create_task(self._listen(self._source), "hearout")

    async def stop(self, frame: frames.EndFrame) -> None:
        """Hear the last words first."""
        if self._source is not None and self._listening is not None:
            self._source.close()
            _, late = await asyncio.wait([self._listening], timeout=_LAST_WORDS)
            if late:
                await self.push_error(f"the last words did not come within {_LAST_WORDS:.0f} s and may be missing")
        await self._leave()
        await super().stop(frame)

    async def cancel(self, frame: frames.CancelFrame) -> None:
        await self._leave()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        await self._leave()
        await super().cleanup()

    async def _leave(self) -> None:
        if self._listening is not None:
            await self.cancel_task(self._listening)

    async def process_frame(self, frame: frames.Frame, direction: FrameDirection) -> None:
        if isinstance(frame, (frames.BotStartedSpeakingFrame, frames.BotStoppedSpeakingFrame)):
            self._bot_speaking = isinstance(frame, frames.BotStartedSpeakingFrame)
            if self._session is not None:
                (self._session.agent_started if self._bot_speaking else self._session.agent_stopped)()
        elif isinstance(frame, frames.InputDTMFFrame) and frame.button.value in KEYS:
            self.key(frame.button.value)
        await super().process_frame(frame, direction)

    async def process_audio_frame(self, frame: frames.InputAudioRawFrame, direction: FrameDirection) -> None:
        if self.is_usable and (frame.sample_rate, frame.num_channels) != (self.sample_rate, 1):
            await self.push_error(
                f"the audio has {frame.num_channels} channel(s) at {frame.sample_rate} Hz, but the pipeline said 1 at "
                f"{self.sample_rate} Hz; set audio_in_sample_rate and audio_in_channels of the transport",
                force_treat_as_permanent=True,
            )
        await super().process_audio_frame(frame, direction)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[frames.Frame | None, None]:
        if self._source is not None:
            self._source.push(audio)
        yield None

    async def _handle_vad_user_started_speaking(self, frame: frames.Frame) -> None:
        """Nothing: hearout has a voice detection of its own."""

    _handle_vad_user_stopped_speaking = _handle_vad_user_started_speaking

    async def _update_settings(self, delta: STTSettings) -> dict[str, Any]:
        if isinstance(delta, HearoutSettings):
            try:
                if is_given(delta.policy) and delta.policy is not None:
                    self.use(delta.policy)
                if is_given(delta.expect):
                    self.expect(*(delta.expect or ()))
            except UsageError as error:  # the bot goes on as it was
                logger.error(f"{self}: {error}")
        changed: dict[str, Any] = await super()._update_settings(delta)
        self._warn_unhandled_updated_settings({k: v for k, v in changed.items() if k not in ("policy", "expect")})
        return changed

    async def _listen(self, source: aio.PushSource) -> None:
        try:
            async with self._open(source) as session:
                self._session = session
                if self._bot_speaking:
                    session.agent_started()
                for tell in self._wanted:
                    tell(session)
                self._wanted.clear()
                async for event in session:
                    await self._tell(event)
        except Exception as error:
            if self._proposed:
                await self._propose_stop()
            detail = str(error) if isinstance(error, HearoutError) else repr(error)
            await self._call_event_handler("on_connection_error", detail)
            await self.push_error(detail, exception=error, force_treat_as_permanent=True)

    async def _tell(self, event: SessionEvent) -> None:
        await self._call_event_handler("on_turn_event", event)
        match event:
            case events.TurnStarted():
                self._over_bot = event.agent_speaking
            case events.TurnUpdated():
                if event.interrupts or (event.text and not self._over_bot):
                    await self._propose_start()
                if self._proposed and event.text:
                    interim = frames.InterimTranscriptionFrame
                    await self.push_frame(interim(event.text, self._user_id, time_now_iso8601(), result=event))
            case events.TurnPredicted() if self._proposed:
                await self._push_eager_end_of_turn(event.text, user_id=self._user_id, result=event)
            case events.TurnResumed():
                await self._cancel_eager_end_of_turn()
            case events.TurnCompleted():
                if event.backchannel and not self._proposed:
                    await self.push_frame(frames.UserBackchannelFrame(event.text, self._user_id, time_now_iso8601()))
                else:
                    await self._complete(event)
            case events.TurnAbandoned() if self._proposed:
                await self._cancel_eager_end_of_turn()
                await self._propose_stop()
            case LinkDown():
                await self._call_event_handler("on_disconnected")
            case LinkUp():
                await self._call_event_handler("on_connected")
            case AudioLost():
                lost = event.audio_end - event.audio_start
                await self.push_error(f"{lost:.1f} s of audio were lost while there was no connection")
            case SessionWarning():
                logger.warning(f"{self}: {event.detail}")

    async def _complete(self, turn: events.TurnCompleted) -> None:
        self._clear_eager_end_of_turn()
        await self._propose_start()
        if turn.timings.latency is not None:
            await self.start_ttfb_metrics(start_time=time.time() - turn.timings.latency)
        await self.emit_stt_usage_metrics()
        frame = frames.TranscriptionFrame(turn.text, self._user_id, time_now_iso8601(), result=turn, finalized=True)
        frame.interruptible = False  # the interruption that a turn itself makes must not drop its text
        await self.push_frame(frame)
        await self._propose_stop()

    async def _propose_start(self) -> None:
        if not self._proposed:
            self._proposed = True
            await self.broadcast_frame(frames.ProposedUserStartedSpeakingFrame)

    async def _propose_stop(self) -> None:
        self._proposed = False
        frame = frames.ProposedUserStoppedSpeakingFrame()
        frame.interruptible = False
        await self.broadcast_frame_instance(frame)
