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
    """Something shared changes, and others wait for that: as `threading.Condition`, but sound when Ctrl-C interrupts.

    A signal's handler runs between any two steps of Python's in the main thread; one that raises in `threading`'s own
    ``__enter__`` of conditions and events leaves their locks behind locked, and the thread of trio would wait for them.

    Attributes:
        lock: to hold for moments, by ``with``, which is one step for a lock of the interpreter.
    """

    def __init__(self) -> None:
        # gevent leaves this one alone. For it all greenlets of a thread are one, but none gives way while it holds it.
        self.lock = RLock()
        self._waiting: set[Callable[[], object]] = set()

    def notify(self) -> None:
        """Wake all who wait; with the lock held."""
        for wake in self._waiting:
            wake()
        self._waiting.clear()

    def wait_for(self, act: Callable[[], T], timeout: float | None = None) -> T:
        """Call ``act`` with the lock held, now and after each change, until what it gives is true, and give that.

        What is not true is given when ``timeout`` seconds were too few.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with self.lock:
                result = act()
                left = None if until is None else until - time.monotonic()
                if result or (left is not None and left <= 0):
                    return result
                wait, wake = _waiter()
                self._waiting.add(wake)
            try:
                wait(left)
            finally:
                with self.lock:
                    self._waiting.discard(wake)


def _waiter() -> tuple[Callable[[float | None], object], Callable[[], object]]:
    """For this thread or greenlet: wait, and a call from any thread, once, that ends it."""
    if gevent_monkey() is None:
        turnstile = native_lock()
        turnstile.acquire()
        return lambda left: turnstile.acquire(timeout=-1 if left is None else left), turnstile.release
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
        with self._changes.lock:
            if not self.done:
                self._value, self._error, self.done = value, error, True
                self._changes.notify()

    def wait(self, timeout: float | None = None) -> T:
        """The value.

        Raises:
            TimeoutError: ``timeout`` seconds were too few.
            BaseException: why there is none.
        """
        if not self._changes.wait_for(lambda: self.done, timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value
