"""What every load process of `benchmarks.capacity` measures and reports, whatever carries its calls."""

from __future__ import annotations

import gc
import json
import resource
import statistics
import time

from benchmarks.capacity.script import FRAME, Talk

__all__ = ["Meter", "Pace"]


class Pace:
    """The frames of one call, each at the moment its last sample has been said."""

    def __init__(self, talk: Talk, meter: Meter) -> None:
        self.began = time.monotonic()
        self._talk = talk
        self._meter = meter
        self._given = 0

    def wait(self) -> float:
        """Seconds until the next frame."""
        return self.began + (self._given + 1) * FRAME - time.monotonic()

    def frame(self) -> bytes:
        """The next frame, after `wait`."""
        self._meter.frame(-self.wait())
        self._given += 1
        return self._talk.frame(self._given - 1)


class Meter:
    """Counts while it is on, and prints one line of JSON.

    Attributes:
        on: between `start` and `stop`.
    """

    def __init__(self, calls: int) -> None:
        self.on = False
        self._calls = calls
        self._lateness: list[float] = []
        self._latency: list[float] = []
        self._wrong = 0
        self._wall = self._cpu = 0.0

    def settle(self) -> None:
        """All calls are up; call it some seconds before `start`.

        Sets Python's collector as a server with many calls does: at its own threshold of 700 objects it takes an
        eighth of all time, and every full collection stops all calls for 30 ms and more.
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000)

    def start(self) -> None:
        self.on = True
        self._wall, self._cpu = time.monotonic(), _cpu()

    def stop(self) -> None:
        self._wall, self._cpu = time.monotonic() - self._wall, _cpu() - self._cpu
        self.on = False

    def frame(self, late: float) -> None:
        """A frame was heard ``late`` seconds after its last sample."""
        if self.on:
            self._lateness.append(late)

    def turn(self, talk: Talk, now: float, text: str) -> None:
        """A turn was told complete at ``now``, seconds of the recording."""
        if not self.on:
            return
        # The turn that ended last; a little early is not a whole round late.
        latency, expected = min(((now - end + 0.3) % talk.length - 0.3, words) for end, words in talk.turns)
        self._latency.append(latency)
        self._wrong += text.split() != expected.split()

    def report(self) -> None:
        seconds = self._calls * self._wall
        print(
            json.dumps(
                {
                    "calls": self._calls,
                    "cpu_ms": round(self._cpu / seconds * 1000, 3),  # for each second of each call
                    "busy": round(self._cpu / self._wall, 3),
                    "late_p50_ms": _quantile(self._lateness, 0.5, 1000),
                    "late_p99_ms": _quantile(self._lateness, 0.99, 1000),
                    "latency_p50": _quantile(self._latency, 0.5),
                    "latency_p90": _quantile(self._latency, 0.9),
                    "turns": len(self._latency),
                    "wrong": self._wrong,
                    "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                }
            ),
            flush=True,
        )


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _quantile(values: list[float], share: float, unit: float = 1.0) -> float | None:
    if not values:
        return None
    if share == 0.5:
        return round(statistics.median(values) * unit, 3)
    return round(sorted(values)[int(len(values) * share)] * unit, 3)
