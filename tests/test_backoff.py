"""When to try again."""

from __future__ import annotations

import pytest

from hearout.backoff import Backoff, may_pass


def test_pauses_double_up_to_a_limit_and_start_afresh() -> None:
    backoff = Backoff(0.25, 5.0)
    assert [backoff.pause(0.0, 60.0) for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.end()
    assert backoff.pause(0.0, 60.0) == 0.25


def test_an_outage_lasts_from_its_first_failure() -> None:
    backoff = Backoff(1.0, 8.0)
    assert backoff.lasted(100.0) == 0.0
    backoff.begin(100.0)
    backoff.begin(103.0)
    assert backoff.lasted(104.0) == 4.0
    backoff.end()
    assert backoff.lasted(105.0) == 0.0


def test_the_budget_is_for_the_outage_and_the_next_pause() -> None:
    backoff = Backoff(1.0, 8.0)
    backoff.begin(10.0)
    assert backoff.pause(12.0, 3.0) == 1.0
    assert backoff.pause(12.0, 3.9) is None  # 2 s and the next pause, of 2 s
    assert backoff.pause(12.0, 4.0) == 2.0


def test_jitter_and_what_a_server_asks_for() -> None:
    backoff = Backoff(1.0, 8.0)
    assert backoff.pause(0.0, 60.0, share=0.5) == 0.5
    assert backoff.pause(0.0, 60.0, share=0.5, at_least=30.0) == 30.0
    assert backoff.pause(0.0, 60.0, share=0.5) == 2.0  # the doubling went on meanwhile


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_statuses_that_pass(status: int) -> None:
    assert may_pass(status)


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 409, 410, 422, 451])
def test_statuses_that_stay(status: int) -> None:
    assert not may_pass(status)
