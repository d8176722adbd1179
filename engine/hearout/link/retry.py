"""How long to wait before the next attempt to connect, and when to give up. Pure."""

from __future__ import annotations

import random

from hearout.backoff import Backoff
from hearout.errors import SessionError
from hearout.link.refusal import LinkFailure
from hearout.link.settings import LinkSettings

__all__ = ["Retry"]


class Retry:
    """Pauses that double, with jitter, and a budget for the whole of an outage."""

    def __init__(self, settings: LinkSettings, now: float) -> None:
        self._settings = settings
        self._backoff = Backoff(min(settings.backoff, settings.backoff_cap), settings.backoff_cap)
        self.start_afresh(now)

    def start_afresh(self, now: float) -> None:
        """The connection that ended was a good one."""
        self._backoff.end()
        self._backoff.begin(now)

    def pause(self, failure: LinkFailure, now: float, rng: random.Random, *, first: bool) -> float:
        """Seconds to wait after ``failure``; ``first``: there has been no connection yet.

        Raises:
            SessionError: another attempt is useless, or the budget is used up.
        """
        settings = self._settings
        if failure.permanent:
            raise SessionError(failure.detail)
        budget = settings.first_budget if first else settings.budget
        pause = self._backoff.pause(now, budget, share=rng.uniform(0.5, 1.0), at_least=failure.retry_after or 0.0)
        if pause is None:
            remedy = f": {failure.remedy}" if failure.remedy else ""
            raise SessionError(f"{failure.detail}; gave up after {self._backoff.lasted(now):.0f} s{remedy}")
        return pause
