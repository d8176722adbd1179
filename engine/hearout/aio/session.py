"""Sessions in an asyncio application: the same arguments, events and errors as `hearout.open_session`.

The engine itself runs on trio, as a guest of the event loop and in its thread (`hearout.aio.guest`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from hearout.aio.guest import in_trio, notify
from hearout.ear.base import Ear
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.nursery import open_background
from hearout.session import session as on_trio
from hearout.session.controls import SessionControls
from hearout.session.recording import TraceWriter
from hearout.session.session import SessionEvent
from hearout.sources.base import AudioSource
from hearout.sources.push import PushSource
from hearout.sttserver import local
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate, webrtc_gate
from hearout_policies.policy import Policy

__all__ = ["PushSource", "Session", "feed", "local_server", "open_session"]


@asynccontextmanager
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
    """Listen to ``source`` for the length of a block of asyncio::

        source = PushSource()  # source.push(pcm) from any callback of the loop
        async with aio.open_session(source, Deepgram(key)) as session:
            async for event in session:
                ...

    The arguments are those of `hearout.open_session`. Every source of hearout will do, for it is iterated over in
    trio; so is a source of your own, and ``connect`` is called there.

    Raises:
        UsageError: the parts do not fit together, or there is another trio run in this thread already. What goes
            wrong later comes out of the iteration.
    """
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
    session = Session()
    async with in_trio(session._serve(opening), session._end):
        yield session
    session._raise_unseen()


class Session(SessionControls):
    """`hearout.Session` in asyncio: iterate over it for the events; the rest is synchronous, and the same as there.

    Not made by hand: see `open_session`.
    """

    def __init__(self) -> None:
        self._queue: deque[SessionEvent] = deque()
        self._more = asyncio.Event()
        self._closed = False  # there will be no more events
        self._error: Exception | None = None

    @asynccontextmanager
    async def _serve(self, opening: AbstractAsyncContextManager[on_trio.Session]) -> AsyncIterator[None]:
        """In trio."""
        async with opening as session, open_background() as nursery:
            self._core = session._core
            nursery.start_soon(self._collect, session)
            yield

    async def _collect(self, session: on_trio.Session) -> None:
        try:
            async for event in session:
                on_trio.enqueue(self._queue, event)
                notify(self._more)
        except Exception as error:
            self._error = error
        self._closed = True
        notify(self._more)

    def _end(self) -> None:
        self._closed = self._left = True
        notify(self._more)

    def _raise_unseen(self) -> None:
        if self._error is not None:
            raise self._error

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self

    async def __anext__(self) -> SessionEvent:
        while not self._queue:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._closed:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self._queue.popleft()


async def feed(source: PushSource, chunks: AsyncIterable[bytes]) -> None:
    """Push all that an iterator of asyncio gives, and close the source; meant to run as a task of its own.

    Waits while half the limit of ``source`` is full. Returns early when the session is over. An error of ``chunks``
    is not raised here: it closes the source, and the session raises it.
    """
    room = asyncio.Event()
    source.on_taken = partial(notify, room)
    try:
        async for chunk in chunks:
            while source.waiting > source.limit / 2:
                room.clear()
                await room.wait()
            if source.closed:
                break
            source.push(chunk)
    except Exception as error:
        source.close(error)
    else:
        source.close()
    finally:
        source.on_taken = None


@asynccontextmanager
async def local_server(protocol: str = "deepgram") -> AsyncIterator[str]:
    """`hearout.local_server` in asyncio: start the local server on a free port and give its URL.

    Args:
        protocol: what it speaks: deepgram, flux, soniox, openai, assemblyai or elevenlabs.

    Raises:
        UsageError: the recogniser is not installed, or its model is not on this machine; there is no such protocol.
        SessionError: the server did not start for another reason.
    """
    async with in_trio(local.local_server(protocol)) as url:
        yield url
