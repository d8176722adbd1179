"""How threads wait for each other here, also when some of them are gevent's greenlets.

gevent's own locks do not do: when the thread of trio gives one back that a greenlet waits for, gevent leaves it to a
loop in that thread to wake the greenlet, and none runs there. So what is shared is guarded by locks of the operating
system, held for moments, and whoever waits is woken by the one call of gevent that is meant for other threads.
"""

from __future__ import annotations

import sys
import threading
import time
from _thread import RLock
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Changes", "Pending", "gevent_monkey", "native_lock"]

T = TypeVar("T")


def gevent_monkey() -> Any:
    """`gevent.monkey`, if it has put greenlets in the place of threads; else None."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey if monkey is not None and monkey.is_module_patched("threading") else None


def native_lock() -> threading.Lock:
    """One of the operating system: all greenlets of a thread stand still while one of them waits for it."""
    monkey = gevent_monkey()
    lock: threading.Lock = threading.Lock() if monkey is None else monkey.get_original("_thread", "allocate_lock")()
    return lock


class Changes:
    """Something shared changes, and others wait for that: as `threading.Condition`."""

    def __init__(self) -> None:
        # gevent leaves this one alone. For it all greenlets of a thread are one, but none gives way while it holds it.
        self._lock = RLock()
        self._waiting: set[Callable[[], object]] = set()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def notify(self) -> None:
        """Wake all who wait; with the lock held."""
        for wake in self._waiting:
            wake()
        self._waiting.clear()

    def wait_for(self, condition: Callable[[], object], timeout: float | None = None) -> bool:
        """Wait until it holds, with the lock held but for the waiting; False: ``timeout`` seconds were too few."""
        until = None if timeout is None else time.monotonic() + timeout
        while not condition():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            wait, wake = _waiter()
            self._waiting.add(wake)
            self._lock.release()
            try:
                wait(left)
            finally:
                self._lock.acquire()
                self._waiting.discard(wake)
        return True


def _waiter() -> tuple[Callable[[float | None], object], Callable[[], object]]:
    """For this thread or greenlet: wait, and a call from any thread that ends it."""
    if gevent_monkey() is None:
        event = threading.Event()
        return event.wait, event.set
    import gevent.event

    loop, woken = gevent.get_hub().loop, gevent.event.Event()
    return woken.wait, lambda: loop.run_callback_threadsafe(woken.set)


class Pending(Generic[T]):
    """What a call in another thread gives, once."""

    def __init__(self) -> None:
        self._changes = Changes()
        self._value: Any = None
        self._error: BaseException | None = None
        self.done = False

    def set(self, value: T) -> None:
        self._settle(value, None)

    def fail(self, error: BaseException) -> None:
        self._settle(None, error)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        with self._changes:
            if not self.done:
                self._value, self._error, self.done = value, error, True
                self._changes.notify()

    def wait(self, timeout: float | None = None) -> T:
        """The value.

        Raises:
            TimeoutError: ``timeout`` seconds were too few.
            BaseException: why there is none.
        """
        with self._changes:
            if not self._changes.wait_for(lambda: self.done, timeout):
                raise TimeoutError
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value
