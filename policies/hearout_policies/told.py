"""What the application has been told of a turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hearout_policies.clock import Clock
from hearout_policies.events import Output, TurnPredicted, TurnResumed, TurnStarted, TurnUpdated
from hearout_policies.marks import spoken
from hearout_policies.voice import Voice

__all__ = ["Told"]

# Who answers begins up to 0.2 s before the other has finished, in three of four overlaps (Levinson & Torreira 2015);
# and a telephone's mark tells of the agent's end 0.35 s late (reported from the field).
_ANSWERS = 0.2 + 0.35


@dataclass(slots=True)
class Told:
    """What the application knows of a turn, so that nothing is told twice.

    Attributes:
        started: how it began.
        text: the latest.
        predicted: the text last predicted, while that stands.
        interrupts: it cuts into the agent's speech, and is more than a backchannel.
        agent_ended: session clock: the agent, which spoke when the turn began, came to its end; None: it did not yet,
            or was halted for this turn.
    """

    started: TurnStarted
    text: str = ""
    predicted: str | None = None
    interrupts: bool = False
    agent_ended: float | None = None

    def update(
        self, at: float, text: str, speech: float, *, backchannel: bool, behind: float | None = None
    ) -> TurnUpdated:
        """The words so far, and whether they interrupt."""
        self.text = text
        turn, channel, agent_speaking = self.started.turn, self.started.channel, self.started.agent_speaking
        return TurnUpdated(turn, channel, at, text, self.interrupts, agent_speaking, backchannel, speech, behind)

    def interrupts_at(self, voice: Voice | None, after: float) -> float:
        """Session clock: when a voice that goes on cuts into the agent's speech; infinite: it does not, or has already.

        Counted from this stretch of speech: coughs do not add up.
        """
        if self.interrupts or not self.started.agent_speaking or voice is None or voice.stop is not None:
            return math.inf
        return max(self.started.at, voice.noticed) + after

    def agent_stopped(self, at: float) -> None:
        """The agent ceased to speak; an agent that this turn has interrupted did not come to its end."""
        if self.agent_ended is None and not self.interrupts:
            self.agent_ended = at

    def may_answer_until(self, clock: Clock) -> float:
        """Session clock: an agent that comes to its end by then is answered; minus infinity: nothing is to come."""
        over = self.agent_ended is not None or self.interrupts
        return -math.inf if over else self._early(clock)

    def answers_agent(self, clock: Clock, ended: float | None) -> bool:
        """It was said over the agent's last words, or goes on behind them, up to ``ended`` (None: it still does)."""
        agent = self.agent_ended
        return agent is not None and (ended is None or agent < ended or agent <= self._early(clock))

    def _early(self, clock: Clock) -> float:
        return clock.session(self.started.audio_start) + _ANSWERS

    def predict(self, at: float, text: str) -> list[Output]:
        """Only a hold is left; told once."""
        if self.predicted is not None:
            return []
        self.predicted = text
        return [TurnPredicted(self.started.turn, self.started.channel, at, text)]

    def predicts(self, text: str) -> bool:
        """The prediction holds for ``text``: the same words are said."""
        return self.predicted is not None and spoken(self.predicted) == spoken(text)

    def resume(self, at: float) -> list[Output]:
        """Take a prediction back, if one stands."""
        if self.predicted is None:
            return []
        self.predicted = None
        return [TurnResumed(self.started.turn, self.started.channel, at)]
