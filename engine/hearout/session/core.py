"""What happens inside a session: everything that comes in ends in one synchronous function.

Tasks bring in what happens: audio (with voice detection inline), messages of the transcriber, the passing of
time. Each becomes a signal for `SessionCore.dispatch`, which gives it to the turn machine of its channel and does
what that says. There is no other state shared between the tasks, and nothing in between that could reorder or
drop.

Two clocks, never mixed. *Audio time* counts samples. The *session clock* (`hearout.session.clock`) begins where
the first audio began and runs with trio's clock, but does not overtake audio that is late. When a session is not
in real time, the session clock *is* audio time until the audio ends: then silences and waits mean the same as in
a live session, however fast the transcriber is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal, Protocol

import trio

from hearout.audio import deinterleave
from hearout.errors import SessionError
from hearout.link.link import Link
from hearout.link.refusal import masked
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector
from hearout.nursery import open_background
from hearout.session.clock import MICRO, SessionClock
from hearout.session.notices import AudioLost, LinkDown, LinkUp, Notice, Warning
from hearout.sources.base import AudioSource
from hearout.sources.push import PushSource
from hearout.transcribers.base import Dialect, WireMessage
from hearout.vad import SpeechEdge, SpeechGate
from hearout_policies.events import Finalize, Output, TurnAbandoned, TurnCompleted, TurnStarted
from hearout_policies.machine import TurnMachine
from hearout_policies.policy import Policy
from hearout_policies.signals import (
    AgentSpeech,
    AppCommand,
    AudioStalled,
    EndOfAudio,
    LinkLost,
    LinkRestored,
    Signal,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Tick,
)

__all__ = ["VOICE", "SessionCore", "SessionEvent", "TraceWriter"]

SessionEvent = Output | Notice

_BLOCK = 0.02  # seconds; larger chunks of audio are cut, so that what is noticed in them has its own time
_STEP = 0.1  # seconds of audio between two looks at the transcriber when not in real time
#: What the machine hears, by the kind of the edge.
VOICE: Mapping[str, type[SpeechStarted | SpeechStopped | SpeechSuspected]] = {
    "start": SpeechStarted,
    "stop": SpeechStopped,
    "maybe": SpeechSuspected,
}
_HOPS = 3  # task switches from the socket to the machine: trio-websocket's reader, the link's, and one to spare


class TraceWriter(Protocol):
    """Takes the records of a trace, as `hearout.traces.recorder.Recorder` does."""

    def write(self, record: Mapping[str, Any]) -> None: ...


class SessionCore:
    """The machines of a session, and all that feeds them. Is the `hearout.link.settings.LinkOwner` of its link.

    Attributes:
        gates: the voice detection of each channel; empty without.
        link: the connection to the transcriber.
    """

    def __init__(
        self,
        source: AudioSource,
        transcriber: Dialect,
        policy: Policy,
        emit: Callable[[SessionEvent], None],
        *,
        vad: Callable[[int], SpeechGate] | None,
        recorder: TraceWriter | None,
        realtime: bool,
        stall_after: float,
        link: LinkSettings | None,
        connect: Connector,
    ) -> None:
        channels = range(source.channels)
        if not realtime and link is None:
            # Nothing is live: the audio waits for the transcriber, also after a loss.
            link = LinkSettings(replay_speed=None)
        self.gates = [vad(source.sample_rate) for _ in channels] if vad else []
        self.link = Link(transcriber, source.sample_rate, self, settings=link, connect=connect)
        self._source = source
        self._transcriber = transcriber
        self._machines = [TurnMachine(policy, channel) for channel in channels]
        self._emit = emit
        self._recorder = recorder
        self._realtime = realtime
        self._stall_after = stall_after
        self._clock = SessionClock(source.sample_rate, realtime=realtime, patience=stall_after)
        self._frame_bytes = 2 * source.channels
        self._block_bytes = round(_BLOCK * source.sample_rate) * self._frame_bytes
        self._stalled = False
        self._ended = False
        self._connected = True
        self._down_since = 0.0
        self._open_turns: set[int] = set()  # channels
        self._due: float | None = None  # the earliest deadline of all machines
        self._armed = math.inf  # the deadline for which the timekeeper sleeps
        self._rouse = trio.Event()  # it must look again
        self._moved = trio.Event()  # something was dispatched

    def dispatch(self, channel: int | None, signal: Signal) -> None:
        """Tell the machine of ``channel`` (None: of all channels), and do what it says."""
        while self._due is not None and self._due < signal.at:
            self._do_due(self._due)
        for number in range(len(self._machines)) if channel is None else (channel,):
            self._tell(number, signal)
        self._look_ahead()

    def _tell(self, channel: int, signal: Signal) -> None:
        for output in self._machines[channel].handle(signal):
            match output:
                case Finalize():
                    self.link.finalize(channel)
                case TurnStarted():
                    self._open_turns.add(channel)
                case TurnCompleted() | TurnAbandoned():
                    self._open_turns.discard(channel)
            self._emit(output)

    def _do_due(self, due: float) -> None:
        """Tell every machine whose deadline this is, as a replay does: at the deadline itself, however late."""
        for channel, machine in enumerate(self._machines):
            if machine.deadline == due:
                self._tell(channel, Tick(due))
        self._clock.pass_by(due)
        self._look_ahead()

    def _look_ahead(self) -> None:
        deadlines = [machine.deadline for machine in self._machines if machine.deadline is not None]
        self._due = min(deadlines, default=None)
        self._moved.set()
        if self._due is not None and self._due < self._armed:
            self._rouse.set()

    def command(self, kind: Literal["force_end", "hold", "release", "clear"], channel: int | None) -> None:
        """The application takes a hand."""
        at = self.now()
        self._record(t=at, app=kind, **({} if channel is None else {"channel": channel}))
        self.dispatch(channel, AppCommand(at, kind))

    def agent(self, kind: Literal["started", "stopped"]) -> None:
        """The voicebot itself begins or ceases to speak."""
        at = self.now()
        self._record(t=at, agent=kind)
        self.dispatch(None, AgentSpeech(at, kind))

    def _record(self, **record: Any) -> None:
        if self._recorder is not None:
            self._recorder.write(record)

    # -- time ------------------------------------------------------------------------------------------------

    @property
    def heard(self) -> float:
        """Seconds of audio heard so far."""
        return self._clock.heard

    def now(self) -> float:
        """The session clock: seconds, to the microsecond."""
        return self._clock.now()

    async def _keep_time(self) -> None:
        """Sleep until something is due, again and again."""
        while True:
            if self._is_due() or self._is_stalling():
                # What has already arrived goes first: it may well say that the user speaks on.
                for _ in range(_HOPS):
                    await trio.lowlevel.checkpoint()
                self._tick()
                continue
            wake = math.inf if self._due is None else self._clock.wake(self._due)
            if self._stall_possible():
                wake = min(wake, self._clock.arrived + self._stall_after)
            self._armed = math.inf if self._due is None else self._due
            self._rouse = trio.Event()
            with trio.move_on_at(wake):
                await self._rouse.wait()

    def _is_due(self) -> bool:
        # A deadline need not be a whole number of microseconds.
        return self._due is not None and self._due <= self.now() + MICRO

    def _stall_possible(self) -> bool:
        if self._stalled or self._ended or not self._realtime:
            return False
        return bool(self._open_turns) or any(gate.speaking for gate in self.gates)

    def _is_stalling(self) -> bool:
        return self._stall_possible() and trio.current_time() >= self._clock.arrived + self._stall_after

    def _tick(self) -> None:
        """Do what is due."""
        if self._is_stalling():
            self._stalled = True
            self.link.flush()
            for gate in self.gates:
                gate.flush()
            stalled = AudioStalled(self.now(), self.heard)
            self._record(t=stalled.at, audio="stalled", heard=stalled.heard)
            self.dispatch(None, stalled)
        while self._due is not None and self._is_due():
            self._do_due(self._due)

    # -- audio -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole session, from the first audio to the last word.

        Raises:
            SessionError: the transcriber refused, or is gone for good.
            Exception: whatever the source raises.
        """
        try:
            await self._run()
        except SessionError:
            self._end_turns()
            raise

    async def _run(self) -> None:
        async with open_background() as nursery:
            nursery.start_soon(self.link.run)
            if self._realtime:
                nursery.start_soon(self._keep_time)
            error = await self._ingest()
            if error is not None and not self.heard:
                raise error
            self._end_audio()
            if not self._realtime:
                nursery.start_soon(self._keep_time)
            await self._until_quiet()
            await self.link.finish()
            await self._until_quiet()  # the last words may have opened a turn
            if error is not None:
                raise error

    async def _ingest(self) -> Exception | None:
        """Hear all there is; what the source raised, if it did: to us that is the end of the audio, too."""
        error: Exception | None = None
        step = round(_STEP * self._source.sample_rate) * self._frame_bytes
        unsettled = 0
        async with AsyncExitStack() as stack:
            if self._realtime and isinstance(self._source, PushSource):
                self._source.pour_into(self._take)  # from now on without a task in between
            chunks = aiter(self._source)
            if aclose := getattr(chunks, "aclose", None):  # a generator left half-way warns when collected
                stack.push_async_callback(aclose)
            while True:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    break
                except Exception as exc:
                    error = exc
                    break
                if self._realtime:
                    self._take(chunk)
                    continue
                for block in self._blocks(chunk):
                    self._hear(block)
                    self._tick()
                    unsettled += len(block)
                    if unsettled >= step:
                        await self.link.settle()
                        unsettled = 0
        if not self._realtime:
            await self.link.settle()
        return error

    def _take(self, chunk: bytes) -> None:
        """Hear what is happening now."""
        self._clock.arrive(len(chunk) // self._frame_bytes)
        for block in self._blocks(chunk):
            self._hear(block)

    def _blocks(self, chunk: bytes) -> Sequence[bytes]:
        size = self._block_bytes
        return (chunk,) if len(chunk) <= size else [chunk[at : at + size] for at in range(0, len(chunk), size)]

    def _hear(self, block: bytes) -> None:
        self._clock.hear(len(block) // self._frame_bytes)
        self.link.feed(block)  # before what is noticed in it: a Finalize is to flush this, too
        if self.gates:
            for channel, mono in enumerate(deinterleave(block, self._source.channels)):
                for edge in self.gates[channel].feed(mono):
                    self._voice(channel, edge, self._clock.heard_at())
        if self._stalled or (self._due is not None and self._clock.has_heard(self._due)):
            self._stalled = False
            self._rouse.set()

    def _voice(self, channel: int, edge: SpeechEdge, at: float) -> None:
        audio, heard = round(edge.audio, 6), self.heard
        self._record(t=at, vad=edge.kind, audio=audio, heard=heard, channel=channel)
        self.dispatch(channel, VOICE[edge.kind](at, audio, heard))

    def _end_audio(self) -> None:
        self._ended = True
        self._clock.end()
        self.link.flush()
        at = self.now()
        for channel, gate in enumerate(self.gates):
            for edge in gate.flush():
                self._voice(channel, edge, at)
        self._record(t=at, end=True)
        self.dispatch(None, EndOfAudio(at))
        self._rouse.set()

    def _end_turns(self) -> None:
        """The transcriber is gone for good: what it heard of open turns is told now, as at the end of the audio."""
        if not self._open_turns:
            return
        if self._connected:
            self._lose_link(self.now())
        if not self._ended:
            self._end_audio()
        while self._due is not None:
            self._do_due(self._due)

    async def _until_quiet(self) -> None:
        """Until no machine waits for anything; how long that can take is up to the policy."""
        while any(machine.deadline is not None for machine in self._machines):
            self._moved = trio.Event()
            await self._moved.wait()

    # -- what the link tells -----------------------------------------------------------------------------------

    def sent(self, message: WireMessage) -> None:
        if isinstance(message, str):
            self._record(t=self.now(), sent=json.loads(message))

    def received(self, at: float, message: WireMessage) -> None:
        if self._recorder is None:
            return
        try:
            data = json.loads(masked(message, self._transcriber) if isinstance(message, str) else message)
        except (ValueError, RecursionError):
            return  # the link warns of it
        if isinstance(data, dict):
            self._record(t=at, stt=data)

    def transcribed(self, channel: int, signal: Signal) -> None:
        self.dispatch(channel, signal)

    def link_lost(self, detail: str) -> None:
        at = self._down_since = self.now()
        self._emit(LinkDown(at, detail))
        self._lose_link(at)

    def _lose_link(self, at: float) -> None:
        self._connected = False
        self._record(t=at, link="lost")
        self.dispatch(None, LinkLost(at))

    def link_restored(self, audio: float) -> None:
        at = self.now()
        self._connected = True
        self._record(t=at, link="restored", audio=audio)
        self._emit(LinkUp(at, audio, round(at - self._down_since, 6)))
        self.dispatch(None, LinkRestored(at, audio))

    def audio_lost(self, start: float, end: float) -> None:
        self._emit(AudioLost(self.now(), start, end))

    def warn(self, detail: str) -> None:
        self._emit(Warning(self.now(), detail))
