"""What all systems under test share: the calls they get, audio in real time, and how they report.

Nothing but the standard library, because each system runs in an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["RATE", "WARM_UP", "Call", "Feed", "load_calls", "play", "report"]

RATE = 16_000  # Hz, linear16 mono
WARM_UP = "warm-up"  # the call that comes first and is not counted

_BLOCK = RATE // 50  # sample frames: 20 ms


@dataclass(frozen=True)
class Call:
    """One call to listen to.

    Attributes:
        name: of the scenario and round, such as ``clean-1``.
        port: of the transcriber on 127.0.0.1 that knows this call.
        pcm: file of linear16 mono samples.
        pauses: (audio time, seconds): where the audio stops, and for how long.
    """

    name: str
    port: int
    pcm: Path
    pauses: Sequence[tuple[float, float]] = field(default=())


def load_calls(path: str | Path) -> list[Call]:
    """The calls of a plan, as `benchmarks.peers.__main__` writes it."""
    calls = json.loads(Path(path).read_text())
    return [Call(c["name"], c["port"], Path(c["pcm"]), [(at, wait) for at, wait in c["pauses"]]) for c in calls]


class Feed:
    """The audio of a call, each block at the moment its last sample would have been heard.

    Attributes:
        worst: seconds by which the latest block was fetched too late: a busy machine, or a system that stood still.
    """

    def __init__(self, call: Call) -> None:
        self.worst = 0.0
        self._call = call
        self._pcm = call.pcm.read_bytes()
        self._pauses = sorted(call.pauses, reverse=True)
        self._frame = 0
        self._began: float | None = None

    def next(self) -> tuple[float, bytes] | None:
        """Seconds to wait from now, and the block to give then; None at the end."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
            report(self._call.name, "audio", began=now)
        while self._pauses and self._pauses[-1][0] <= self._frame / RATE:
            self._began += self._pauses.pop()[1]
        block = self._pcm[2 * self._frame : 2 * (self._frame + _BLOCK)]
        if not block:
            report(self._call.name, "end", worst_feed=round(self.worst, 4))
            return None
        self._frame += len(block) // 2
        wait = self._began + self._frame / RATE - now
        self.worst = max(self.worst, -wait)
        return max(0.0, wait), block


def report(call: str, event: str, **more: Any) -> None:
    """One line of JSON on standard output; ``t`` is CLOCK_MONOTONIC, which all processes share."""
    line = {"t": round(time.monotonic(), 4), "call": call, "event": event, **more}
    print(json.dumps(line, ensure_ascii=False), file=sys.stdout, flush=True)


async def play(plan: str, listen: Callable[[Call], Awaitable[None]], at_once: int) -> None:
    """Let a system on asyncio ``listen`` to the calls of a plan, ``at_once`` at a time, behind one to warm up."""
    calls = load_calls(plan)
    limit = asyncio.Semaphore(at_once)

    async def one(call: Call) -> None:
        async with limit:
            await listen(call)

    await listen(calls[0])
    assert calls[0].name == WARM_UP
    before = resource.getrusage(resource.RUSAGE_SELF)
    async with asyncio.TaskGroup() as group:
        for call in calls[1:]:
            group.create_task(one(call))
            await asyncio.sleep(0.137)  # calls do not begin in step
    after = resource.getrusage(resource.RUSAGE_SELF)
    report("", "done", cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
