"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hearout_policies.view import TurnView

__all__ = ["NEVER", "Rule", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule's answer to: if nothing more happens, when would you complete this turn? (session clock)

    Attributes:
        deadline: complete then; None: never, as far as this rule is concerned. May lie in the past.
        hold: not before then, whatever other rules say; None: no objection.
        finalize: ask the transcriber to finalise then; None: no need.
        border: the turn ends where the provider saw its end: what was said behind that is the next turn's.
    """

    deadline: float | None = None
    hold: float | None = None
    finalize: float | None = None
    border: bool = False


#: No deadline, no objection.
NEVER = Verdict()


class Rule(Protocol):
    """One opinion about when a turn is over.

    A rule keeps no state: it judges each view afresh, and the same view always gets the same verdict. The
    machine completes a turn at ``max(min(deadlines), max(holds))``.

    Attributes:
        name: snake case; the ``reason`` of the turns it completes, and the prefix of its parameters.
    """

    @property
    def name(self) -> str: ...

    def judge(self, turn: TurnView) -> Verdict:
        """Say when this turn should be completed, if nothing more happens."""
