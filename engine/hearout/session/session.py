"""A session as the application sees it: audio in, turn events out."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from hearout.errors import UsageError
from hearout.link.settings import LinkSettings, LinkStats
from hearout.link.socket import Connector, open_stream
from hearout.nursery import open_background
from hearout.session.core import SessionCore, SessionEvent, TraceWriter
from hearout.sources.base import AudioSource
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate, WebRtcDetector
from hearout_policies.events import TurnUpdated
from hearout_policies.policy import Policy, load_policy

__all__ = ["Session", "SessionEvent", "open_session", "webrtc_gate"]


def webrtc_gate(sample_rate: int) -> SpeechGate:
    """The usual voice detection for one channel."""
    return SpeechGate(WebRtcDetector(sample_rate), sample_rate)


@asynccontextmanager
async def open_session(
    source: AudioSource,
    transcriber: Dialect,
    *,
    policy: Policy | str = "balanced",
    vad: Callable[[int], SpeechGate] | None = webrtc_gate,
    recorder: TraceWriter | None = None,
    realtime: bool = True,
    stall_after: float = 0.5,
    link: LinkSettings | None = None,
    connect: Connector = open_stream,
) -> AsyncIterator[Session]:
    """Listen to ``source`` for the length of a block::

        async with open_session(source, Deepgram(key)) as session:
            async for event in session:
                ...

    Args:
        source: the audio; as many channels as the transcriber has, each is a speaker with turns of its own.
        transcriber: the provider's dialect.
        policy: when a turn is over: a `Policy`, the name of a preset, or a TOML file.
        vad: makes the voice detection of one channel from a sample rate; None: none, words alone must do.
        recorder: gets every record of the trace.
        realtime: the audio is happening now. False: take it as fast as the transcriber can hear, with the
            results of a session in real time.
        stall_after: seconds without audio after which there is none (mute), and time passes all the same;
            during a turn that counts as silence. Up to then the audio is late, and no turn ends for it.
        link: times and limits of the connection.
        connect: opens the stream below the websocket.

    Raises:
        UsageError: the parts do not fit together. What goes wrong later comes out of the iteration.
    """
    if source.channels != transcriber.channels or source.sample_rate != transcriber.sample_rate:
        raise UsageError(
            f"the audio has {source.channels} channel(s) at {source.sample_rate} Hz, but {transcriber.name} "
            f"is set to {transcriber.channels} at {transcriber.sample_rate} Hz; make them agree"
        )
    if isinstance(policy, str):
        try:
            policy = load_policy(policy)
        except ValueError as error:
            raise UsageError(str(error)) from None
    core = partial(
        SessionCore,
        source,
        transcriber,
        policy,
        vad=vad,
        recorder=recorder,
        realtime=realtime,
        stall_after=stall_after,
        link=link,
        connect=connect,
    )
    session = Session(core)
    async with open_background() as nursery:
        nursery.start_soon(session._run)
        yield session
    session._raise_unseen()


class Session:
    """Iterate over it for the events; the iteration ends with the audio, when the last words are in.

    Events wait for a slow consumer in an unbounded queue, and nothing waits for him: turns end when they end.
    Only a `TurnUpdated` that nobody has read yet is replaced by the next one, so the queue grows by a few small
    events a turn. When the session fails, the error is raised after all events that came before it. An error of
    the source is the end of the audio: it is raised when the last words of what came before are in.

    Not made by hand: see `open_session`.
    """

    def __init__(self, core: Callable[[Callable[[SessionEvent], None]], SessionCore]) -> None:
        self._core = core(self._emit)
        self._queue: deque[SessionEvent] = deque()
        self._more = trio.Event()
        self._closed = False
        self._error: Exception | None = None

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self

    async def __anext__(self) -> SessionEvent:
        if self._queue or self._closed:
            await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._closed:
                raise StopAsyncIteration
            self._more = trio.Event()
            await self._more.wait()
        return self._queue.popleft()

    def force_end(self, channel: int | None = None) -> None:
        """End the turn as soon as its words are final. ``channel`` None: on all channels; likewise below."""
        self._core.command("force_end", channel)

    def hold(self, channel: int | None = None) -> None:
        """Keep turns open until `release`."""
        self._core.command("hold", channel)

    def release(self, channel: int | None = None) -> None:
        """Undo `hold`."""
        self._core.command("release", channel)

    def clear(self, channel: int | None = None) -> None:
        """Drop what was heard so far."""
        self._core.command("clear", channel)

    def send(self, message: str) -> None:
        """Send a message of the transcriber's own kind, as `Deepgram.configure` makes, behind the audio so far."""
        self._core.link.send(message)

    def agent_started(self) -> None:
        """The voicebot begins to speak: what its user says now is a barge-in, or a backchannel."""
        self._core.agent("started")

    def agent_stopped(self) -> None:
        """The voicebot has ceased to speak."""
        self._core.agent("stopped")

    @property
    def gates(self) -> list[SpeechGate]:
        """The voice detection of each channel, for meters; empty without."""
        return self._core.gates

    @property
    def heard(self) -> float:
        """Seconds of audio heard so far."""
        return self._core.heard

    @property
    def now(self) -> float:
        """The session clock, seconds."""
        return self._core.now()

    @property
    def link_stats(self) -> LinkStats:
        """Counters of the connection."""
        return self._core.link.stats

    def _emit(self, event: SessionEvent) -> None:
        enqueue(self._queue, event)
        self._more.set()

    async def _run(self) -> None:
        try:
            await self._core.run()
        except Exception as error:
            self._error = error
        finally:
            self._closed = True
            self._more.set()

    def _raise_unseen(self) -> None:
        if self._error is not None:
            raise self._error


def enqueue(queue: deque[SessionEvent], event: SessionEvent) -> None:
    """Append ``event``; a `TurnUpdated` takes the place of one that nobody has read yet."""
    last = queue[-1] if queue else None
    if isinstance(event, TurnUpdated) and isinstance(last, TurnUpdated) and last.channel == event.channel:
        queue[-1] = event
    else:
        queue.append(event)
