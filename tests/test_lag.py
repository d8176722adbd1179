"""The lag of the event loop: one meter a loop, whatever the number of sessions."""

from __future__ import annotations

import gc
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from hearout import Deepgram, lag, open_session
from hearout.lag import listen_to_lag, watch_lag
from tests.kit.provider import Plan, Provider, Source


class Listener:
    def __init__(self) -> None:
        self.lags: list[float] = []

    def observe(self, amount: float) -> None:
        self.lags.append(round(amount, 6))


def run(main: Callable[[trio.testing.MockClock], Awaitable[Any]]) -> Any:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, clock, clock=clock)


async def block(clock: trio.testing.MockClock, seconds: float) -> None:
    """What a call that blocks does: time passes, and no task runs."""
    clock.jump(seconds)
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("standstill", "told"), [(1.0, []), (1.3, [1.05])])
def test_one_long_standstill_is_an_overload(standstill: float, told: list[float]) -> None:
    async def main(clock: trio.testing.MockClock) -> None:
        lags: list[float] = []
        with watch_lag(lambda lag: lags.append(round(lag, 6))):
            await trio.sleep(3.0)
            await trio.testing.wait_all_tasks_blocked()
            await block(clock, standstill)
            await trio.sleep(3.0)
            await block(clock, 5.0)  # once
            await trio.sleep(3.0)
        assert lags[: len(told)] == told
        assert len(lags) == 1  # the second one, where the first was short

    run(main)


@pytest.mark.parametrize(("late", "overload"), [(0.09, False), (0.11, True)])
def test_many_short_ones_in_a_row_are_an_overload(late: float, overload: bool) -> None:
    async def main(clock: trio.testing.MockClock) -> None:
        lags: list[float] = []
        with watch_lag(lags.append):
            for _ in range(20):
                await trio.sleep(0.24)
                await block(clock, 0.01 + late)
            await trio.sleep(1.0)
        assert bool(lags) is overload

    run(main)


def test_now_and_then_is_none() -> None:
    async def main(clock: trio.testing.MockClock) -> None:
        lags: list[float] = []
        with watch_lag(lags.append):
            for _ in range(20):
                await trio.sleep(0.99)
                await block(clock, 0.5)
            await trio.sleep(1.0)
        assert lags == []

    run(main)


def test_listeners_hear_all_and_are_not_kept() -> None:
    async def main(clock: trio.testing.MockClock) -> None:
        listener = Listener()
        listen_to_lag(listener)
        with watch_lag(lambda lag: None), watch_lag(lambda lag: None):  # measured once
            await trio.sleep(1.1)
            await block(clock, 0.35)
            await trio.sleep(0.1)
        assert listener.lags == [0.0] * 4 + [pytest.approx(0.2)]
        heard = len(listener.lags)
        await trio.sleep(5.0)
        assert len(listener.lags) == heard  # no session, no meter

    run(main)
    gc.collect()
    assert not [listener for listener in lag._listeners if isinstance(listener, Listener)]


def test_a_session_warns_once() -> None:
    async def main(clock: trio.testing.MockClock) -> list[Any]:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [[]], [Plan()])
            async with open_session(Source(9.0), Deepgram("a-key"), vad=None, connect=provider.connect) as session:
                await trio.sleep(2.0)
                for _ in range(3):
                    await block(clock, 2.0)
                    await trio.sleep(0.3)
                return [event async for event in session if event.type == "warning"]

    (warning,) = run(main)
    assert re.match(r"overloaded: the event loop was late by (1\.[789]|2\.0) s, and so are turns; ", warning.detail)
    assert "\n" not in warning.detail


def test_a_thousand_sessions_leave_nothing_behind() -> None:
    async def main(clock: trio.testing.MockClock) -> None:
        before = len(trio.lowlevel.current_root_task().child_nurseries[0].child_tasks)  # type: ignore[union-attr]
        for _ in range(1000):
            with watch_lag(lambda lag: None):
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        after = len(trio.lowlevel.current_root_task().child_nurseries[0].child_tasks)  # type: ignore[union-attr]
        assert after == before

    run(main)
