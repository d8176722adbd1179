"""The one thread of a process in which trio runs, for sessions that other threads use.

It begins with the first block of `in_trio` and stays until the program ends. A process that is forked begins one of its
own; what the parent had open there it cannot use.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any, TypeVar

import trio

from hearout.errors import SessionError
from hearout.nursery import open_background
from hearout.threads.native import begin_thread, wake_greenlets
from hearout.threads.waiting import Pending, native_lock

__all__ = ["Host", "in_trio"]

T = TypeVar("T")

_STOP_TIMEOUT = 5.0  # seconds; what takes longer to end than that ends with the process


@contextmanager
def in_trio(manager: AbstractAsyncContextManager[T], ended: Callable[[], None] | None = None) -> Iterator[T]:
    """Hold a context manager of trio open for the length of a block, in any thread.

    Errors of either side come out as themselves; when both fail, the block's does. Leaving the block waits until the
    manager has left too; Ctrl-C meanwhile cancels the manager.

    Args:
        manager: used in trio, where it may start tasks.
        ended: called in trio once the manager has been left, for whatever reason.

    Raises:
        SessionError: the program ends.
    """
    host = Host.running()
    stay = _Stay(host, manager, ended)
    try:
        yield stay.enter()
    except GeneratorExit:
        # Perhaps this is garbage. It is collected in any thread, that of trio too, with whatever locks that has.
        with suppress(TimeoutError):
            stay.leave(_STOP_TIMEOUT)
        raise
    except BaseException:
        stay.leave()
        raise
    stay.leave()
    if stay.error is not None:
        raise stay.error


class Host:
    """trio in its thread."""

    nursery: trio.Nursery
    _token: trio.lowlevel.TrioToken

    _now: Host | None = None
    _starting = native_lock()

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ident: int | None = None
        self._waiting: set[_Stay | Pending[Any]] = set()
        self._scope = trio.CancelScope()
        self._failure: BaseException | None = None
        self._ended = False
        self._over: Pending[None] = Pending()
        begin_thread(self._run, "hearout")
        if self._failure is not None:
            raise SessionError(f"trio does not begin: {self._failure!r}") from self._failure

    @classmethod
    def running(cls) -> Host:
        """That of this process; begins it."""
        with cls._starting:
            if cls._now is None or cls._now._failure is not None:
                cls._now = cls()
            return cls._now

    def call(self, function: Callable[[], T]) -> T:
        """What ``function`` returns or raises; it is called in trio, and waits for nothing there."""
        if self.here:
            return function()
        result: Pending[T] = Pending()

        def run() -> None:
            try:
                result.set(function())
            except BaseException as error:
                result.fail(error)

        self._waiting.add(result)
        try:
            self.soon(run)
            return result.wait()
        finally:
            self._waiting.discard(result)

    def take_in(self, stay: _Stay) -> None:
        self._waiting.add(stay)
        self.soon(stay.begin)

    def let_go(self, stay: _Stay) -> None:
        self._waiting.discard(stay)

    def soon(self, function: Callable[[], object]) -> None:
        """Call it in trio, after what was asked for before; this does not wait.

        Raises:
            SessionError: the program ends, or this process was forked from the one of the session.
        """
        self.check()
        with suppress(trio.RunFinishedError, OSError):  # the latter where trio broke down, and knows no end
            self._token.run_sync_soon(function)
            if not self._ended:
                return
        raise SessionError("its thread has ended, and the sessions with it") from self._failure

    @property
    def here(self) -> bool:
        """This is its thread."""
        return threading.get_ident() == self._ident

    @property
    def forked(self) -> bool:
        """This process has none of the threads any more."""
        return os.getpid() != self._pid

    def check(self) -> None:
        if self.forked:
            raise SessionError(
                "this session belongs to the process that this one was forked from: open sessions after the fork"
            )

    def stop(self) -> None:
        with suppress(SessionError, TimeoutError):
            self.soon(self._scope.cancel)
            self._over.wait(_STOP_TIMEOUT)

    def _run(self, begun: Callable[[], object]) -> None:
        try:
            trio.run(self._main, begun)
        except BaseException as error:
            self._failure = error
            if self._ident is None:
                begun()
        finally:
            self._end_all()
            self._over.set(None)

    def _end_all(self) -> None:
        self._ended = True  # before: who comes now is told by `soon`, and waits for nothing
        for one in list(self._waiting):
            why = "the program ended" if self._failure is None else f"trio broke down: {self._failure!r}"
            failure = SessionError(f"{why}, and the session with it")
            failure.__cause__ = self._failure
            if isinstance(one, Pending):
                one.fail(failure)
            else:
                one.end(failure)

    async def _main(self, begun: Callable[[], object]) -> None:
        with self._scope:
            async with open_background() as self.nursery:
                self._token = trio.lowlevel.current_trio_token()
                self._ident = threading.get_ident()
                begun()
                await wake_greenlets()
                await trio.sleep_forever()


class _Stay:
    """One context manager in trio.

    Attributes:
        error: why it was left, unless asked.
    """

    def __init__(self, host: Host, manager: AbstractAsyncContextManager[Any], ended: Callable[[], None] | None) -> None:
        self.error: BaseException | None = None
        self._host = host
        self._manager = manager
        self._ended = ended
        self._entered: Pending[Any] = Pending()
        self._over: Pending[None] = Pending()
        self._scope = trio.CancelScope()
        self._leave = trio.Event()
        self._begun = False  # not before trio has been asked to, and Ctrl-C may come before that

    def begin(self) -> None:
        """In trio."""
        self._begun = True
        self._host.nursery.start_soon(self.run)

    def enter(self) -> Any:
        self._host.take_in(self)
        return self._entered.wait()

    def leave(self, timeout: float | None = None) -> None:
        if self._host.forked:
            return
        self._ask(self._leave.set if self._entered.done else self._scope.cancel)
        if self._host.here:
            return
        try:
            self._over.wait(timeout)
        except BaseException:
            self._ask(self._scope.cancel)
            raise

    def _ask(self, end: Callable[[], object]) -> None:
        try:
            self._host.soon(lambda: end() if self._begun else self.end(None))
        except SessionError as error:  # trio has ended
            self.end(error)

    async def run(self) -> None:
        """In trio."""
        error: BaseException | None = None
        try:
            with self._scope:
                async with self._manager as value:
                    self._entered.set(value)
                    await self._leave.wait()
        except trio.Cancelled:  # with trio itself, which tells why
            raise
        except BaseException as exc:
            error = exc  # is raised where the block waits, and leaves the other stays alone
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        if self._over.done:
            return
        self._host.let_go(self)
        self.error = error
        self._entered.fail(error or SessionError("the session was not opened"))  # unless it was
        if self._ended is not None:
            self._ended()
        self._over.set(None)


def _end() -> None:
    if (host := Host._now) is not None:
        host.stop()


def _forget() -> None:
    Host._now, Host._starting = None, native_lock()


atexit.register(_end)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
