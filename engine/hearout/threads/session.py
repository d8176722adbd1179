"""Sessions in programs without async: the same arguments, events and errors as `hearout.open_session`.

The engine itself runs on trio, in one thread for all sessions of the process (`hearout.threads.host`).
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from hearout.audio import AudioFormat
from hearout.ear.base import Ear
from hearout.errors import UsageError
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.loops import outside_loops
from hearout.session import session as on_trio
from hearout.session.recording import TraceWriter
from hearout.session.relay import RelayedSession
from hearout.session.session import SessionEvent
from hearout.sources.base import AudioSource
from hearout.sources.push import PushSource
from hearout.sttserver import local
from hearout.threads.host import Host, in_trio
from hearout.threads.inlet import Inlet
from hearout.threads.waiting import Changes
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate, webrtc_gate
from hearout.writing import shown
from hearout_policies.policy import Policy

__all__ = ["Session", "local_server", "open_session"]

E = TypeVar("E")


@outside_loops
def open_session(
    source: AudioSource | AudioFormat,
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
) -> Iterator[Session]:
    """Listen for the length of a block, in any thread::

        with threads.open_session(AudioFormat(), Deepgram(key)) as session:
            microphone.start(session.push)  # called from a thread of the microphone's
            for event in session:
                ...

    The arguments are those of `hearout.open_session`, but for the first one. Sources, ``connect``, and the parts that
    hear or record are used in the thread of all sessions; none may block it.

    Args:
        source: what the audio is that `Session.push` will be given, or a source of hearout's. A `PushSource` is one to
            push to as well, and has a limit to choose.

    Raises:
        UsageError: the parts do not fit together. What goes wrong later comes out of the iteration, of ``wait`` and
            ``push``, or at the end of the block.
    """
    source = PushSource(source) if isinstance(source, AudioFormat) else source
    opening = on_trio.open_session(
        source,
        transcriber,
        policy=policy,
        vad=vad,
        ear=ear,
        recorder=recorder,
        realtime=realtime,
        stall_after=stall_after,
        link=link,
        connect=connect,
    )
    session = Session(source)
    with in_trio(session._serve(opening), session._end):
        yield session
    session._join()
    session._raise_unseen()


class Session(RelayedSession):
    """`hearout.Session` for threads: iterate over it for the events, or have functions called; both from any thread.

    All that `hearout.Session` has is here, with the same meaning, and has happened when the call returns.

    Not made by hand: see `open_session`.
    """

    def __init__(self, source: AudioSource) -> None:
        super().__init__()
        self._host = Host.running()
        self._more = Changes()
        self._heard = source
        self._inlet = Inlet(source) if isinstance(source, PushSource) else None
        self._told: BaseException | None = None  # by push
        self._came_from: TracebackType | None = None
        self._functions: list[tuple[type, Callable[[Any], object]]] = []
        self._caller: threading.Thread | None = None

    def push(self, data: bytes | bytearray | memoryview, *, timeout: float = 10.0) -> None:
        """Hand over audio, cut anywhere, from any thread.

        Returns at once, unless as much audio waits to be heard as the limit of `PushSource` allows: then when there
        is room. A session in real time takes audio at once.

        Args:
            timeout: seconds to wait for room.

        Raises:
            UsageError: this piece is not heard: there was no room, or `finish` was called, or the session is over.
            Exception: that which ended the session.
        """
        if self._inlet is None:
            kind = type(self._heard).__name__
            raise UsageError(f"this session hears a {kind}; to push, open it with an AudioFormat in the place of that")
        if self._error is None and self._inlet.push(data, timeout):
            return
        self._more.wait_for(lambda: self._closed, timeout)
        if (error := self._error) is not None:  # stays there for who reads the events
            if self._told is not error:
                self._told, self._came_from = error, error.__traceback__
            raise error.with_traceback(self._came_from)  # which would grow with each piece that is pushed
        raise UsageError("this piece is not heard: the audio was finished, or the session is over")

    def finish(self) -> None:
        """There is no more audio to push: the events end with the last words."""
        if self._inlet is not None:
            self._inlet.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session is over, and all functions of `on` have been called; False when it is not by then.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            Exception: that which ended the session, or which a function raised.
        """
        self._host.check()
        if self._caller is not None and self._caller is threading.current_thread():
            raise UsageError("wait was called by a function of on, and would wait for that itself")
        over = self._more.wait_for(lambda: self._closed and (self._caller is None or not self._functions), timeout)
        if over:
            self._raise_unseen()
        return over

    def on(self, kind: type[E], function: Callable[[E], object]) -> None:
        """Call ``function`` with each event of that class, in a thread of the session's own; it may take its time.

        Functions are called one at a time, in the order in which they were given; nothing is told that came before the
        first of them. When one raises an error, none is called any more, and `wait` or the end of the block raises it.
        A session that calls functions is not iterated over.
        """
        if not isinstance(kind, type) or not callable(function):
            given = shown((kind, function), 80)
            raise UsageError(f"on takes a class of events, such as TurnCompleted, and a function; not {given}")
        if inspect.iscoroutinefunction(function):
            raise UsageError(
                f"on calls functions, and {shown(function, 80)} is async: hearout.aio has sessions for those"
            )
        self._functions.append((kind, function))
        if self._caller is None:
            self._caller = threading.Thread(target=self._call, name="hearout events", daemon=True)
            self._caller.start()

    def _call(self) -> None:
        try:
            while (event := self._take()) is not None:
                for kind, function in list(self._functions):
                    if isinstance(event, kind):
                        function(event)
        except BaseException as error:  # sys.exit(), too: in this thread nobody would see it
            self._error = error
            self._closed = True
        finally:
            with self._more.lock:
                self._functions.clear()
                self._more.notify()

    def _join(self) -> None:
        if self._caller is not None and self._caller is not threading.current_thread():
            self._caller.join()

    def __iter__(self) -> Iterator[SessionEvent]:
        return self

    def __next__(self) -> SessionEvent:
        if self._caller is not None:
            raise UsageError("this session calls functions (on): there is nothing left to iterate over")
        if (event := self._take()) is None:
            raise StopIteration
        return event

    def _take(self) -> SessionEvent | None:
        self._host.check()
        [event] = self._more.wait_for(lambda: [self._next()] if self._readable else [])
        return event

    def _put(self, event: SessionEvent) -> None:
        with self._more.lock:
            super()._put(event)

    def _notify(self) -> None:
        with self._more.lock:
            self._more.notify()

    def _do(self, act: Callable[[], None]) -> None:
        self._host.call(lambda: super(Session, self)._do(act))

    @property
    def now(self) -> float:
        """The session clock, seconds; only inside the block."""
        return self._host.call(self._core.now)


@outside_loops
def local_server(protocol: str = "deepgram") -> Iterator[str]:
    """`hearout.local_server` without async: start the local server on a free port and give its URL.

    Args:
        protocol: what it speaks: deepgram, flux, soniox, openai, assemblyai or elevenlabs.

    Raises:
        UsageError: the recogniser is not installed, or its model is not on this machine; there is no such protocol; or
            a loop runs in this thread.
        SessionError: the server did not start for another reason.
    """
    with in_trio(local.local_server(protocol)) as url:
        yield url
