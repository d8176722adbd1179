"""When the voicebot itself spoke."""

from __future__ import annotations

from collections import deque

from hearout_policies.signals import AgentSpeech

__all__ = ["Agent"]

_MOST = 8  # changes remembered: words tell of their turn a second late, and no agent changes more often in that time


class Agent:
    """Remembers when the agent began and ceased to speak; all times on the session clock."""

    __slots__ = ("_news",)

    def __init__(self) -> None:
        self._news: deque[AgentSpeech] = deque(maxlen=_MOST)

    def hear(self, news: AgentSpeech) -> None:
        """It began, or ceased."""
        self._news.append(news)

    def spoke_at(self, at: float) -> bool:
        """It was speaking then."""
        return next((news.kind == "started" for news in reversed(self._news) if news.at <= at), False)

    def began_within(self, after: float, upto: float) -> bool:
        """It began to speak behind ``after``, up to ``upto``."""
        return any(news.kind == "started" and after < news.at <= upto for news in self._news)

    def stopped_after(self, at: float) -> float | None:
        """When it first ceased to speak behind ``at``; None: it did not."""
        return next((news.at for news in self._news if news.kind == "stopped" and news.at > at), None)
