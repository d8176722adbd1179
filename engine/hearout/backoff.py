"""Whether to try again after an outage, and when. Pure."""

from __future__ import annotations

__all__ = ["Backoff", "may_pass"]


def may_pass(status: int) -> bool:
    """Is another attempt worth it after this HTTP status? Faults of the server pass, those of the request do not.

    But for 408 (timeout), 425 (too early) and 429 (too many), which are about the moment (RFC 9110, 8470, 6585).
    """
    return status >= 500 or status in (408, 425, 429)


class Backoff:
    """Pauses that double, up to a limit, as long as an outage lasts.

    Args:
        first: seconds of the first pause.
        longest: seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest
        self._since: float | None = None  # there is an outage, which began then

    def begin(self, now: float) -> None:
        """An outage begins, unless it has begun before."""
        if self._since is None:
            self._since = now

    def end(self) -> None:
        """There is none any more: the next one starts with the first pause."""
        self._since, self._next = None, self._first

    def lasted(self, now: float) -> float:
        """Seconds since the outage began; 0 when there is none."""
        return 0.0 if self._since is None else max(0.0, now - self._since)

    def pause(self, now: float, budget: float, *, share: float = 1.0, at_least: float = 0.0) -> float | None:
        """Seconds to wait before the next attempt.

        Args:
            budget: seconds that the outage may last.
            share: what is taken of the pause, for jitter.
            at_least: seconds that the other side asks for.

        Returns:
            None: with this pause it would last longer than ``budget``.
        """
        pause = max(self._next * share, at_least)
        if self.lasted(now) + pause > budget:
            return None
        self._next = min(2 * self._next, self._longest)
        return pause
