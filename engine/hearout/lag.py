"""Does the event loop keep up? How late it wakes who sleeps, measured once a loop for all its sessions."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

__all__ = ["LagListener", "listen_to_lag", "watch_lag"]

_EVERY = 0.25  # seconds between two looks; four wake-ups a second, for a process
_LATE = 0.1  # seconds; what is less is heard by nobody
_LONG = 1.0  # seconds; a loop that is late for longer has too much to do, or something blocks it

Overloaded = Callable[[float], object]


class LagListener(Protocol):
    """Such as a histogram of prometheus_client."""

    def observe(self, amount: float, /) -> object:
        """The loop was late by so many seconds, in one look of four a second."""


_listeners: weakref.WeakSet[LagListener] = weakref.WeakSet()


def listen_to_lag(listener: LagListener) -> None:
    """Tell ``listener``, as long as it exists, of the lag of every loop of this process that has a session."""
    _listeners.add(listener)


@contextmanager
def watch_lag(overloaded: Overloaded) -> Iterator[None]:
    """Measure the lag of this trio run for the length of a block.

    Args:
        overloaded: is told once, with the lag in seconds, when the loop is late by more than 0.1 s for more than 1 s.
    """
    meter = _running.get(None)
    if meter is None:
        meter = _Meter()
        _running.set(meter)
        trio.lowlevel.spawn_system_task(meter.run)
    key = object()
    meter.watchers[key] = overloaded
    try:
        yield
    finally:
        del meter.watchers[key]
        if not meter.watchers:
            _running.set(None)
            meter.scope.cancel()


class _Meter:
    def __init__(self) -> None:
        self.watchers: dict[object, Overloaded | None] = {}  # None: told already
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        late_since = None
        with self.scope:
            while True:
                due = trio.current_time() + _EVERY
                await trio.sleep_until(due)
                lag = trio.current_time() - due
                for listener in list(_listeners):
                    listener.observe(lag)
                if lag <= _LATE:
                    late_since = None
                    continue
                late_since = due if late_since is None else late_since
                if due + lag - late_since > _LONG:
                    self._tell(lag)

    def _tell(self, lag: float) -> None:
        for key, overloaded in list(self.watchers.items()):
            if overloaded is not None:
                self.watchers[key] = None
                overloaded(lag)


_running: trio.lowlevel.RunVar[_Meter | None] = trio.lowlevel.RunVar("hearout_lag_meter")
