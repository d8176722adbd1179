"""What happens inside a session: everything that comes in ends in one synchronous function.

Tasks bring in what happens: audio (with voice detection inline), messages of the transcriber, the passing of
time. Each becomes a signal for `SessionCore.dispatch`, which gives it to the turn machine of its channel and does
what that says. There is no other state shared between the tasks, and nothing in between that could reorder or
drop.

Two clocks, never mixed. *Audio time* counts samples. The *session clock* begins where the first audio block
began and runs with trio's clock, so both agree as long as audio flows. When a session is not in real time, the
session clock *is* audio time until the audio ends: then silences and waits mean the same as in a live session,
however fast the transcriber is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, Protocol

import trio

from turnwise.audio import deinterleave
from turnwise.link import Link
from turnwise.link_base import LinkSettings
from turnwise.link_connection import Connector
from turnwise.notices import AudioLost, LinkDown, LinkUp, Notice, Warning
from turnwise.nursery import open_background
from turnwise.sources.base import AudioSource
from turnwise.transcribers.base import Dialect, WireMessage
from turnwise.vad import SpeechGate
from turnwise_policies.events import Finalize, Output, TurnAbandoned, TurnCompleted, TurnStarted
from turnwise_policies.machine import TurnMachine
from turnwise_policies.policy import Policy
from turnwise_policies.signals import (
    AgentSpeech,
    AppCommand,
    AudioStalled,
    EndOfAudio,
    LinkLost,
    LinkRestored,
    Signal,
    SpeechStarted,
    SpeechStopped,
    Tick,
)

__all__ = ["SessionCore", "SessionEvent", "TraceWriter"]

SessionEvent = Output | Notice

_BLOCK = 0.02  # seconds; larger chunks of audio are cut, so that what is noticed in them has its own time
_STEP = 0.1  # seconds of audio between two looks at the transcriber when not in real time
_HOPS = 4  # task switches from the socket to the machine: reader, its queue, receiver, and one to spare
_MICRO = 1e-6  # the session clock counts in microseconds, as traces do


class TraceWriter(Protocol):
    """Takes the records of a trace, as `turnwise.recorder.Recorder` does."""

    def write(self, record: Mapping[str, Any]) -> None: ...


class SessionCore:
    """The machines of a session, and all that feeds them. Is the `turnwise.link_base.LinkOwner` of its link.

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
        self._machines = [TurnMachine(policy, channel) for channel in channels]
        self._emit = emit
        self._recorder = recorder
        self._realtime = realtime
        self._stall_after = stall_after
        self._frames = 0  # heard so far
        self._zero: float | None = None  # the session clock's 0 on trio's clock; None: it is audio time
        self._now = 0.0
        self._last_audio = 0.0  # session clock
        self._stalled = False
        self._ended = False
        self._down_since = 0.0
        self._open_turns: set[int] = set()  # channels
        self._armed: float | None = None  # the deadline for which the timekeeper sleeps
        self._earlier = trio.Event()  # there is an earlier one
        self._moved = trio.Event()  # something was dispatched

    def dispatch(self, channel: int | None, signal: Signal) -> None:
        """Tell the machine of ``channel`` (None: of all channels), and do what it says."""
        for number in range(len(self._machines)) if channel is None else (channel,):
            for output in self._machines[number].handle(signal):
                match output:
                    case Finalize():
                        self.link.finalize(number)
                    case TurnStarted():
                        self._open_turns.add(number)
                    case TurnCompleted() | TurnAbandoned():
                        self._open_turns.discard(number)
                self._emit(output)
        self._moved.set()
        deadline = self._next_deadline()
        if deadline is not None and (self._armed is None or deadline < self._armed):
            self._earlier.set()

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
        return round(self._frames / self._source.sample_rate, 6)

    def now(self) -> float:
        """The session clock: seconds, to the microsecond."""
        at = self.heard if self._zero is None else round(trio.current_time() - self._zero, 6)
        self._now = max(self._now, at)
        return self._now

    def _next_deadline(self) -> float | None:
        due = [machine.deadline for machine in self._machines if machine.deadline is not None]
        if self._stall_possible():
            due.append(self._last_audio + self._stall_after)
        return min(due, default=None)

    def _stall_possible(self) -> bool:
        if self._stalled or self._ended or not self._realtime:
            return False
        return bool(self._open_turns) or any(gate.speaking for gate in self.gates)

    async def _keep_time(self) -> None:
        """Sleep until the next deadline, again and again."""
        while True:
            self._armed = deadline = self._next_deadline()
            self._earlier = trio.Event()
            if deadline is None or self._zero is None:
                await self._earlier.wait()
                continue
            with trio.move_on_at(self._zero + deadline):
                await self._earlier.wait()
                continue
            # What has already arrived goes first: it may well say that the user speaks on.
            for _ in range(_HOPS):
                await trio.lowlevel.checkpoint()
            self._tick()

    def _tick(self) -> None:
        """Do what is due."""
        at = self.now() + _MICRO  # a deadline need not be a whole number of microseconds
        if self._stall_possible() and self._last_audio + self._stall_after <= at:
            self._stalled = True
            for gate in self.gates:
                gate.flush()
            stalled = AudioStalled(self.now(), self.heard)
            self._record(t=stalled.at, audio="stalled", heard=stalled.heard)
            self.dispatch(None, stalled)
        for channel, machine in enumerate(self._machines):
            if machine.deadline is not None and machine.deadline <= at:
                self._now = max(self._now, math.ceil(machine.deadline / _MICRO) * _MICRO, machine.deadline)
                self.dispatch(channel, Tick(self._now))

    # -- audio -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole session, from the first audio to the last word.

        Raises:
            SessionError: the transcriber refused, or is gone for good.
            Exception: whatever the source raises.
        """
        async with open_background() as nursery:
            nursery.start_soon(self.link.run)
            if self._realtime:
                nursery.start_soon(self._keep_time)
            await self._ingest()
            self._end_audio()
            if not self._realtime:
                nursery.start_soon(self._keep_time)
            await self._until_quiet()
            await self.link.finish()
            await self._until_quiet()  # the last words may have opened a turn

    async def _ingest(self) -> None:
        async with AsyncExitStack() as stack:
            chunks = aiter(self._source)
            if aclose := getattr(chunks, "aclose", None):  # a generator left half-way warns when collected
                stack.push_async_callback(aclose)
            unsettled = 0
            async for chunk in chunks:
                for block in self._blocks(chunk):
                    self._hear(block)
                    if not self._realtime:
                        self._tick()
                        unsettled += len(block)
                        if unsettled >= _STEP * self._source.sample_rate * 2 * self._source.channels:
                            await self.link.settle()
                            unsettled = 0
        if not self._realtime:
            await self.link.settle()

    def _blocks(self, chunk: bytes) -> Iterator[bytes]:
        frame = 2 * self._source.channels
        size = round(_BLOCK * self._source.sample_rate) * frame
        if self._realtime and self._zero is None and chunk:
            self._zero = trio.current_time() - len(chunk) / frame / self._source.sample_rate
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]

    def _hear(self, block: bytes) -> None:
        channels = self._source.channels
        self._frames += len(block) // (2 * channels)
        at, heard = self.now(), self.heard
        self._last_audio, self._stalled = at, False
        self.link.feed(block)  # before what is noticed in it: a Finalize is to flush this, too
        if not self.gates:
            return
        for channel, (gate, mono) in enumerate(zip(self.gates, deinterleave(block, channels), strict=True)):
            for edge in gate.feed(mono):
                self._voice(channel, edge.kind, at, round(edge.audio, 6), heard)

    def _voice(self, channel: int, kind: str, at: float, audio: float, heard: float) -> None:
        self._record(t=at, vad=kind, audio=audio, heard=heard, channel=channel)
        signal = SpeechStarted if kind == "start" else SpeechStopped
        self.dispatch(channel, signal(at, audio, heard))

    def _end_audio(self) -> None:
        self._ended = True
        if self._zero is None:
            self._zero = trio.current_time() - self.heard
        at = self.now()
        for channel, gate in enumerate(self.gates):
            for edge in gate.flush():
                self._voice(channel, edge.kind, at, round(edge.audio, 6), self.heard)
        self._record(t=at, end=True)
        self.dispatch(None, EndOfAudio(at))

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
            data = json.loads(message)
        except (ValueError, RecursionError):
            return  # the link warns of it
        if isinstance(data, dict):
            self._record(t=at, stt=data)

    def transcribed(self, channel: int, signal: Signal) -> None:
        self.dispatch(channel, signal)

    def link_lost(self, detail: str) -> None:
        at = self._down_since = self.now()
        self._record(t=at, link="lost")
        self._emit(LinkDown(at, detail))
        self.dispatch(None, LinkLost(at))

    def link_restored(self, audio: float) -> None:
        at = self.now()
        self._record(t=at, link="restored", audio=audio)
        self._emit(LinkUp(at, audio, round(at - self._down_since, 6)))
        self.dispatch(None, LinkRestored(at, audio))

    def audio_lost(self, start: float, end: float) -> None:
        self._emit(AudioLost(self.now(), start, end))

    def warn(self, detail: str) -> None:
        self._emit(Warning(self.now(), detail))
