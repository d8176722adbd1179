"""The turn machines of a session, one a channel, driven in time. Live sessions, replays and tuning all use this."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

from hearout.errors import SessionError
from hearout.rule_guard import GuardedRule, guarded
from hearout_policies.decision import Outlook
from hearout_policies.events import Output
from hearout_policies.machine import TurnMachine
from hearout_policies.policy import Policy
from hearout_policies.signals import PolicyChanged, Signal, Tick

__all__ = ["Arrivals", "Channels", "asking_after"]

_MARGIN = 60.0  # virtual seconds that a machine may wait beyond the bounds of its policy
_MOST_TICKS = 1000  # deadlines within a second; a turn needs a handful

T = TypeVar("T")


def asking_after(policy: Policy, seconds: float) -> Policy:
    """``policy``, but asking for final results no sooner than so many seconds into a silence."""
    key = "finalize_on_silence.finalize_after"
    usual = next((p.value for p in policy.parameters() if p.key == key), seconds)
    return policy if usual >= seconds else policy.replace({key: seconds})


class Channels:
    """Tells the machines what happens, and does what is due meanwhile: at its own moment, however late.

    Rules that an application brings are guarded (`hearout.rule_guard`): when one fails, the machines go on without.

    Args:
        policy: of all of them.
        count: how many channels.
        take: is given every output, in the order in which they are decided.
        passed: is told each deadline when it is done.
        finalize_after: `hearout.transcribers.base.Dialect` has it.

    Attributes:
        deadline: when to `tick` if nothing else happens (session clock): the earliest of all; None: no need.
    """

    def __init__(
        self,
        policy: Policy,
        count: int,
        take: Callable[[Output], object],
        passed: Callable[[float], object] = lambda at: None,
        *,
        finalize_after: float = 0.0,
    ) -> None:
        self.deadline: float | None = None
        self._ticks, self._since = 0, 0.0  # deadlines since then
        self._patience = 0.0  # virtual seconds that a machine may wait
        self._bound(policy)
        self._guards: list[GuardedRule] = []
        self._finalize_after = finalize_after
        self._machines = [TurnMachine(self._own(policy), channel) for channel in range(count)]
        self._take = take
        self._passed = passed

    def _bound(self, policy: Policy) -> None:
        self._patience = max(self._patience, policy.max_turn + policy.max_silence + policy.idle_after + _MARGIN)

    def _own(self, policy: Policy) -> Policy:
        """For one machine: as this transcriber needs it, and with guards of its own."""
        own, guards = guarded(asking_after(policy, self._finalize_after))
        self._guards += guards
        return own

    @property
    def failure(self) -> Exception | None:
        """How a rule has failed; the first of them, if several have. It is for the caller to raise."""
        return next((guard.failure for guard in self._guards if guard.failure is not None), None)

    def outlook(self, channel: int) -> Outlook | None:
        """What becomes of the turn that is open there; None: none is."""
        decision = self._machines[channel].decision
        return None if decision is None else decision.outlook(channel)

    def tell(self, channel: int | None, signal: Signal) -> None:
        """Something happened on ``channel`` (None: on all). What was due before it goes first."""
        while self.deadline is not None and self.deadline < signal.at:
            self.tick()
        for machine in self._machines if channel is None else (self._machines[channel],):
            if isinstance(signal, PolicyChanged):
                self._bound(signal.policy)
                self._handle(machine, replace(signal, policy=self._own(signal.policy)))
            else:
                self._handle(machine, signal)
        self._look_ahead()

    def tick(self) -> None:
        """It is `deadline`, and nothing else happened: every machine that waits for this moment hears so.

        Raises:
            SessionError: a machine never rests, and it is no rule's fault.
        """
        due = self.deadline
        assert due is not None
        self._count(due)
        for machine in self._machines:
            if machine.deadline == due:
                self._handle(machine, Tick(due))
        self._passed(due)
        self._look_ahead()

    def play(self, arrivals: Arrivals[T], deliver: Callable[[float, T], object]) -> str | None:
        """Let all arrivals come and all deadlines pass, in virtual time.

        What has arrived goes before a deadline of the same moment, as in a live session.

        Args:
            arrivals: what comes; more may be added while it does.
            deliver: is given each with its time; it may `tell`.

        Returns:
            why this was broken off, when a machine asked to be woken for ever; None: nothing is left to wait for.

        Raises:
            Exception: the `failure` of a rule.
        """
        last = 0.0
        while True:
            if (failure := self.failure) is not None:
                raise failure
            due, following = self.deadline, arrivals.next
            if following is not None and (due is None or following <= due):
                last, item = arrivals.take()
                deliver(last, item)
            elif due is None:
                return None
            elif due > last + self._patience:
                return f"still waiting for {due:.3f} s, when nothing more will come"
            else:
                self.tick()

    def _count(self, due: float) -> None:
        """See to it that no rule blocks the loop by asking for a moment that is always just ahead."""
        if due > self._since + 1.0:
            self._ticks, self._since = 0, due
        self._ticks += 1
        if self._ticks <= _MOST_TICKS:
            return
        complaint = f"asks to be woken again and again: more than {_MOST_TICKS} times within a second"
        restless = next((guard for guard in self._guards if guard.wanted(due)), None)
        if restless is None:
            raise SessionError(f"a turn machine {complaint}")
        restless.failure = SessionError(f"the rule {restless.name!r} {complaint}")
        self._ticks = 0

    def _handle(self, machine: TurnMachine, signal: Signal) -> None:
        for output in machine.handle(signal):
            self._take(output)

    def _look_ahead(self) -> None:
        self.deadline = min((m.deadline for m in self._machines if m.deadline is not None), default=None)


class Arrivals(Generic[T]):
    """What is to come in virtual time, by time and then in the order given: a script, and answers to what is asked.

    Args:
        script: (time, what) pairs.
        answers_first: of one moment, answers come before the script, not behind it.
    """

    def __init__(self, script: Iterable[tuple[float, T]], *, answers_first: bool = False) -> None:
        self._answer_rank = -1 if answers_first else 1
        # (time, rank, order, what); the script has rank 0.
        self._queue = [(at, 0, order, item) for order, (at, item) in enumerate(script)]
        self._count = len(self._queue)
        heapq.heapify(self._queue)

    @property
    def next(self) -> float | None:
        """The time of the next; None: nothing more comes."""
        return self._queue[0][0] if self._queue else None

    def take(self) -> tuple[float, T]:
        """The next, with its time."""
        at, _, _, item = heapq.heappop(self._queue)
        return at, item

    def answer(self, at: float, item: T) -> None:
        """``item`` will come at ``at``, unless the answers on their way are lost."""
        heapq.heappush(self._queue, (at, self._answer_rank, self._count, item))
        self._count += 1

    def lose_answers(self) -> None:
        """The connection is lost, and all answers on their way with it."""
        self._queue = [entry for entry in self._queue if not entry[1]]
        heapq.heapify(self._queue)
