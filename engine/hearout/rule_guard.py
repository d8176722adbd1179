"""Rules that an application brings: one that raises or returns nonsense ends the session, but not the machine."""

from __future__ import annotations

import dataclasses
import math

from hearout.errors import SessionError
from hearout.fields import is_number
from hearout_policies.policy import Policy
from hearout_policies.rules import Rule, Verdict
from hearout_policies.rules.base import NEVER
from hearout_policies.view import TurnView

__all__ = ["GuardedRule", "guarded"]


class GuardedRule:
    """A rule as the machine sees it. Once it has failed it has no opinion: the other rules end the turns that are open.

    Attributes:
        failure: what it raised, or what is wrong with its verdict; it names the rule.
    """

    def __init__(self, rule: Rule) -> None:
        self.name = rule.name
        self.failure: Exception | None = None
        self._rule = rule
        self._verdict = NEVER

    def judge(self, turn: TurnView) -> Verdict:
        if self.failure is not None:
            return NEVER
        try:
            verdict = self._rule.judge(turn)
        except Exception as error:
            error.add_note(f"raised by the rule {self.name!r} of the policy")
            self.failure = error
            return NEVER
        if (wrong := _nonsense(verdict)) is not None:
            self.failure = SessionError(f"the rule {self.name!r}{wrong}")
            return NEVER
        self._verdict = verdict
        return verdict

    def wanted(self, at: float) -> bool:
        """Its last verdict asks for that very moment."""
        return at in (self._verdict.deadline, self._verdict.hold, self._verdict.finalize)


def guarded(policy: Policy) -> tuple[Policy, list[GuardedRule]]:
    """The policy with a guard round each rule that is not hearout's own, and these guards."""
    rules = [
        rule if type(rule).__module__.startswith("hearout_policies.") else GuardedRule(rule) for rule in policy.rules
    ]
    guards = [rule for rule in rules if isinstance(rule, GuardedRule)]
    return (dataclasses.replace(policy, rules=tuple(rules)) if guards else policy), guards


def _nonsense(verdict: object) -> str | None:
    if not isinstance(verdict, Verdict):
        return f" must return a Verdict, not {verdict!r:.40}"
    for field in dataclasses.fields(verdict):
        value = getattr(verdict, field.name)
        if value is None:
            continue
        if field.name == "border":
            if not isinstance(value, bool):
                return f": border must be true or false, not {value!r:.40}"
            continue
        if not is_number(value) or math.isnan(value):
            return f": {field.name} must be a time, not {value!r:.40}"
    return None
