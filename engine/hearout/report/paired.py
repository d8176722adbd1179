"""The same calls twice: how sure is a difference between two policies?

How much callers differ from each other is of no account then, only how much the *difference* does from call to call:
the difference of two ratios of paired clusters, linearised (Cochran 1977, Sampling Techniques, 6.2 and 6.12).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

__all__ = ["grew_at_least"]


def grew_at_least(was: Any, now: Any, confidence: float) -> float:
    """By how much a ratio grew at least, one-sided.

    Args:
        was, now: (calls, 2) of what, and of how many; in each row the same call.

    Returns:
        nan: there are fewer than two calls, or none has any.
    """
    calls = len(was)
    totals = was.sum(axis=0), now.sum(axis=0)
    if calls < 2 or not (totals[0][1] and totals[1][1]):
        return math.nan
    ratios = [hits / count for hits, count in totals]
    # What each call adds to the difference, beyond what it would if it were like all.
    apart = (now[:, 0] - ratios[1] * now[:, 1]) / totals[1][1] - (was[:, 0] - ratios[0] * was[:, 1]) / totals[0][1]
    error = math.sqrt(calls / (calls - 1) * float((apart * apart).sum()))
    return float(ratios[1] - ratios[0]) - _student(confidence, calls - 1) * error


def _student(confidence: float, freedom: int) -> float:
    """The quantile of Student's t (Abramowitz & Stegun 26.7.5, three terms)."""
    z = NormalDist().inv_cdf(confidence)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / math.pow(freedom, power) for power, term in enumerate(terms, 1))
