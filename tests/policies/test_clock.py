"""The two clocks."""

from __future__ import annotations

import pytest

from hearout_policies.clock import Clock


def at(now: float) -> Clock:
    clock = Clock()
    clock.now = now
    return clock


def test_they_run_together_until_something_else_is_known() -> None:
    clock = at(7.0)
    assert (clock.audio, clock.session(6.5), clock.stalled) == (7.0, 6.5, False)


def test_audio_that_was_missing_moves_them_apart() -> None:
    clock = at(10.0)
    clock.heard(4.0)
    assert (clock.offset, clock.audio, clock.session(3.0)) == (6.0, 4.0, 9.0)
    clock.now = 11.0
    assert clock.audio == 5.0


@pytest.mark.parametrize("late", [0.015, -0.015])
def test_jitter_does_not(late: float) -> None:
    clock = at(10.0)
    clock.heard(10.0 - late)
    assert clock.offset == 0.0


@pytest.mark.parametrize("late", [0.025, -0.025])
def test_more_than_jitter_does(late: float) -> None:
    clock = at(10.0)
    clock.heard(10.0 - late)
    assert clock.offset == pytest.approx(late)


def test_jitter_is_measured_from_where_they_were() -> None:
    clock = at(10.0)
    clock.heard(8.0)
    clock.now = 11.0
    clock.heard(8.99)
    assert clock.offset == 2.0


def test_audio_time_stands_still_while_no_audio_comes() -> None:
    clock = at(5.0)
    clock.stall(4.8)
    clock.now = 60.0
    assert (clock.audio, clock.stalled) == (4.8, True)
    assert clock.session(4.0) == 4.0, "what was heard before keeps its time"
    clock.heard(5.0)
    assert (clock.audio, clock.stalled, clock.offset) == (5.0, False, 55.0)
