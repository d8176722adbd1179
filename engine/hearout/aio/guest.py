"""trio as the guest of an asyncio event loop: what of trio runs there, when it begins, and how it ends.

trio's scheduler then runs in callbacks of the loop, in the loop's thread, so code of both sides calls the synchronous
functions of the other directly; only waiting for I/O is done in a thread of trio's own. There can be one such run in a
thread, therefore all blocks of `in_trio` share it: it begins with the first and ends with the last.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import trio
from trio.lowlevel import start_guest_run

from hearout.errors import SessionError, UsageError
from hearout.nursery import open_background

__all__ = ["in_trio", "notify"]

T = TypeVar("T")

_FOREVER = 10 * 365 * 86400.0  # seconds


@asynccontextmanager
async def in_trio(manager: AbstractAsyncContextManager[T], ended: Callable[[], None] | None = None) -> AsyncIterator[T]:
    """Hold a context manager of trio open for the length of a block of asyncio.

    Errors of either side come out as themselves; when both fail, the block's does. An error of the manager's while the
    block runs comes out at its end. Leaving the block waits until the manager has left too, also in a task that is
    being cancelled; another cancellation then cancels the manager.

    Args:
        manager: used in trio, where it may start tasks.
        ended: called once the manager has been left, for whatever reason.

    Raises:
        UsageError: there is another trio run in this thread already.
        SessionError: the event loop ended, and trio with it.
    """
    async with _lease() as host:
        stay = _Stay(manager, ended)
        host.take_in(stay)
        try:
            await asyncio.wait([stay.entered])
            if stay.over.done():
                assert stay.error is not None
                raise stay.error
            yield stay.value
        except BaseException:
            await stay.leave()
            raise
        await stay.leave()
        if stay.error is not None:
            raise stay.error


class _Stay:
    """One context manager in trio.

    Attributes:
        entered: done when there is a ``value``, and when there will be none.
        over: done when the manager has been left.
        error: why it was, unless asked.
    """

    value: Any

    def __init__(self, manager: AbstractAsyncContextManager[Any], ended: Callable[[], None] | None) -> None:
        loop = asyncio.get_running_loop()
        self.entered: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.error: BaseException | None = None
        self._manager = manager
        self._ended = ended
        self._scope = trio.CancelScope()
        self._leave = trio.Event()

    async def run(self) -> None:
        """In trio."""
        error: BaseException | None = None
        try:
            with self._scope:
                async with self._manager as self.value:
                    notify(self.entered)
                    await self._leave.wait()
        except trio.Cancelled:
            error = SessionError("the event loop ended while a session was open")
            raise
        except BaseException as exc:
            error = exc  # is raised where asyncio waits, and leaves the other stays alone
        finally:
            self.end(error)

    def end(self, error: BaseException | None) -> None:
        if not self.over.done():
            self.error = error
            notify(self.over)
            notify(self.entered)
            if self._ended is not None:
                self._ended()

    async def leave(self) -> None:
        """In asyncio."""
        if not self.over.done():
            if self.entered.done():
                self._leave.set()
            else:
                self._scope.cancel()
            await _through(self.over, self._scope.cancel)


class _Host:
    """The guest run of one loop.

    Attributes:
        users: blocks that need it.
        stopping: it will not take in any more.
        over: done when trio has ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.users = 0
        self.stopping = False
        self.ready: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._stays: set[_Stay] = set()
        # What trio wants to be called next. Kept here, and not in the loop alone, so that it can be done without.
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        try:
            start_guest_run(
                self._main,
                run_sync_soon_threadsafe=self._soon_threadsafe,
                run_sync_soon_not_threadsafe=self._soon,
                done_callback=self._ended,
                host_uses_signal_set_wakeup_fd=True,  # signals are the loop's business
            )
        except RuntimeError as error:
            raise UsageError(
                f"there is another trio run in this thread, and two cannot be ({error}); "
                "use hearout.open_session in that one"
            ) from None
        _here.host = self
        # The last reference to this object is the loop's: when the loop is closed, or the program ends, it goes.
        watch = _Watch()
        weakref.finalize(watch, self._loop_ended)
        self._watch = weakref.ref(loop.call_later(_FOREVER, watch.keep))

    def take_in(self, stay: _Stay) -> None:
        assert self._nursery is not None
        self._stays.add(stay)
        stay.over.add_done_callback(lambda _: self._stays.discard(stay))
        self._nursery.start_soon(stay.run)

    async def stop(self) -> None:
        self.stopping = True
        self._scope.cancel()
        await _through(self.over)

    async def _main(self) -> None:
        with self._scope:
            async with open_background() as self._nursery:
                notify(self.ready)
                await trio.sleep_forever()

    def _soon(self, call: Callable[[], object]) -> None:
        self._calls.put(call)
        if not self.loop.is_closed():
            self.loop.call_soon(self._step)

    def _soon_threadsafe(self, call: Callable[[], object]) -> None:
        self._calls.put(call)
        with suppress(RuntimeError):  # closed
            self.loop.call_soon_threadsafe(self._step)

    def _step(self) -> None:
        try:
            call = self._calls.get_nowait()
        except Empty:  # done without the loop
            return
        call()

    def _ended(self, result: Any) -> None:
        _here.host = None
        self.stopping = True
        if (timer := self._watch()) is not None:
            timer.cancel()
        error: BaseException | None = getattr(result, "error", None)
        for stay in list(self._stays):  # none, unless trio itself broke down
            failure = SessionError(f"trio broke down: {error!r}")
            failure.__cause__ = error
            stay.end(failure)
        notify(self.ready)
        notify(self.over)
        if isinstance(error, KeyboardInterrupt | SystemExit) and not self.loop.is_closed():
            raise error  # ends the loop

    def _loop_ended(self) -> None:
        """Cancel what runs in trio and see it to its end, without a loop."""
        if _here.host is not self:  # it has ended; or this is the end of the program, and the thread another
            return
        self.stopping = True
        self._scope.cancel()
        while _here.host is self:
            self._calls.get()()


class _Watch:
    def keep(self) -> None:
        """Nothing; a bound method holds its object."""


class _Here(threading.local):
    host: _Host | None = None


_here = _Here()


@asynccontextmanager
async def _lease() -> AsyncIterator[_Host]:
    """The host of the running loop, which stays for the length of the block."""
    loop = asyncio.get_running_loop()
    while (host := _here.host) is not None and (host.stopping or host.loop is not loop):
        if host.loop is not loop:
            raise UsageError("another event loop of this thread has sessions open; end them first")
        await asyncio.wait([host.over])
    host = host or _Host(loop)
    host.users += 1
    try:
        await asyncio.wait([host.ready])
        if host.stopping:
            raise SessionError("the event loop ended while a session was opened")
        yield host
    finally:
        host.users -= 1
        if not host.users and not host.over.done():
            await host.stop()


async def _through(future: asyncio.Future[None], cancel: Callable[[], object] | None = None) -> None:
    """Wait for ``future`` in any case. When cancelled meanwhile, call ``cancel``, and raise that afterwards."""
    interruption: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            interruption = error
            if cancel is not None and not future.done():
                cancel()
    if interruption is not None:
        raise interruption


def notify(waited_for: asyncio.Future[None] | asyncio.Event) -> None:
    """Tell whoever waits for this in asyncio, from trio: nobody does any more in a loop that is closed."""
    with suppress(RuntimeError):
        if isinstance(waited_for, asyncio.Event):
            waited_for.set()
        elif not waited_for.done():
            waited_for.set_result(None)
