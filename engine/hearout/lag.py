"""Does the event loop keep up? How late it wakes who sleeps, and how much it works, measured once for all sessions."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from hearout.load import LoopLoad, quota

__all__ = ["LOOK", "LagListener", "listen_to_lag", "watch_lag", "watch_load"]

LOOK = 0.25  # seconds between two looks; four wake-ups a second, for a process
_LATE = 0.1  # seconds; what is less is heard by nobody
_LONG = 1.0  # seconds; a loop that is late for longer has too much to do, or something blocks it

Overloaded = Callable[[float], object]
Load = Callable[[float, float], object]


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
    with _meter() as (meter, key):
        meter.watchers[key] = overloaded
        yield


@contextmanager
def watch_load(load: Load) -> Iterator[None]:
    """Measure the load of this trio run for the length of a block.

    Args:
        load: is told at each `LOOK`: by how many seconds the loop was late, and the share of the time since the last
            look in which it worked: of that which it could have, as the machine has more to do.
    """
    with _meter() as (meter, key):
        if not meter.loads:
            meter.load.begin()
            meter.probing = trio.CancelScope()
            trio.lowlevel.spawn_system_task(meter.probe, meter.probing)
        meter.loads[key] = load
        try:
            yield
        finally:
            del meter.loads[key]
            if not meter.loads:
                meter.load.end()
                meter.probing.cancel()


@contextmanager
def _meter() -> Iterator[tuple[_Meter, object]]:
    meter = _running.get(None)
    if meter is None:
        meter = _Meter()
        _running.set(meter)
        trio.lowlevel.spawn_system_task(meter.run)
    key = object()
    meter.users.add(key)
    try:
        yield meter, key
    finally:
        meter.users.remove(key)
        meter.watchers.pop(key, None)
        if not meter.users:
            _running.set(None)
            meter.scope.cancel()


class _Meter:
    def __init__(self) -> None:
        self.users: set[object] = set()
        self.watchers: dict[object, Overloaded | None] = {}  # None: told already
        self.loads: dict[object, Load] = {}
        self.load = LoopLoad(quota=quota())
        self.scope = trio.CancelScope()
        self.probing = trio.CancelScope()

    async def run(self) -> None:
        late_since = None
        looked = trio.current_time()
        with self.scope:
            while True:
                due = trio.current_time() + LOOK
                await trio.sleep_until(due)
                now = trio.current_time()
                lag = now - due
                for listener in list(_listeners):
                    listener.observe(lag)
                if self.loads:
                    busy = self.load.look(now - looked)
                    for load in list(self.loads.values()):
                        load(lag, busy)
                looked = now
                if lag <= _LATE:
                    late_since = None
                    continue
                late_since = due if late_since is None else late_since
                if due + lag - late_since > _LONG:
                    self._tell(lag)

    async def probe(self, scope: trio.CancelScope) -> None:
        with scope:
            await self.load.probe()

    def _tell(self, lag: float) -> None:
        for key, overloaded in list(self.watchers.items()):
            if overloaded is not None:
                self.watchers[key] = None
                overloaded(lag)


_running: trio.lowlevel.RunVar[_Meter | None] = trio.lowlevel.RunVar("hearout_lag_meter")
