"""How long to wait before the next attempt to connect, and when to give up. Pure."""

from __future__ import annotations

import random

from hearout.errors import SessionError
from hearout.link.refusal import LinkFailure
from hearout.link.settings import LinkSettings

__all__ = ["Retry"]

_MOST_DOUBLINGS = 16


class Retry:
    """Pauses that double, with jitter, and a budget for the whole of an outage."""

    def __init__(self, settings: LinkSettings, now: float) -> None:
        self._settings = settings
        self.start_afresh(now)

    def start_afresh(self, now: float) -> None:
        """The connection that ended was a good one."""
        self._attempt, self._since = 0, now

    def pause(self, failure: LinkFailure, now: float, rng: random.Random, *, first: bool) -> float:
        """Seconds to wait after ``failure``; ``first``: there has been no connection yet.

        Raises:
            SessionError: another attempt is useless, or the budget is used up.
        """
        settings = self._settings
        if failure.permanent:
            raise SessionError(failure.detail)
        doubled: float = settings.backoff * 2**self._attempt
        pause = min(doubled, settings.backoff_cap) * rng.uniform(0.5, 1.0)
        if failure.retry_after is not None:
            pause = max(pause, failure.retry_after)
        budget = settings.first_budget if first else settings.budget
        if now + pause - self._since > budget:
            remedy = f": {failure.remedy}" if failure.remedy else ""
            raise SessionError(f"{failure.detail}; gave up after {now - self._since:.0f} s{remedy}")
        self._attempt = min(self._attempt + 1, _MOST_DOUBLINGS)
        return pause
