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

import math
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import trio

from hearout.channels import Channels
from hearout.ear.base import Ear
from hearout.lag import watch_lag
from hearout.link.link import Link
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector
from hearout.nursery import open_background
from hearout.session.blame import blame
from hearout.session.clock import MICRO, SessionClock
from hearout.session.detection import Detection
from hearout.session.labels import unlabelled
from hearout.session.listening import Listening
from hearout.session.notices import AudioLost, LinkDown, LinkUp, Notice, SessionWarning
from hearout.session.recording import GuardedRecorder, TraceWriter
from hearout.sources.base import AudioSource, HasKeys, Pours, checked
from hearout.transcribers.base import Dialect, WireMessage, least_silence
from hearout.vad import SpeechEdge, SpeechGate
from hearout_policies.events import Finalize, Output, TurnAbandoned, TurnCompleted, TurnStarted
from hearout_policies.policy import Policy
from hearout_policies.signals import (
    REPLAY_SPEED,
    VOICE,
    AudioStalled,
    EarHeard,
    EndOfAudio,
    KeyPressed,
    LinkLost,
    LinkRestored,
    Signal,
)

__all__ = ["SessionCore", "SessionEvent"]

SessionEvent = Output | Notice

_BLOCK = 0.02  # seconds; larger chunks of audio are cut, so that what is noticed in them has its own time
_ONSET = 1.0  # seconds; a voice is noticed sooner after it has begun
_STEP = 0.1  # seconds of audio between two looks at the transcriber when not in real time
_HOPS = 3  # task switches from the socket to the machine: trio-websocket's reader, the link's, and one to spare


class SessionCore:
    """The machines of a session, and all that feeds them. Is the `hearout.link.settings.LinkOwner` of its link.

    Attributes:
        channels: how many there are.
        language: that its first policy names; None: none.
        voice: the voice detection.
        link: the connection to the transcriber.
        outlook: what becomes of the turn that is open on a channel; None: none is.
    """

    def __init__(
        self,
        source: AudioSource,
        transcriber: Dialect,
        policy: Policy,
        emit: Callable[[SessionEvent], None],
        *,
        vad: Callable[[int], SpeechGate] | None,
        ear: Ear | None,
        recorder: TraceWriter | None,
        realtime: bool,
        stall_after: float,
        link: LinkSettings | None,
        connect: Connector,
    ) -> None:
        if link is None:
            # Where nothing is live the audio waits for the transcriber, also after a loss.
            link = LinkSettings() if realtime else LinkSettings(replay_speed=None)
        self.channels = source.channels
        self.language = policy.language
        self.voice = Detection(vad, source.sample_rate, source.channels)
        self.link = Link(transcriber, source.sample_rate, self, settings=link, connect=connect)
        self._listening: Listening | None = None
        if ear is not None:
            self._listening = Listening(ear, source.sample_rate, source.channels, self._ear_heard, self.warn)
        self._source = source
        self._transcriber = transcriber
        self._emit = emit
        self._trace = GuardedRecorder(recorder, self.warn)
        self._realtime = realtime
        self._stall_after = stall_after
        self._clock = SessionClock(source.sample_rate, realtime=realtime, patience=stall_after)
        after = least_silence(transcriber)
        passed = self._clock.pass_by
        self._channels = Channels(policy, source.channels, self._decided, passed, finalize_after=after)
        self.outlook = self._channels.outlook
        self._frame_bytes = 2 * source.channels
        self._block_bytes = round(_BLOCK * source.sample_rate) * self._frame_bytes
        self._stalled = False
        self._ended = False
        self._quiet_since = 0.0  # audio time at which the last voice ceased
        self._replay_speed = link.replay_speed
        self._connected = True
        self._down_since = 0.0
        self._open_turns: set[int] = set()  # channels
        self._armed = math.inf  # the deadline for which the timekeeper sleeps
        self._rouse = trio.Event()  # it must look again
        self._moved = trio.Event()  # something was dispatched

    def dispatch(self, channel: int | None, signal: Signal) -> None:
        """Tell the machine of ``channel`` (None: of all channels), and do what it says."""
        self._channels.tell(channel, signal)
        self._look_ahead()

    def _do_due(self) -> None:
        self._channels.tick()
        self._look_ahead()

    def _decided(self, output: Output) -> None:
        match output:
            case Finalize():
                self.link.finalize(output.channel)
            case TurnStarted():
                self._open_turns.add(output.channel)
            case TurnCompleted() | TurnAbandoned():
                self._open_turns.discard(output.channel)
        self._emit(output)

    @property
    def _due(self) -> float | None:
        return self._channels.deadline

    def _look_ahead(self) -> None:
        self._moved.set()
        if (self._due is not None and self._due < self._armed) or self._channels.failure is not None:
            self._rouse.set()

    def tell(self, channel: int | None, signal: Callable[[float], Signal], **record: Any) -> None:
        """The application says something: that is a ``record`` of the trace, and a signal at this time."""
        at = self.now()
        self._trace.write(t=at, **record, **({} if channel is None else {"channel": channel}))
        self.dispatch(channel, signal(at))

    # -- time ------------------------------------------------------------------------------------------------

    @property
    def heard(self) -> float:
        """Seconds of audio heard so far."""
        return self._clock.heard

    def now(self) -> float:
        """The session clock: seconds, to the microsecond."""
        return self._clock.now()

    async def _keep_time(self) -> None:
        """Sleep until something is due, again and again.

        Raises:
            Exception: a rule has failed, wherever it was asked.
        """
        while True:
            if (failure := self._channels.failure) is not None:
                raise failure
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
        return bool(self._open_turns) or self.voice.speaking

    def _is_stalling(self) -> bool:
        return self._stall_possible() and trio.current_time() >= self._clock.arrived + self._stall_after

    def _tick(self) -> None:
        """Do what is due."""
        if self._is_stalling():
            self._stalled = True
            self.link.flush()
            self.voice.flush()  # the turn machine hears of the stall instead
            stalled = AudioStalled(self.now(), self.heard)
            self._trace.write(t=stalled.at, audio="stalled", heard=stalled.heard)
            self.dispatch(None, stalled)
        while self._is_due():
            self._do_due()

    # -- audio -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole session, from the first audio to the last word.

        Raises:
            SessionError: the transcriber refused, or is gone for good.
            Exception: whatever the source, the voice detection or a rule raises; a note says which it was.
        """
        try:
            with watch_lag(self._overloaded):
                await self._run()
        except Exception:
            self._end_turns()
            raise

    def _overloaded(self, lag: float) -> None:
        if self._realtime:
            self.warn(
                f"overloaded: the event loop was late by {lag:.1f} s, and so are turns; run fewer sessions in this "
                "process, or find what blocks it"
            )

    async def _run(self) -> None:
        async with open_background() as nursery:
            nursery.start_soon(self._run_link)
            if self._listening is not None:
                nursery.start_soon(self._listening.run)
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
            if (error := error or self.voice.failure) is not None:
                raise error

    async def _run_link(self) -> None:
        with blame(f"the transcriber, {self._transcriber.name}"):
            await self.link.run()

    async def _ingest(self) -> Exception | None:
        """Hear all there is; what went wrong with it, if something did: to us that is the end of the audio, too."""
        error: Exception | None = None
        try:
            with blame("the source of audio"):
                await self._ingest_all()
        except Exception as exc:
            error = exc
        if not self._realtime:
            await self.link.settle()
        return error

    async def _ingest_all(self) -> None:
        step = round(_STEP * self._source.sample_rate) * self._frame_bytes
        unsettled = 0
        async with AsyncExitStack() as stack:
            if isinstance(self._source, HasKeys):
                self._source.keys_to(lambda channel, key: self.tell(channel, partial(KeyPressed, key=key), key=key))
            if self._realtime and isinstance(self._source, Pours):
                self._source.pour_into(self._take)  # from now on without a task in between
            chunks = aiter(self._source)
            if aclose := getattr(chunks, "aclose", None):  # a generator left half-way warns when collected
                stack.push_async_callback(aclose)
            while True:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                if self._realtime:
                    self._take(chunk)
                    continue
                for block in self._blocks(checked(chunk, self._frame_bytes)):
                    self._hear(block)
                    if self._listening is not None:
                        await self._listening.settle()
                    self._tick()
                    if (failure := self._channels.failure) is not None:
                        raise failure
                    unsettled += len(block)
                    if unsettled >= step:
                        await self.link.settle()
                        unsettled = 0

    def _take(self, chunk: bytes) -> None:
        """Hear what is happening now."""
        chunk = checked(chunk, self._frame_bytes)
        self._clock.arrive(len(chunk) // self._frame_bytes)
        for block in self._blocks(chunk):
            self._hear(block)

    def _blocks(self, chunk: bytes) -> Sequence[bytes]:
        size = self._block_bytes
        return (chunk,) if len(chunk) <= size else [chunk[at : at + size] for at in range(0, len(chunk), size)]

    def _hear(self, block: bytes) -> None:
        self._clock.hear(len(block) // self._frame_bytes)
        self.link.feed(block)  # before what is noticed in it: a Finalize is to flush this, too
        if self._listening is not None:
            self._listening.hear(block)
        for channel, edge in self.voice.feed(block):
            self._voice(channel, edge, self._clock.heard_at())
        if self.voice.gates and not self.voice.speaking:
            self.link.quiet(self._quiet_since, self.heard - _ONSET)
        if self._stalled or (self._due is not None and self._clock.has_heard(self._due)):
            self._stalled = False
            self._rouse.set()
        if self.voice.failure is not None:
            raise self.voice.failure

    def _voice(self, channel: int, edge: SpeechEdge, at: float) -> None:
        audio, heard = round(edge.audio, 6), self.heard
        self._trace.write(t=at, vad=edge.kind, audio=audio, heard=heard, channel=channel)
        self.dispatch(channel, VOICE[edge.kind](at, audio, heard))
        if edge.kind == "stop":
            self._quiet_since = max(self._quiet_since, audio)
            if self._listening is not None:
                self._listening.ask(channel, audio, heard)

    def _ear_heard(self, channel: int, audio: float, odds: float) -> None:
        at = self.now()
        self._trace.write(t=at, ear=odds, audio=audio, channel=channel)
        self.dispatch(channel, EarHeard(at, audio, odds))

    def _end_audio(self) -> None:
        self._clock.end()
        self.link.flush()
        at = self.now()
        for channel, edge in self.voice.flush():
            self._voice(channel, edge, at)
        self._ended = True
        self._trace.write(t=at, end=True)
        self.dispatch(None, EndOfAudio(at))
        self._rouse.set()

    def _end_turns(self) -> None:
        """Something failed for good: what was heard of open turns is told now, as at the end of the audio."""
        if not self._open_turns:
            return
        if self._connected:
            self._lose_link(self.now())
        if not self._ended:
            self._end_audio()
        while self._due is not None:
            self._do_due()

    async def _until_quiet(self) -> None:
        """Until no machine waits for anything; how long that can take is up to the policy."""
        while self._due is not None:
            self._moved = trio.Event()
            await self._moved.wait()

    # -- what the link tells -----------------------------------------------------------------------------------

    def sent(self, message: WireMessage) -> None:
        self._trace.sent(self.now(), message)

    def received(self, at: float, message: WireMessage) -> None:
        self._trace.received(at, message)

    def transcribed(self, channel: int, signal: Signal) -> None:
        self.dispatch(channel, signal)

    def link_lost(self, detail: str) -> None:
        at = self._down_since = self.now()
        self._emit(LinkDown(at, detail))
        self._lose_link(at)

    def _lose_link(self, at: float) -> None:
        self._connected = False
        self._trace.write(t=at, link="lost")
        self.dispatch(None, LinkLost(at))

    def link_restored(self, audio: float) -> None:
        at = self.now()
        self._connected = True
        speed = self._replay_speed
        self._trace.write(t=at, link="restored", audio=audio, **({} if speed == REPLAY_SPEED else {"speed": speed}))
        self._emit(LinkUp(at, audio, round(at - self._down_since, 6)))
        self.dispatch(None, LinkRestored(at, audio, speed))

    def audio_lost(self, start: float, end: float) -> None:
        self._emit(AudioLost(self.now(), start, end))

    def judges_by(self, policy: Policy) -> None:
        """Warn of what ``policy`` wants and the transcriber does not tell."""
        if (detail := unlabelled(policy, self._transcriber)) is not None:
            self.warn(detail)

    def warn(self, detail: str) -> None:
        self._emit(SessionWarning(self.now(), detail))
