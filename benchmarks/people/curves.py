"""A price's curve over some recordings, with what chance makes of so many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.endpointing.conversations import Conversation
from benchmarks.endpointing.curves import Measure, Row, at_cutoffs, at_latency
from benchmarks.endpointing.evaluation import Candidate
from benchmarks.endpointing.scoring import Figures, Interval, Tally, score
from benchmarks.endpointing.simulated import converse

__all__ = ["Curve", "Point"]

_RESAMPLES = 200


@dataclass(frozen=True)
class Point:
    """A figure read off a curve, with its 95 % interval (bootstrap over the recordings); None: not reached."""

    value: float | None
    interval: Interval | None

    def shown(self, as_percent: bool = False) -> str:
        if self.value is None:
            return "-"
        form = "{:.1%}" if as_percent else "{:.2f}"
        numbers = [self.value, *(self.interval or ())]
        first, *rest = (form.format(number) for number in numbers)
        return f"{first} ({'-'.join(rest)})" if rest else first


class Curve:
    """All candidates on all conversations."""

    def __init__(self, candidates: Sequence[Candidate], conversations: Sequence[Conversation]) -> None:
        self._candidates = candidates
        self._tallies = [
            [score(one, converse(one, candidate.policy, candidate.transcriber(one.scenario))) for one in conversations]
            for candidate in candidates
        ]
        self.rows = self._rows(range(len(conversations)))
        draw = np.random.RandomState(1)  # its numbers stay the same in all versions of NumPy
        count = len(conversations)
        resamples = _RESAMPLES if count > 1 else 0
        self._drawn = [self._rows(draw.randint(count, size=count).tolist(), 0) for _ in range(resamples)]

    def _rows(self, chosen: Sequence[int], resamples: int | None = None) -> list[Row]:
        rows = []
        for candidate, tallies in zip(self._candidates, self._tallies, strict=True):
            tally = Tally()
            for number in chosen:
                tally.merge(tallies[number])
            figures = Figures.of(tally) if resamples is None else Figures.of(tally, resamples=resamples)
            rows.append(Row(candidate, figures))
        return rows

    def latency_at(self, cutoffs: float, of: Measure) -> Point:
        """Seconds where that share of the holds is cut."""
        return self._point([at_cutoffs(rows, cutoffs, of) for rows in (self.rows, *self._drawn)])

    def cutoffs_at(self, seconds: float, of: Measure) -> Point:
        """The share of the holds that is cut at that latency."""
        return self._point([at_latency(rows, seconds, of) for rows in (self.rows, *self._drawn)])

    def _point(self, values: Sequence[float | None]) -> Point:
        value, *drawn = values
        reached = [one for one in drawn if one is not None]
        if value is None or len(reached) < 0.9 * len(drawn) or not drawn:
            return Point(value, None)
        low, high = np.percentile(reached, (2.5, 97.5))
        return Point(value, (float(low), float(high)))
