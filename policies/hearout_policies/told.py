"""What the application has been told of a turn."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.events import Output, TurnPredicted, TurnResumed, TurnStarted, TurnUpdated
from hearout_policies.marks import spoken

__all__ = ["Told"]


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

    def update(self, at: float, text: str, speech: float, *, backchannel: bool) -> TurnUpdated:
        """The words so far, and whether they interrupt."""
        self.text = text
        turn, channel, agent_speaking = self.started.turn, self.started.channel, self.started.agent_speaking
        return TurnUpdated(turn, channel, at, text, self.interrupts, agent_speaking, backchannel, speech)

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
