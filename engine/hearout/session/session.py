"""A session as the application sees it: audio in, turn events out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import trio

from hearout.ear.base import Ear
from hearout.errors import UsageError
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.loops import only_in
from hearout.nursery import open_background
from hearout.session.controls import SessionControls, chosen_policy
from hearout.session.core import SessionCore, SessionEvent
from hearout.session.language import in_language, told_language
from hearout.session.parts import check_source, check_the_rest, check_transcriber
from hearout.session.recording import TraceWriter
from hearout.sources.base import AudioSource
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate, webrtc_gate
from hearout_policies.events import TurnUpdated
from hearout_policies.policy import Policy

__all__ = ["Session", "SessionEvent", "open_session"]


@only_in("trio")
async def open_session(
    source: AudioSource,
    transcriber: Dialect,
    *,
    policy: Policy | str = "balanced",
    vad: Callable[[int], SpeechGate] | None = webrtc_gate,
    ear: Ear | None = None,
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
        source: the audio; as many channels as the transcriber has, each is a speaker with turns of its own. One
            serves one session.
        transcriber: the provider's dialect. One serves one session at a time, as do all parts that remember where
            they are, unless it says ``shareable = True`` as `Deepgram` does.
        policy: when a turn is over: a `Policy`, the name of a preset, or a TOML file. Where it names no language, it is
            in the one that the transcriber is told to hear, by its options.
        vad: makes the voice detection of one channel from a sample rate; None: none, words alone must do.
        ear: hears whether a turn is over, where the voice detection finds a silence; `hearout.ear.SmartTurn` is one.
            It may serve many sessions.
        recorder: gets every record of the trace.
        realtime: the audio is happening now. False: take it as fast as the transcriber can hear, with the
            results of a session in real time.
        stall_after: seconds without audio after which there is none (mute), and time passes all the same;
            during a turn that counts as silence. Up to then the audio is late, and no turn ends for it.
        link: times and limits of the connection.
        connect: opens the stream below the websocket.

    Raises:
        UsageError: the parts do not fit together, or are in use. What goes wrong later comes out of the iteration.
    """
    check_source(source)
    check_transcriber(transcriber)
    check_the_rest(vad, ear, recorder)
    if source.channels != transcriber.channels or source.sample_rate != transcriber.sample_rate:
        raise UsageError(
            f"the audio has {source.channels} channel(s) at {source.sample_rate} Hz, but {transcriber.name} "
            f"is set to {transcriber.channels} at {transcriber.sample_rate} Hz; make them agree"
        )
    if ear is not None and vad is None:
        raise UsageError("an ear listens in the silences that the voice detection finds: it needs vad")
    policy = chosen_policy(policy)
    spoken = in_language(policy, told_language(transcriber))
    core = partial(
        SessionCore,
        source,
        transcriber,
        spoken,
        vad=vad,
        ear=ear,
        recorder=recorder,
        realtime=realtime,
        stall_after=stall_after,
        link=link,
        connect=connect,
    )
    with ExitStack() as stack:
        stack.enter_context(_in_use("the source of audio", source))
        stack.enter_context(_in_use(transcriber.name, transcriber))
        stack.enter_context(_in_use("the recorder", recorder))
        session = Session(core)
        if spoken != policy:
            session.use(spoken)  # for the trace, whose header may not know it
        else:
            session._core.judges_by(spoken)
        for gate in session.gates:
            stack.enter_context(_in_use("the voice detection", gate))
        async with open_background() as nursery:
            nursery.start_soon(session._run)
            try:
                yield session
            finally:
                session._left = True
        session._raise_unseen()


_used: set[int] = set()  # ids of the parts of all sessions that run
_lock = threading.Lock()  # sessions run in any thread


@contextmanager
def _in_use(name: str, part: object) -> Iterator[None]:
    """This part remembers what it has given or read, so no other session, or channel, may have it meanwhile."""
    if part is None or getattr(part, "shareable", False):
        yield
        return
    with _lock:
        if id(part) in _used:
            raise UsageError(
                f"{name} is in use by another session or channel, and remembers where it is: make one for each"
            )
        _used.add(id(part))
    try:
        yield
    finally:
        with _lock:
            _used.discard(id(part))


class Session(SessionControls):
    """Iterate over it for the events; the iteration ends with the audio, when the last words are in.

    Events wait for a slow consumer in an unbounded queue, and nothing waits for him: turns end when they end.
    Only a `TurnUpdated` that nobody has read yet is replaced by the next one, so the queue grows by a few small
    events a turn. When the session fails, the error is raised after all events that came before it. An error of
    the source is the end of the audio: it is raised when the last words of what came before are in.

    Everything else is synchronous. Once the block of `open_session` is left, commands do nothing.

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
