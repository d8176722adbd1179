"""How much a loop works of what it could: on a core of its own, on one that it has for a part, in a container."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from hearout.load import LoopLoad, quota

SLICE = 0.02  # seconds; a slow core stands still in the first part of each


class Core:
    """A loop with pieces of work of 0.5 ms that come at any moment, on a core that there is for a share of the time."""

    def __init__(self, share: float, quota: float = 1.0) -> None:
        self.now = 0.0
        self.load = LoopLoad(lambda: self.now, quota)
        self._stands = (1 - share) * SLICE
        self._any = random.Random(7)

    def run(self, seconds: float, work: float) -> float:
        """``work``: seconds of it in each second. Gives the mean of the looks of the second half."""
        pieces = [(self._any.uniform(0, seconds), "work") for _ in range(round(seconds * work / 0.0005))]
        probes = [(self._any.uniform(0, seconds), "probe") for _ in range(round(16 * seconds))]
        looks, looked = [], 0.0
        self.load.before_io_wait(0)
        for due, what in sorted(pieces + probes):
            if self.now < due:  # all that was due is done
                self.load.before_io_wait(0)
                if self.now > looked + 0.25:
                    looks.append(self.load.look(self.now - looked))
                    looked = self.now
                self.now = self._runs(self.now + math.ceil((due - self.now) * 1000) / 1000 if what == "probe" else due)
                self.load.after_io_wait(0)
            if what == "probe":
                self.load.probed(self.now - due)
            else:
                self.now = self._runs(self.now + 0.0005)
        half = looks[len(looks) // 2 :]
        return sum(half) / len(half)

    def _runs(self, moment: float) -> float:
        return max(moment, moment // SLICE * SLICE + self._stands)


@pytest.mark.parametrize("work", [0.1, 0.35, 0.7])
def test_a_core_of_its_own(work: float) -> None:
    assert Core(1.0).run(20.0, work) == pytest.approx(work, abs=0.03)


@pytest.mark.parametrize(("share", "work"), [(0.4, 0.04), (0.4, 0.2), (0.4, 0.28), (0.2, 0.1), (0.2, 0.14)])
def test_a_core_that_others_have_most_of_the_time(share: float, work: float) -> None:
    """Most of its time it waits, and there is no room for ten times the work."""
    assert work / share - 0.1 < Core(share).run(40.0, work) < work / share + 0.15


def test_nobody_else_and_nothing_to_do() -> None:
    assert Core(0.4).run(10.0, 0.0) == 0.0


def test_what_a_container_may_take_is_all_there_is() -> None:
    assert Core(1.0, quota=0.4).run(20.0, 0.2) == pytest.approx(0.5, abs=0.05)
    assert Core(1.0, quota=0.4).run(20.0, 0.5) == 1.0


def test_a_loop_that_never_waits_is_busy() -> None:
    now = 0.0
    load = LoopLoad(lambda: now)
    now = 0.25
    load.before_io_wait(0)
    assert load.look(0.25) == 1.0
    assert load.look(0.25) == 0.0


GROUPS = {
    "none": ({}, 1.0),
    "no limit": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 1.0),
    "a container": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "40000 100000\n"}, 0.4),
    "two cores": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 1.0),
    "one above": (
        {
            "proc/self/cgroup": "0::/system.slice/bot.service\n",
            "sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/system.slice/bot.service/cpu.max": "max 100000\n",
        },
        0.5,
    ),
    "the first version": (
        {
            "proc/self/cgroup": "5:memory:/bot\n4:cpu,cpuacct:/bot\n0::/\n",
            "sys/fs/cgroup/cpu/bot/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu/bot/cpu.cfs_period_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        0.5,
    ),
    "the first version, in a container": (
        {
            "proc/self/cgroup": "4:cpuacct,cpu:/docker/0123\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "30000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        0.3,
    ),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_the_limit_of_a_container(kind: str, tmp_path: Path) -> None:
    files, share = GROUPS[kind]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert quota(tmp_path) == share
