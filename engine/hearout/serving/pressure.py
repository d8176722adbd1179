"""Is there time left for another call? Pure: it is told what the event loop does."""

from __future__ import annotations

import math
import statistics
from collections import deque

from hearout.lag import LOOK
from hearout.serving.limits import Limits

__all__ = ["Pressure"]

_MEMORY = 1.0  # seconds over which the looks are averaged: a burst of handshakes is no load, a second of it is
_LOOKS = 5  # of which the median is the lag: one long standstill, such as a collection of garbage, is no overload
_PRIOR = 0.0025  # s of work for each second of a call, until it is measured (docs/benchmarks-load.md)
_WEIGHT = 4  # calls that this guess is worth
_CALM = 0.1  # a closed door opens again when the load would be less than the most by so much; the lag, half,
_CALM_LOOKS = 20  # and that in most of so many looks, 5 s
_FREELY = 0.5  # of the most: so far calls come in as they like
_PACE = 0.05  # beyond, so many of those that are there in a second: what they take shows only when they have begun
_LEAST = 0.5  # calls a second, where there are few


class Pressure:
    """Expects what the loop would have to do with one call more, from what it does now for those that are there.

    Attributes:
        busy: the share that the loop takes of the time that the machine gives it, over the last second or so.
    """

    def __init__(self, limits: Limits) -> None:
        self.busy = 0.0
        self._limits = limits
        self._calls = 0.0  # averaged as `busy` is
        self._lags: deque[float] = deque([0.0] * _CALM_LOOKS, _CALM_LOOKS)
        self._closed = False
        self._tickets = 1.0  # for those who come when it is busy

    @property
    def lag(self) -> float:
        """Seconds by which the loop is late, the median of the last looks."""
        return statistics.median(list(self._lags)[-_LOOKS:])

    def look(self, lag: float, busy: float, calls: int) -> None:
        """What `hearout.lag.watch_load` tells, and how many calls there are."""
        share = 1 - math.exp(-LOOK / _MEMORY)
        self.busy += share * (busy - self.busy)
        self._calls += share * (calls - self._calls)
        self._lags.append(lag)
        pace = max(_LEAST, _PACE * calls)
        self._tickets = min(self._tickets + pace * LOOK, max(1.0, pace))

    def full(self, calls: int) -> bool:
        """Is there no time for one more than ``calls``? Then some must have gone before there is again.

        Never for the first: it takes nothing from anybody, and would come again to a loop that others hold up.
        """
        if not calls:
            self._closed = False
            return False
        expected, busy, lag = self._expected(calls + 1), self._limits.busy, self._limits.lag
        if self._closed:
            self._closed = expected > busy - _CALM or max(self.lag, statistics.median(self._lags)) > lag / 2
        else:
            self._closed = expected > busy or self.lag > lag
        return self._closed

    def takes(self, calls: int) -> bool:
        """Would one that came to ``calls`` others now be admitted?"""
        return not self.full(calls) and (not calls or self._freely(calls) or self._tickets >= 1.0)

    def admits(self, calls: int) -> bool:
        """May one come to ``calls`` others, now?"""
        if not self.takes(calls):
            return False
        if calls and not self._freely(calls):
            self._tickets -= 1.0
        return True

    def _freely(self, calls: int) -> bool:
        return self._expected(calls + 1) <= _FREELY * self._limits.busy

    def _expected(self, calls: int) -> float:
        cost = (self.busy + _WEIGHT * _PRIOR) / (self._calls + _WEIGHT)
        return self.busy + cost * (calls - self._calls)
