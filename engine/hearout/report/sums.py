"""Sums over parts of turns, which add up and take no more room for more of them, and the figures that they give.

The turns of one call are alike, so many of them tell less than as many from as many calls. By how much, the *design
effect* (Kish 1965), is told by how much calls differ from each other: from sums of squares over calls, as for any ratio
(Cochran 1977, Sampling Techniques, 6.2).
"""

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

__all__ = ["DEAD_AIR", "STEP", "Delays", "Share", "Sums"]

DEAD_AIR = 2.0  # seconds from the end of speech to the commit; longer is dead air
STEP = 0.01  # seconds; delays are counted in such steps, finer ones are noise
_NEVER = round(MISSED / STEP)  # the step of an end without a commit, or with one as late as that
_RESAMPLES = 500
_DELAY = "delay"

Squares = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``count``.

    Attributes:
        alike: so many of them tell no more than one that stands alone.
    """

    hits: int
    count: int
    alike: float = 1.0

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def between(self) -> Interval:
        """95 %."""
        return self.within(1.96)

    def within(self, z: float) -> Interval:
        """Between which bounds it is (Wilson)."""
        return wilson(self.hits / self.alike, self.count / self.alike, z)

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
        self.steps[round(min(seconds, MISSED) / STEP)] += 1

    @property
    def count(self) -> int:
        return self.steps.total()

    @property
    def mean(self) -> float:
        """Seconds; nan: there are none."""
        return STEP * self.total / self.count if self.count else math.nan

    @property
    def total(self) -> int:
        """Of all, in steps."""
        return sum(n * step for step, n in self.steps.items())

    def quantile(self, q: float) -> float | None:
        """Seconds; None: so many ends had no commit, or there are none."""
        seen = 0
        for step, n in sorted(self.steps.items()):
            seen += n
            if seen >= q * self.count:
                return None if step >= _NEVER else step * STEP
        return None

    @property
    def variance(self) -> float:
        """Of one of them, in steps squared."""
        mean = self.total / self.count
        return sum(n * (step - mean) ** 2 for step, n in self.steps.items()) / self.count

    def means(self, seed: int = 0, alike: float = 1.0) -> Any:
        """(500,) seconds: the means of as many delays drawn from these (the bootstrap of `hearout.tune`).

        Args:
            alike: as in `Share`.
        """
        steps = np.array(sorted(self.steps))
        counts = np.array([self.steps[int(step)] for step in steps], float)
        drawn = np.random.default_rng(seed).multinomial(self.count, counts / counts.sum(), _RESAMPLES)
        return self.mean + math.sqrt(alike) * (STEP * (drawn @ steps) / self.count - self.mean)

    def between(self, alike: float = 1.0) -> Interval:
        """Of the mean, 95 %."""
        if not self.count:
            return math.nan, math.nan
        low, high = np.quantile(self.means(alike=alike), [0.025, 0.975])
        return float(max(0.0, low)), float(min(MISSED, high))


@dataclass
class Sums:
    """What one turn detection did, summed up.

    Attributes:
        turns: of the user; an "uh-huh" to the agent's speech is none.
        splits: turns that were handed on in pieces.
        commits: all; ``judged``, ``early`` and ``cut_ins`` as in `Part`.
        delays: of the ends.
        dead: ends later than `DEAD_AIR`, those without a commit among them.
        words, lost, late: as in `Part`.
        backchannels: said over the agent's speech.
        interrupted: those that were taken for an interruption.
        squares: of each figure the number of calls that have it, and the sums over them of hits squared, of hits times
            count, and of count squared.
    """

    turns: int = 0
    splits: int = 0
    commits: int = 0
    judged: int = 0
    early: int = 0
    cut_ins: int = 0
    dead: int = 0
    words: int = 0
    lost: int = 0
    late: int = 0
    backchannels: int = 0
    interrupted: int = 0
    delays: Delays = field(default_factory=Delays)
    squares: dict[str, Squares] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """One more turn."""
        self.turns += not part.aside
        self.splits += part.split
        self.commits += len(part.commits)
        for name in ("judged", "early", "cut_ins", "words", "lost", "late"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        if part.delay is not None:
            self.delays.add(part.delay)
            self.dead += part.delay > DEAD_AIR

    def merge(self, other: Sums) -> None:
        """And all those."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays.steps.update(other.delays.steps)
        for name, squares in other.squares.items():
            self._square(name, squares)

    def add_call(self, call: Sums) -> None:
        """One more call, which has been summed up by itself."""
        self.merge(call)
        for name, (hits, count) in call._ratios.items():
            if count:
                self._square(name, (1, hits * hits, hits * count, count * count))

    def _square(self, name: str, more: Squares) -> None:
        calls, hits, both, counts = self.squares.get(name, (0, 0, 0, 0))
        self.squares[name] = (calls + more[0], hits + more[1], both + more[2], counts + more[3])

    @property
    def _ratios(self) -> dict[str, tuple[int, int]]:
        """Of each figure of what, and of how many."""
        return {
            "cut-ins": (self.cut_ins, self.judged),
            "too early": (self.early, self.judged),
            "dead air": (self.dead, self.delays.count),
            "splits": (self.splits, self.turns),
            "lost words": (self.lost, self.words),
            "late words": (self.late, self.words),
            "backchannels that interrupted": (self.interrupted, self.backchannels),
            _DELAY: (self.delays.total, self.delays.count),
        }

    def alike(self, name: str) -> float:
        """How many of a figure tell no more than one that stands alone: the design effect, 1 or more."""
        return self._alike(name, *self._ratios[name])

    def _alike(self, name: str, hits: int, count: int) -> float:
        calls, squares, both, counts = self.squares.get(name, (0, 0, 0, 0))
        if calls < 2 or not count:
            return 1.0
        ratio = hits / count
        alone = count * (self.delays.variance if name == _DELAY else ratio * (1 - ratio))
        apart = calls / (calls - 1) * (squares - 2 * ratio * both + ratio * ratio * counts)
        return max(1.0, apart / alone) if alone > 0 else 1.0

    @property
    def delay_between(self) -> Interval:
        """Of the mean delay, 95 %."""
        return self.delays.between(self.alike(_DELAY))

    def delay_means(self, seed: int = 0) -> Any:
        """As `Delays.means`."""
        return self.delays.means(seed, self.alike(_DELAY))

    @property
    def shares(self) -> dict[str, Share]:
        """By name."""
        return {
            name: Share(*ratio, self._alike(name, *ratio)) for name, ratio in self._ratios.items() if name != _DELAY
        }

    def cost(self, price: float) -> float:
        """Seconds an end: of waiting, and ``price`` for each commit that was too early.

        Not for each cut-in: of those there are fewer the earlier in a pause it is.
        """
        return self.delays.mean + price * self.early / self.delays.count if self.delays.count else math.nan

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
                "between": self.delay_between,
                **{f"p{q}": delays.quantile(q / 100) for q in (50, 90)},
            },
            "sums": {name: getattr(self, name) for name in _COUNTS}
            | {"delays": sorted(delays.steps.items()), "squares": self.squares},
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
        for name, squares in given.mapping("squares").items():
            if name not in out._ratios or not (isinstance(squares, list) and len(squares) == 4):
                raise ValueError('"squares" must be four whole numbers for a figure')
            if not all(type(n) is int and n >= 0 for n in squares):
                raise ValueError('"squares" must be whole numbers, 0 or more')
            out._square(name, (squares[0], squares[1], squares[2], squares[3]))
        return out


_COUNTS = tuple(f.name for f in fields(Sums) if f.name not in ("delays", "squares"))
