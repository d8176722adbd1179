"""How late, and how often too early: the figures of a policy on labelled pauses.

Latency counts from the end of speech to the completion; a cutoff is a hold in which a turn was completed. Which
pause a completion belongs to is decided by time alone: the latest that had begun by then, or was about to within
the collar. So a completion when the user already speaks again still cuts off the hold before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hearout.tune.episodes import Completion, Episode, run
from hearout_policies.policy import Policy

__all__ = ["COLLAR", "MISSED", "Figures", "Interval", "Outcome", "figures", "outcome", "wilson"]

COLLAR = 0.25  # seconds; where speech ended is not known better, and a prediction may be early and right (TurnBench)
MISSED = 5.0  # seconds; what an end without a completion counts in the mean: so long a user waits at most
_WORD = 0.05  # seconds by which the last word's end may move between results
_RESAMPLES = 500

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a policy made of each pause of a list of episodes.

    Attributes:
        cuts: (holds,) bool; a turn was completed in the hold.
        hold_episode, end_episode: (holds,), (ends,) int; which episode it is in.
        latency: (ends,) seconds from the end of speech to the completion; infinite where none came.
        whole: (ends,) bool; the completed turn had the last word.
    """

    cuts: NDArray[np.bool_]
    hold_episode: NDArray[np.int64]
    latency: NDArray[np.float64]
    end_episode: NDArray[np.int64]
    whole: NDArray[np.bool_]


def outcome(episodes: Sequence[Episode], policy: Policy) -> Outcome:
    """Run all episodes under ``policy``."""
    cuts: list[bool] = []
    cut_from: list[int] = []
    latency: list[float] = []
    end_from: list[int] = []
    whole: list[bool] = []
    for number, episode in enumerate(episodes):
        groups = _assign(episode, run(episode, policy))
        for pause, completions in zip(episode.pauses, groups, strict=True):
            if pause.kind == "hold":
                cuts.append(bool(completions))
                cut_from.append(number)
            elif pause.kind == "end":
                first = completions[0] if completions else None
                latency.append(first.at - pause.start if first else math.inf)
                whole.append(first is not None and first.reach >= _last_word(episode) - _WORD)
                end_from.append(number)
    return Outcome(
        np.array(cuts, bool),
        np.array(cut_from, np.int64),
        np.array(latency, float),
        np.array(end_from, np.int64),
        np.array(whole, bool),
    )


def _assign(episode: Episode, completions: Sequence[Completion]) -> list[list[Completion]]:
    out: list[list[Completion]] = [[] for _ in episode.pauses]
    starts = np.array([pause.start for pause in episode.pauses]) - COLLAR
    for completion in completions:
        index = int(np.searchsorted(starts, completion.at, side="right")) - 1
        if index >= 0:
            out[index].append(completion)
    return out


def _last_word(episode: Episode) -> float:
    return max((word.end for word in episode.words), default=-math.inf)


@dataclass(frozen=True)
class Figures:
    """Of one policy on some pauses.

    Attributes:
        holds, ends: how many.
        cutoffs: share of the holds that were cut off, and its 95 % interval (Wilson).
        mean: seconds of latency; an end without completion counts `MISSED`. With its 95 % interval (bootstrap).
        p50, p90: of latency; None where more ends than that were missed.
        missed: share of ends without completion.
        incomplete: share of the completed ends whose text lacked the last word.
    """

    holds: int
    ends: int
    cutoffs: float
    cutoffs_between: Interval
    mean: float
    mean_between: Interval
    p50: float | None
    p90: float | None
    missed: float
    incomplete: float


def figures(result: Outcome, seed: int = 0) -> Figures:
    """Sum up; the intervals take pauses for independent, which those of one caller are not quite."""
    cut, holds, ends = int(result.cuts.sum()), len(result.cuts), len(result.latency)
    missed = np.isinf(result.latency)
    charged = charge(result)
    done = result.whole[~missed]
    return Figures(
        holds=holds,
        ends=ends,
        cutoffs=cut / holds if holds else 0.0,
        cutoffs_between=wilson(cut, holds),
        mean=float(charged.mean()) if ends else math.nan,
        mean_between=_bootstrap(charged, seed),
        p50=_quantile(result.latency, 0.5),
        p90=_quantile(result.latency, 0.9),
        missed=float(missed.mean()) if ends else 0.0,
        incomplete=float((~done).mean()) if len(done) else 0.0,
    )


def charge(result: Outcome) -> NDArray[np.float64]:
    """(ends,) seconds: what each end counts in the mean."""
    return np.minimum(result.latency, MISSED)


def _quantile(latency: NDArray[np.float64], q: float) -> float | None:
    if not len(latency):
        return None
    value = float(np.quantile(latency, q, method="higher"))
    return value if math.isfinite(value) else None


def wilson(hits: float, count: float, z: float = 1.96) -> Interval:
    """The interval of a share (Wilson 1927): 95 % between its ends, unless ``z`` says otherwise."""
    if not count:
        return 0.0, 1.0
    p = hits / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # None and all have an end there; reckoned, it may lie beyond by a rounding.
    return max(0.0, centre - half) if hits else 0.0, min(1.0, centre + half) if hits < count else 1.0


def _bootstrap(values: NDArray[np.float64], seed: int) -> Interval:
    if not len(values):
        return math.nan, math.nan
    picks = np.random.default_rng(seed).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
