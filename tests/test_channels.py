"""How the machines of a session are driven in time, and what comes in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hearout import channels
from hearout.channels import Arrivals, Channels, asking_after
from hearout.errors import SessionError
from hearout_policies import Policy, preset
from hearout_policies.events import Output, TurnStarted
from hearout_policies.signals import AppCommand, Signal, Tick


class Waiter:
    """A machine that wants to be woken at given times, and outputs what it is told."""

    wakes: Sequence[Sequence[float]] = ((1.0, 3.0), (1.0, 2.0))

    def __init__(self, policy: Policy, channel: int) -> None:
        self._channel = channel
        self._wakes = list(self.wakes[channel])

    @property
    def deadline(self) -> float | None:
        return self._wakes[0] if self._wakes else None

    def handle(self, signal: Signal) -> list[Output]:
        if isinstance(signal, Tick) and signal.at == self.deadline:
            self._wakes.pop(0)
        return [TurnStarted(isinstance(signal, Tick), self._channel, signal.at, 0.0)]


@pytest.fixture(autouse=True)
def waiters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "TurnMachine", Waiter)


def driven() -> tuple[Channels, list[Any], list[float]]:
    told: list[Any] = []
    passed: list[float] = []
    return Channels(Policy(), 2, lambda o: told.append((o.at, o.channel)), passed.append), told, passed


def test_what_was_due_goes_first_at_its_own_moment() -> None:
    machines, told, passed = driven()
    machines.tell(0, AppCommand(0.5, "hold"))
    assert machines.deadline == 1.0
    machines.tell(None, AppCommand(2.0, "release"))  # the deadline of this moment waits for what it says
    assert told == [(0.5, 0), (1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]
    assert (passed, machines.deadline) == ([1.0], 2.0)
    machines.tick()
    machines.tick()
    assert told[5:] == [(2.0, 1), (3.0, 0)]
    assert passed == [1.0, 2.0, 3.0]
    assert machines.deadline is None


@pytest.mark.parametrize("answers_first", [False, True])
def test_in_virtual_time_what_arrives_goes_before_what_is_due(answers_first: bool) -> None:
    machines, told, _ = driven()
    arrivals = Arrivals([(0.5, "ask"), (2.0, "script"), (2.5, "end")], answers_first=answers_first)
    came = []

    def deliver(at: float, what: str) -> None:
        came.append(what)
        if what == "ask":
            arrivals.answer(2.0, "answer")
        machines.tell(0, AppCommand(at, "hold"))

    assert machines.play(arrivals, deliver) is None
    assert came == (["ask", "answer", "script", "end"] if answers_first else ["ask", "script", "answer", "end"])
    assert told == [(0.5, 0), (1.0, 0), (1.0, 1), (2.0, 0), (2.0, 0), (2.0, 1), (2.5, 0), (3.0, 0)]


def test_answers_on_their_way_can_be_lost() -> None:
    arrivals = Arrivals([(1.0, "lost"), (3.0, "end")])
    arrivals.answer(0.5, "heard")
    arrivals.answer(2.0, "on its way")
    assert arrivals.take() == (0.5, "heard")
    arrivals.lose_answers()
    assert [arrivals.take(), arrivals.take()] == [(1.0, "lost"), (3.0, "end")]
    assert arrivals.next is None


def waiting_for(monkeypatch: pytest.MonkeyPatch, wakes: list[float]) -> tuple[Channels, list[Any]]:
    monkeypatch.setattr(Waiter, "wakes", (wakes, ()))
    machines, told, _ = driven()
    machines.tell(0, AppCommand(0.0, "hold"))
    return machines, told


def test_a_machine_that_waits_for_ever_ends_the_play(monkeypatch: pytest.MonkeyPatch) -> None:
    machines, _ = waiting_for(monkeypatch, [1e6])
    said = machines.play(Arrivals[str]([]), lambda at, what: None)
    assert said == "still waiting for 1000000.000 s, when nothing more will come"


def test_a_thousand_deadlines_within_a_second_are_allowed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    machines, told = waiting_for(monkeypatch, [2.0 + n / 1000 for n in range(1000)] + [3.5 + n for n in range(50)])
    assert machines.play(Arrivals[str]([]), lambda at, what: None) is None
    assert len(told) == 1051
    machines, _ = waiting_for(monkeypatch, [2.0 + n / 1001 for n in range(1001)])
    with pytest.raises(SessionError, match="a turn machine asks to be woken again and again: more than 1000 times"):
        machines.play(Arrivals[str]([]), lambda at, what: None)


def test_a_transcriber_may_be_asked_no_sooner_than_it_says() -> None:
    key = "finalize_on_silence.finalize_after"

    def after(usual: float, least: float) -> float:
        policy = asking_after(Policy().replace({key: usual}), least)
        return next(p.value for p in policy.parameters() if p.key == key)

    assert [after(0.1, 0.0), after(0.1, 0.2), after(0.3, 0.2)] == [0.1, 0.2, 0.3]
    assert asking_after(preset("provider"), 0.2) == preset("provider")  # it asks for nothing
