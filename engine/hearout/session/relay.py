"""A session that runs in trio, and whose events are read elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from hearout.nursery import open_background
from hearout.session import session as on_trio
from hearout.session.controls import SessionControls
from hearout.session.session import SessionEvent

__all__ = ["RelayedSession"]


class RelayedSession(SessionControls):
    """Collects the events in trio. Who reads them waits until ``_readable``, and takes ``_next``."""

    def __init__(self) -> None:
        self._queue: deque[SessionEvent] = deque()
        self._closed = False  # there will be no more events
        self._error: BaseException | None = None

    def _notify(self) -> None:
        """Called in trio: there is more to read."""
        raise NotImplementedError

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
                self._put(event)
                self._notify()
        except Exception as error:
            self._error = error
        self._closed = True
        self._notify()

    def _put(self, event: SessionEvent) -> None:
        on_trio.enqueue(self._queue, event)

    def _end(self) -> None:
        self._closed = self._left = True
        self._notify()

    @property
    def _readable(self) -> bool:
        return bool(self._queue) or self._closed

    def _next(self) -> SessionEvent | None:
        """None: there was no other.

        Raises:
            Exception: the session's, once, after all events that came before it.
        """
        if self._queue:
            return self._queue.popleft()
        self._raise_unseen()
        return None

    def _raise_unseen(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
