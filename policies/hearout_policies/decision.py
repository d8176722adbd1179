"""How verdicts become a decision: ``max(min(deadlines), max(holds))``, under a cap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hearout_policies.events import Opinion
from hearout_policies.rules import Verdict
from hearout_policies.turn import TurnView

__all__ = ["Decision", "combine", "forced_verdict", "opinions"]

_FINALIZE_WAIT = 1.2  # seconds a forced end waits for words, in a policy without finalize_on_silence
_MOST_SUSPICION = 0.3  # seconds by which suspicions may put off one end: a line that chatters must not hold a turn


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a turn if nothing more happens. Session clock.

    Attributes:
        when: it is over then.
        reason: the rule that says so.
        evident: the first rule would have ended it then; what lies between is hold.
        suspicion: a sound that may be speech puts the end off until ``when``.
    """

    when: float
    reason: str
    evident: float
    suspicion: bool = False


def combine(
    verdicts: Sequence[tuple[str, Verdict]], cap: float, *, held: bool, suspected: float = -math.inf
) -> Decision:
    """Combine the verdicts of all rules.

    Args:
        verdicts: with the names of their rules; of equal deadlines the first one counts.
        cap: the safety net: not later than this, whatever the rules say.
        held: the application holds the turn.
        suspected: what would be over before this may yet prove to go on.
    """
    evident, reason = math.inf, "safety_net"
    hold = math.inf if held else -math.inf
    for name, verdict in verdicts:
        if verdict.deadline is not None and verdict.deadline < evident:
            evident, reason = verdict.deadline, name
        if verdict.hold is not None:
            hold = max(hold, verdict.hold)
    due = max(evident, hold)
    when = max(due, min(suspected, due + _MOST_SUSPICION))
    return Decision(cap, "safety_net", evident) if cap < when else Decision(when, reason, evident, when > due)


def forced_verdict(view: TurnView, forced: float, wait: float | None) -> Verdict:
    """The application wants the end: that outranks the VAD and all holds, only words under way are waited for.

    Args:
        forced: when it said so.
        wait: seconds to wait for the answer to a Finalize; None: the usual.
    """
    wait = _FINALIZE_WAIT if wait is None else wait
    request = view.latest_request
    if not view.unfinalised:
        return Verdict(deadline=forced)
    if request is None:
        return Verdict(deadline=forced + wait)
    if request.answered is not None and request.answered >= forced:
        return Verdict(deadline=request.answered)
    return Verdict(deadline=max(request.sent, forced) + wait + request.backlog)


def opinions(verdicts: Sequence[tuple[str, Verdict]], decision: Decision) -> tuple[Opinion, ...]:
    """The verdicts in the form in which an event tells them; and the suspicion that put off the end, if one did."""
    said = [Opinion(name, verdict.deadline, verdict.hold) for name, verdict in verdicts]
    if decision.suspicion:
        said.append(Opinion("suspicion", None, decision.when))
    return tuple(said)
