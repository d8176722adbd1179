"""How much of the time that the machine gives it does an event loop work?"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import trio

__all__ = ["LoopLoad", "quota"]

_EVERY = 1 / 16  # seconds between two probes, on average: at any moment, so that nothing periodic hides from them
_PROBES = 64  # over so many, 4 s, their share is averaged
# Timers have whole milliseconds (epoll), those of Windows come 64 times a second; who wakes no later than so long after
# that was run at once.
_TICK, _AT_ONCE = (0.001, 0.0005) if os.name == "posix" else (1 / 64, 0.002)


class LoopLoad(trio.abc.Instrument):
    """Measures one loop, between `begin` and `end`.

    The time in which it works and does not wait is known. Of the time in which it waits it could have only a part:
    beside it there are other programs, a container has a limit, a virtual machine is stopped. That part is how often
    `probe`, which wakes at any moment, is run at once when it wakes while the loop waits.

    Args:
        clock: tells seconds: real ones, also where a test makes time.
        quota: the share of a core that there is at most.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, quota: float = 1.0) -> None:
        self._clock = clock
        self._quota = quota
        self._worked = 0.0
        self._woke = self._waits = clock()
        self._at_once, self._probes = 1.0, 0

    def begin(self) -> None:
        """Count from now on."""
        self._worked, self._woke = 0.0, self._clock()
        trio.lowlevel.add_instrument(self)

    def end(self) -> None:
        """Count no more."""
        trio.lowlevel.remove_instrument(self)

    def look(self, seconds: float) -> float:
        """The share of what it could have that the loop took in the time since the last look, which is so long."""
        worked, self._worked = min(1.0, self._worked / seconds), 0.0
        could = min(self._quota, worked + (1.0 - worked) * self._at_once)
        return min(1.0, worked / could) if could else 1.0

    async def probe(self) -> None:
        """Until cancelled."""
        while True:
            due = trio.current_time() + _EVERY * random.uniform(0.5, 1.5)
            await trio.sleep_until(due)
            self.probed(trio.current_time() - due)

    def probed(self, late: float) -> None:
        """Who was to wake at any moment wakes, so many seconds late."""
        waited = self._clock() - late - self._waits  # so long, when it was to wake
        if not 0 <= waited <= self._woke - self._waits:
            return  # the loop worked then
        at_once = self._woke - self._waits <= math.ceil(waited / _TICK) * _TICK + _AT_ONCE
        self._probes = min(self._probes + 1, _PROBES)
        self._at_once += (at_once - self._at_once) / self._probes

    def before_io_wait(self, timeout: float) -> None:
        self._waits = self._clock()
        self._worked += self._waits - self._woke

    def after_io_wait(self, timeout: float) -> None:
        self._woke = self._clock()


def quota(root: Path = Path("/")) -> float:
    """The share of a core that this process may take at most, by Linux' control groups; 1: all of it."""
    least = 1.0
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, kinds, path = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if kinds else "")
        # Those above bind, too. A container may be told a path that it does not see: then the top is its own.
        group = mount / path.strip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(mount.parts)]):
            limit = _words(folder / "cpu.max") or [
                *_words(folder / "cpu.cfs_quota_us"),
                *_words(folder / "cpu.cfs_period_us"),
            ]
            if len(limit) == 2 and limit[0].isdigit():  # neither "max" nor -1
                least = min(least, int(limit[0]) / int(limit[1]))
    return least


def _words(file: Path, separator: str | None = None) -> list[str]:
    try:
        return file.read_text().strip().split(separator)
    except OSError:
        return []
