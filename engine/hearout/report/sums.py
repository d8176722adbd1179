"""Sums over parts of turns, which add up and take no more room for more of them, and the figures that they give."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hearout.fields import Fields
from hearout.report.parts import Part
from hearout.tune.figures import MISSED, Interval, wilson

__all__ = ["DEAD_AIR", "Delays", "Share", "Sums"]

DEAD_AIR = 2.0  # seconds from the end of speech to the commit; longer is dead air
_STEP = 0.01  # seconds; delays are counted in such steps, finer ones are noise
_NEVER = round(MISSED / _STEP)  # the step of an end without a commit, or with one as late as that
_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``count``."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def between(self) -> Interval:
        """95 % (Wilson)."""
        return wilson(self.hits, self.count)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"hits": self.hits, "n": self.count, "share": self.value, "between": self.between}


@dataclass
class Delays:
    """Of ends of turns, from the end of speech to the commit.

    Attributes:
        steps: how many there are of each, in hundredths of a second; an end without a commit counts as `MISSED`.
    """

    steps: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        self.steps[round(min(seconds, MISSED) / _STEP)] += 1

    @property
    def count(self) -> int:
        return self.steps.total()

    @property
    def mean(self) -> float:
        """Seconds; nan: there are none."""
        return _STEP * sum(n * step for step, n in self.steps.items()) / self.count if self.count else math.nan

    def quantile(self, q: float) -> float | None:
        """Seconds; None: so many ends had no commit, or there are none."""
        seen = 0
        for step, n in sorted(self.steps.items()):
            seen += n
            if seen >= q * self.count:
                return None if step >= _NEVER else step * _STEP
        return None

    def means(self, seed: int = 0) -> Any:
        """(500,) seconds: the means of as many delays drawn from these (the bootstrap of `hearout.tune`)."""
        steps = np.array(sorted(self.steps))
        counts = np.array([self.steps[int(step)] for step in steps], float)
        drawn = np.random.default_rng(seed).multinomial(self.count, counts / counts.sum(), _RESAMPLES)
        return _STEP * (drawn @ steps) / self.count

    @property
    def between(self) -> Interval:
        """Of the mean, 95 %."""
        if not self.count:
            return math.nan, math.nan
        low, high = np.quantile(self.means(), [0.025, 0.975])
        return float(low), float(high)


@dataclass
class Sums:
    """What one turn detection did, summed up.

    Attributes:
        turns: of the user.
        splits: turns that were ended more than once.
        commits: all; ``judged`` and ``cut_ins`` as in `Part`.
        delays: of the ends.
        dead: ends later than `DEAD_AIR`, those without a commit among them.
        words, lost, late: as in `Part`.
        backchannels: said over the agent's speech.
        interrupted: those that were taken for an interruption.
    """

    turns: int = 0
    splits: int = 0
    commits: int = 0
    judged: int = 0
    cut_ins: int = 0
    dead: int = 0
    words: int = 0
    lost: int = 0
    late: int = 0
    backchannels: int = 0
    interrupted: int = 0
    delays: Delays = field(default_factory=Delays)

    def add(self, part: Part) -> None:
        """One more turn."""
        self.turns += 1
        self.splits += len(part.commits) > 1
        self.commits += len(part.commits)
        for name in ("judged", "cut_ins", "words", "lost", "late"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        if part.delay is not None:
            self.delays.add(part.delay)
            self.dead += part.delay > DEAD_AIR

    def merge(self, other: Sums) -> None:
        """And all those."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays.steps.update(other.delays.steps)

    @property
    def shares(self) -> dict[str, Share]:
        """By name."""
        return {
            "cut-ins": Share(self.cut_ins, self.judged),
            "dead air": Share(self.dead, self.delays.count),
            "splits": Share(self.splits, self.turns),
            "lost words": Share(self.lost, self.words),
            "late words": Share(self.late, self.words),
            "backchannels that interrupted": Share(self.interrupted, self.backchannels),
        }

    def cost(self, price: float) -> float:
        """Seconds an end: of waiting, and ``price`` for each cut-in."""
        return self.delays.mean + price * self.cut_ins / self.delays.count if self.delays.count else math.nan

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the figures, and under ``sums`` what `from_dict` reads."""
        delays = self.delays
        return {
            "turns": self.turns,
            "commits": self.commits,
            **{name.replace("-", "_").replace(" ", "_"): share.as_dict() for name, share in self.shares.items()},
            "delay": {
                "n": delays.count,
                "mean": delays.mean,
                "between": delays.between,
                **{f"p{q}": delays.quantile(q / 100) for q in (50, 90)},
            },
            "sums": {name: getattr(self, name) for name in _COUNTS} | {"delays": sorted(delays.steps.items())},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Sums:
        """What `as_dict` made.

        Raises:
            ValueError: it did not.
        """
        given = Fields(Fields(data).mapping("sums"))
        out = cls(**{name: given.whole(name) for name in _COUNTS})
        for pair in given.sequence("delays"):
            if not (isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair) and pair[1] >= 0):
                raise ValueError('"delays" must be pairs of whole numbers')
            out.delays.steps[pair[0]] += pair[1]
        return out


_COUNTS = tuple(f.name for f in fields(Sums) if f.name != "delays")
