"""Curves of latency against cutoffs: their points, the front of the best, and what lies between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.endpointing.evaluation import Candidate
from benchmarks.endpointing.scoring import Figures

__all__ = ["EOT_BENCH", "Measure", "Row", "at_cutoffs", "at_latency", "front", "mean", "p50", "p90", "sound"]

#: Published figures of eot-bench, English, other data (its own recordings): cutoffs at 0.3 and 0.6 s, latency at 5 %
#: and 10 % cutoffs.
EOT_BENCH: dict[str, tuple[float | None, float | None, float, float]] = {
    "LiveKit v1": (0.099, 0.045, 0.543, 0.295),
    "Soniox": (None, 0.055, 0.647, 0.512),
    "Deepgram Flux": (0.129, 0.099, 1.151, 0.548),
    "AssemblyAI universal": (0.494, 0.146, 1.049, 0.713),
    "Smart Turn v3.2": (0.352, 0.148, 1.051, 0.739),
    "silence only": (0.556, 0.217, 1.6, 1.0),
}


_MOST_MISSED = 0.01


@dataclass(frozen=True)
class Row:
    """One candidate and its figures."""

    candidate: Candidate
    figures: Figures


Measure = Callable[[Figures], float]


def p50(figures: Figures) -> float:
    return figures.p50


def p90(figures: Figures) -> float:
    return figures.p90


def mean(figures: Figures) -> float:
    return figures.mean


def front(rows: Sequence[Row], latency: Measure) -> list[Row]:
    """Those to which no other is better in one of latency and cutoffs per hold, and not worse in the other."""
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (latency(row.figures), row.figures.per_hold)):
        if not found or row.figures.per_hold < found[-1].figures.per_hold:
            found.append(row)
    return found


def sound(rows: Sequence[Row]) -> list[Row]:
    """Those that complete turns, with their words: no more than 1 % of the turns missed, or of the words missing."""
    return [row for row in rows if max(row.figures.missing, row.figures.missed) <= _MOST_MISSED]


def at_cutoffs(rows: Sequence[Row], share: float, latency: Measure) -> float | None:
    """The least latency of a curve at that share of cutoffs per hold, between its points; None: not reached."""
    best = front(rows, latency)
    for before, after in zip([None, *best], best, strict=False):
        if after.figures.per_hold <= share:
            if before is None:
                return latency(after.figures)
            part = (before.figures.per_hold - share) / (before.figures.per_hold - after.figures.per_hold)
            return latency(before.figures) + part * (latency(after.figures) - latency(before.figures))
    return None


def at_latency(rows: Sequence[Row], seconds: float, latency: Measure) -> float | None:
    """The least share of cutoffs per hold at that latency, likewise."""
    best = front(rows, latency)
    if not best or latency(best[0].figures) > seconds:
        return None
    for before, after in pairwise(best):
        if latency(after.figures) > seconds:
            part = (seconds - latency(before.figures)) / (latency(after.figures) - latency(before.figures))
            return before.figures.per_hold + part * (after.figures.per_hold - before.figures.per_hold)
    return best[-1].figures.per_hold
