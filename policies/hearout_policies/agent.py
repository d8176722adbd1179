"""The voicebot itself: when it speaks, what it says and asks, and for how long nobody has answered."""

from __future__ import annotations

from collections import deque

from hearout_policies.clock import Clock
from hearout_policies.echo import Echo
from hearout_policies.question import Question
from hearout_policies.signals import AgentSpeech, Transcript

__all__ = ["Agent"]

_MOST = 8  # changes remembered: words tell of their turn a second late, and no agent changes more often in that time


class Agent:
    """Remembers when the agent began and ceased to speak; all times on the session clock.

    Attributes:
        question: what was asked.
    """

    __slots__ = ("_echo", "_news", "_unanswered", "question")

    def __init__(self) -> None:
        self._news: deque[AgentSpeech] = deque(maxlen=_MOST)
        self._echo = Echo()
        self.question = Question()
        # When it ceased to speak, or the noise behind that ended; None: it speaks, or its user has spoken since, or
        # was told to be idle.
        self._unanswered: float | None = None

    def hear(self, news: AgentSpeech) -> None:
        """It began, or ceased."""
        self._news.append(news)
        self._unanswered = news.at if news.kind == "stopped" else None

    def say(self, text: str, language: str, at: float) -> None:
        """It says this now, or is about to."""
        if self.question.answered:
            self._echo = Echo(again=self._echo.heard)
        self._echo.say(text)
        self.question.say(text, language, speaking=self.spoke_at(at))

    def answered(self, text: str) -> None:
        """Its user has completed a turn."""
        self.question.turn_completed(text)
        self._unanswered = None

    def misheard(self, at: float) -> None:
        """What sounded like its user was none."""
        if self._unanswered is not None:
            self._unanswered = at

    def idle_at(self, after: float) -> float | None:
        """When nobody will have answered it for so long; None: ``after`` is 0, or there is nothing to wait for."""
        return self._unanswered + after if after and self._unanswered is not None else None

    def told_idle(self) -> float:
        """Since when nobody has answered; told once."""
        since, self._unanswered = self._unanswered, None
        assert since is not None
        return since

    def may_echo(self, at: float) -> bool:
        """What is heard then may be its own voice: it speaks, and what it says is known."""
        return self._echo.on and self.spoke_at(at)

    def sift(self, result: Transcript, least: int, clock: Clock) -> Transcript:
        """``result`` without the words that are its own (`Echo.sift`)."""
        if not self._echo.on:
            return result
        return self._echo.sift(result, least, lambda audio: self.spoke_at(min(clock.session(audio), clock.now)))

    def spoke_at(self, at: float) -> bool:
        """It was speaking then."""
        return next((news.kind == "started" for news in reversed(self._news) if news.at <= at), False)

    def began_within(self, after: float, upto: float) -> bool:
        """It began to speak behind ``after``, up to ``upto``."""
        return any(news.kind == "started" and after < news.at <= upto for news in self._news)

    def stopped_after(self, at: float) -> float | None:
        """When it first ceased to speak behind ``at``; None: it did not."""
        return next((news.at for news in self._news if news.kind == "stopped" and news.at > at), None)
