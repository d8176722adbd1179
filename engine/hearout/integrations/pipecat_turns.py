"""Turns for a Pipecat pipeline that keeps its own speech-to-text service. Needs the extra ``pipecat``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hearout.extras import needs_extra
from hearout.integrations.turns import OwnTurns
from hearout.session.controls import TurnControls, chosen_policy
from hearout_policies import events
from hearout_policies.language import Language
from hearout_policies.policy import Policy
from hearout_policies.signals import AgentSpeech, Signal

with needs_extra("pipecat", __name__, "Pipecat 1.14 or newer"):
    from pipecat.frames import frames
    from pipecat.observers.base_observer import BaseObserver
    from pipecat.turns.types import ProcessFrameResult, UserTurnSpeculation
    from pipecat.turns.user_start import BaseUserTurnStartStrategy
    from pipecat.turns.user_stop import BaseUserTurnStopStrategy, NormalizedMatch
    from pipecat.turns.user_turn_strategies import UserTurnStrategies
    from pipecat.utils.time import time_now_iso8601

    from hearout.integrations.pipecat import BotText
    from hearout.integrations.pipecat_frames import hear_line, hear_service

__all__ = ["HearoutTurns"]


_DROPPED = 2.0  # seconds; a frame that Pipecat has not handled by then was dropped: its user is muted


class HearoutTurns(UserTurnStrategies, TurnControls):
    """Takes the place of a user aggregator's turn strategies; service and voice detection stay as they are::

        LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=HearoutTurns())

    It hears the final and interim transcriptions of any `STTService`, Pipecat's voice detection, the bot, and what a
    service that detects turns proposes, and ends a turn once, with all of its words. A turn starts with its first
    words, or, over the bot's speech, when it is an interruption. Whether and when a service is asked for its last words
    is its own affair: Deepgram, AssemblyAI, Gradium, Speechmatics, Soniox, ElevenLabs do it when the voice stops.

    ``event_handler("on_turn_event")`` decorates a function of ``(turns, event)`` that gets everything the turn machine
    says. What `hearout.Session` can be told while it runs, this can, too: ``use``, ``expect``, ``agent_said`` (see
    `observer`), ``key``, ``force_end``, ``hold``, ``release``, ``clear``.

    Args:
        policy: as in `hearout.open_session`.
        should_interrupt: whether a turn interrupts the bot.
        enable_eager_end_of_turn: answer `hearout.TurnPredicted` ahead of the end of the turn, at the price of an LLM
            run for each prediction that is taken back.

    Raises:
        UsageError: the policy cannot be used.
    """

    def __init__(
        self,
        policy: Policy | str = "balanced",
        *,
        should_interrupt: bool = True,
        enable_eager_end_of_turn: bool = False,
    ) -> None:
        self._desk = _Desk(self, chosen_policy(policy), enable_eager_end_of_turn)
        self._desk.start = _Start(self._desk, enable_interruptions=should_interrupt)
        self._desk.stop = _Stop(self._desk)
        super().__init__(start=[self._desk.start], stop=[self._desk.stop])

    def event_handler(self, event: str) -> Callable[[Any], Any]:
        """As of every Pipecat object."""
        return self._desk.stop.event_handler(event)  # type: ignore[no-any-return]

    @property
    def observer(self) -> BaseObserver:
        """For ``PipelineWorker(..., observers=[turns.observer])``: what the bot says tells what is asked.

        And it guards against the echo of it (`hearout.Session.agent_said`).
        """
        return BotText(self.agent_said)

    @property
    def _language(self) -> str | Language | None:
        return self._desk.turns._language

    def _tell(self, channel: int | None, signal: Callable[[float], Signal], **record: Any) -> None:
        self._desk.turns._tell(channel, signal, **record)
        self._desk.wake()


@dataclass
class _OwnFrame(frames.TranscriptionFrame):
    """Words that come from here.

    Attributes:
        ends: the turn is over with them.
    """

    ends: bool = False


class _Desk:
    """Where the turn machine and Pipecat meet: frames come in, decisions go out in order."""

    start: _Start
    stop: _Stop

    def __init__(self, owner: HearoutTurns, policy: Policy, eager: bool) -> None:
        self.owner = owner
        self.turns = OwnTurns(policy, self._decided)
        self.eager = eager
        self.started = False  # Pipecat was told of the turn
        self.overdue = False  # it could not be told of the end, as its voice detection still hears somebody
        self._over_bot = False  # the turn began while the bot spoke
        self._open: int | None = None  # our turn
        self._cut: int | None = None  # the turn that Pipecat has ended by itself
        self._had = ""  # what it had of that one
        self._final = ""  # the text of the turn that Pipecat has
        self._next = ""  # what is on its way to it for the turn behind that
        self._queued = 0  # frames from here that it has not handled yet
        self._flying: _OwnFrame | None = None  # is on its way, and ends the turn
        self._flown = 0.0  # when it was sent
        self._predicted: str | None = None
        self._outputs: deque[events.Output] = deque()
        self._order = asyncio.Lock()  # of what Pipecat is told
        self._news = asyncio.Event()

    def _decided(self, output: events.Output) -> None:
        self._outputs.append(output)
        self.wake()

    def wake(self) -> None:
        self._news.set()

    async def work(self) -> None:
        """Carry out what is decided between frames."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.carry_out()

    async def hear(self, frame: Any) -> None:
        """What a frame means to the turn machine."""
        turns, now = self.turns, self.turns.now
        match frame:
            case frames.VADUserStartedSpeakingFrame():
                turns.voice_started(frame.start_secs)
            case frames.VADUserStoppedSpeakingFrame():
                turns.voice_stopped(frame.stop_secs)
            case frames.TranscriptionFrame() if not isinstance(frame, _OwnFrame):
                rest = turns.final(frame.text, finalized=frame.finalized)
                if (end := self._in_flight) is not None:
                    # It overtook the words of the turn that is over, which are the same: they come once, and whole.
                    await self._forget()
                    end.text = self._latest(end)
                    await self._hand_over(rest)
                    self._next = f"{self._next} {rest}".strip()
                else:
                    if rest != " ".join(frame.text.split()):
                        await self._forget()  # a turn that is over has had some of it
                        await self._hand_over(rest)
                    self._final = f"{self._final} {rest}".strip()
            case _OwnFrame():
                self._queued = max(0, self._queued - 1)
                if not frame.ends:
                    return
                self._flying = None
                await self._stop(frame.text)
            case frames.BotStartedSpeakingFrame():
                turns.tell(AgentSpeech(now, "started"))
            case frames.BotStoppedSpeakingFrame():
                turns.tell(AgentSpeech(now, "stopped"))
            case _ if not (hear_service(turns, frame) or hear_line(turns, frame)):
                return
        await self.carry_out()
        words = isinstance(frame, frames.TranscriptionFrame)
        if words and self._open is None and not self.started:
            await self._forget()  # a turn has them that is over; or they are the bot's own echo
        if self.overdue and isinstance(frame, frames.VADUserStoppedSpeakingFrame):
            await self._stop()

    async def carry_out(self) -> None:
        """Tell Pipecat what was decided."""
        async with self._order:
            while self._outputs and self._in_flight is None:
                event = self._outputs.popleft()
                await self.stop._call_event_handler("on_turn_event", event)
                await self._carry_out(event)

    async def _carry_out(self, event: events.Output) -> None:
        match event:
            case events.TurnStarted():
                self._over_bot, self._open = event.agent_speaking, event.turn
            case events.TurnUpdated() if event.turn != self._cut:
                if event.interrupts or (event.text and not self._over_bot):
                    await self._start()
            case events.TurnPredicted() if self.eager and self.started:
                self._predicted = event.text
                speculation = UserTurnSpeculation(text=event.text)
                await self.stop.trigger_user_turn_inference_triggered(speculation=speculation)
            case events.TurnResumed():
                await self._take_back()
            case events.TurnCompleted():
                self._open = None
                await self._complete(event)
            case events.TurnAbandoned():
                self._open = None
                await self._take_back()
                await self._stop()
                await self._forget()

    async def _complete(self, turn: events.TurnCompleted) -> None:
        if turn.backchannel and not self.started:
            await self._forget()
            await self.stop.push_frame(frames.UserBackchannelFrame(turn.text, "", time_now_iso8601()))
            return
        text = turn.text
        if turn.turn == self._cut and not (text := _behind(self._had, text)):
            return  # Pipecat had all of it
        rest = _behind(self._final, text) if text.startswith(self._final) else ""
        await self._start()
        if not rest and not self._queued:
            await self._stop()
            return
        # Words that are not final yet: Pipecat has them from here, or not at all.
        await self._hand_over(rest, turn, ends=True)

    @property
    def _in_flight(self) -> _OwnFrame | None:
        """A turn is about to end, by this frame; what comes behind it must wait."""
        if self._flying is not None and self.turns.now > self._flown + _DROPPED:
            self._flying = None
        return self._flying

    def _latest(self, frame: _OwnFrame) -> str:
        """All words of the turn that it ends, as they are now."""
        texts = [
            out.text for out in self._outputs if isinstance(out, events.TurnAmended) and out.turn == frame.result.turn
        ]
        return texts[-1] if texts else frame.result.text

    async def _hand_over(self, text: str, turn: events.TurnCompleted | None = None, *, ends: bool = False) -> None:
        """Give Pipecat words of its user; ``ends``: the turn is over when it has them."""
        if text or ends:
            frame = _OwnFrame(text, "", time_now_iso8601(), result=turn, ends=ends)
            frame.interruptible = False
            self._queued += 1
            if ends:
                self._flying, self._flown = frame, self.turns.now
            await self.stop.push_frame(frame)

    async def _start(self) -> None:
        if not self.started:
            self.started = True
            await self.start.trigger_user_turn_started()

    async def _stop(self, text: str = "") -> None:
        if not self.started:
            return
        self.overdue = False
        predicted, self._predicted = self._predicted, None
        if predicted is not None and NormalizedMatch().matches(predicted, f"{self._final} {text}".strip()):
            await self.stop.trigger_user_turn_finalized(confirms_speculation=True)
        else:
            if predicted is not None:
                await self.stop.trigger_user_turn_speculation_cancelled()
            await self.stop.trigger_user_turn_stopped()
        if self.started:  # Pipecat ends no turn while its voice detection hears the user
            self.overdue, self._final = True, ""

    async def _take_back(self) -> None:
        if self._predicted is not None:
            self._predicted = None
            await self.stop.trigger_user_turn_speculation_cancelled()

    async def _forget(self) -> None:
        """Pipecat has words that belong to no turn: they must not stand in front of the next one."""
        self._final = ""
        await self.start.trigger_reset_aggregation()

    def ended(self) -> None:
        """Pipecat has ended its turn, be it by itself."""
        self.started = self.overdue = False
        self._queued = 0
        if self._open is not None:
            self._cut, self._had = self._open, self._final
            self.turns.force_end()
        self._final, self._next, self._predicted = self._next, "", None


def _behind(head: str, text: str) -> str:
    return text.removeprefix(head).strip()


class _Start(BaseUserTurnStartStrategy):
    """Tells Pipecat of the start of a turn."""

    def __init__(self, desk: _Desk, **options: Any) -> None:
        super().__init__(**options)
        self._desk = desk

    @property
    def resolves_proposed_turn_start_frames(self) -> bool:
        return True

    async def handle_user_turn_started(self) -> None:
        self._desk.started = True


class _Stop(BaseUserTurnStopStrategy):
    """Hears all frames, and tells Pipecat of the end of a turn."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self._desk = desk
        self._task: asyncio.Task[None] | None = None
        self._register_event_handler("on_turn_event", sync=True)

    @property
    def resolves_proposed_turn_stop_frames(self) -> bool:
        return True

    async def setup(self, setup: Any) -> None:
        await super().setup(setup)
        self._desk.turns.start()
        self._task = self.create_task(self._desk.work(), f"{self}::turns")

    async def cleanup(self) -> None:
        await super().cleanup()
        self._desk.turns.stop()
        if self._task is not None:
            await self.cancel_task(self._task)
            self._task = None

    async def process_frame(self, frame: Any) -> Any:
        await self._desk.hear(frame)
        return ProcessFrameResult.CONTINUE

    async def handle_user_turn_stopped(self) -> None:
        self._desk.ended()
