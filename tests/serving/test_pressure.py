"""A loop that has no time left takes no more calls: the reckoning by itself, and the answer that callers get."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from hearout.lag import LOOK, watch_load
from hearout.serving import Limits, Peer, WebSocketServer
from hearout.serving.pressure import Pressure
from tests.kit.callers import calling, refused
from tests.kit.frames import REQUEST


class Loop:
    """A core on which each call takes its part, and half as much again in its first second."""

    def __init__(self, cost: float, limits: Limits | None = None) -> None:
        self.pressure = Pressure(limits or Limits())
        self.calls = self.refused = 0
        self.busiest = 0.0
        self._cost = cost
        self._new: list[int] = []  # in each of the last looks

    def run(self, seconds: float, offered: float) -> None:
        """So many calls come in a second."""
        due = 0.0
        for _ in range(round(seconds / LOOK)):
            due += offered * LOOK
            before = self.calls
            while due >= 1.0:
                due -= 1.0
                if self.pressure.admits(self.calls):
                    self.calls += 1
                else:
                    self.refused += 1
            self._new = [*self._new[-3:], self.calls - before]
            wants = self._cost * (self.calls + sum(self._new) / 2)
            self.busiest = max(self.busiest, wants)
            self.pressure.look(0.001 if wants < 1 else 0.5, min(1.0, wants), self.calls)


@pytest.mark.parametrize("cost", [1 / 400, 1 / 100, 1 / 20])
@pytest.mark.parametrize("seconds", [5, 20, 60])  # in which twice comes what there is room for
def test_twice_the_calls_fill_a_core_and_do_not_overload_it(cost: float, seconds: float) -> None:
    loop = Loop(cost)
    loop.run(seconds, 2 / cost / seconds)
    assert loop.busiest < 0.9
    assert loop.refused > 0.9 / cost
    loop.run(60.0, 0.5 / cost / 10)  # and they keep trying
    assert loop.busiest < 0.9
    assert 0.55 < loop.calls * cost <= 0.75


def test_a_crowd_gets_in_at_once_where_there_is_much_room() -> None:
    loop = Loop(1 / 400)
    loop.run(LOOK, 100 / LOOK)
    assert (loop.calls, loop.refused) == (100, 0)


def test_a_door_that_closed_opens_when_some_have_gone() -> None:
    loop = Loop(1 / 100)
    loop.run(60.0, 5)
    assert loop.pressure.full(loop.calls)
    loop.calls -= 3
    loop.run(3.0, 0)
    assert loop.pressure.full(loop.calls)  # not for a few: it would close again at once
    loop.calls -= 12
    loop.run(3.0, 0)
    assert not loop.pressure.full(loop.calls)
    loop.run(3.0, 1)
    assert loop.calls > 50


def test_a_loop_that_something_blocks_is_full() -> None:
    pressure = Pressure(Limits())
    for lag in (0.3, 0.0, 0.0, 0.3, 0.0):  # now and then
        pressure.look(lag, 0.1, 3)
        assert not pressure.full(3)
    for _ in range(3):
        pressure.look(0.3, 0.1, 3)
    assert pressure.full(3)
    for _ in range(3):
        pressure.look(0.03, 0.1, 3)
    assert pressure.full(3)  # better, and not well
    for _ in range(3):
        pressure.look(0.001, 0.1, 3)
    assert not pressure.full(3)


def test_the_first_is_let_in_however_busy_the_machine_is(run_virtual: Callable[..., Any]) -> None:
    """It takes nothing from anybody; other programs may make the loop late."""

    async def main() -> None:
        server = WebSocketServer(listen, name="bot")
        for _ in range(8):
            server._look(0.3, 1.0)
        assert server.status == "ready"
        await trio.sleep(1.0)  # and stands still
        async with calling(server):
            assert server.status == "full"
            await refused(server, [], 503)
        async with calling(server):
            pass

    run_virtual(main)


def test_no_limit() -> None:
    loop = Loop(1 / 10, Limits(busy=math.inf, lag=math.inf))
    loop.run(10.0, 10)
    assert (loop.calls, loop.refused) == (100, 0)


# -- a server ------------------------------------------------------------------------------------------------------


async def listen(peer: Peer) -> None:
    while await peer.receive() is not None:
        pass


def test_who_is_refused_is_told_when_to_come_again(
    run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = WebSocketServer(listen, name="bot")
        async with calling(server):
            for _ in range(8):
                server._look(0.0, 1.0)
            await refused(server, [], 503)
            async with trio.open_nursery() as nursery:
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(server.serve, theirs)
                await ours.send_all(REQUEST % b"/")
                answer = b""
                while data := await ours.receive_some():
                    answer += data
            head, _, body = answer.lower().partition(b"\r\n\r\n")
            assert b"retry-after: 2" in head
            assert body == b"no time left for another call\n"
            for _ in range(12):
                server._look(0.0, 0.1)
            async with calling(server):
                pass

    run_virtual(main)
    assert "refused with 503: no time left for another call" in caplog.records[0].getMessage()


def test_a_loop_that_is_late_at_this_moment_takes_nobody(run_virtual: Callable[..., Any]) -> None:
    """A crowd comes in between two looks: what it takes they will show later."""

    async def main() -> None:
        server = WebSocketServer(listen, name="bot")
        async with calling(server):
            server._look(0.0, 0.0)
            await trio.sleep(LOOK + 0.09)
            async with calling(server):
                pass
            await trio.sleep(0.02)
            await refused(server, [], 503)
            server._look(0.1, 0.0)
            async with calling(server):
                pass

    run_virtual(main)


def test_the_share_of_time_that_a_loop_works() -> None:
    """For real: half a second of work in a look of four a second. (What the others are is the machine's affair.)"""
    looks: list[tuple[float, float]] = []

    async def main() -> None:
        enough = trio.Event()

        def look(lag: float, busy: float) -> None:
            looks.append((lag, busy))
            if len(looks) == 4:
                enough.set()

        with watch_load(look):
            await trio.sleep(0.1)
            time.sleep(0.6)  # noqa: ASYNC251 (that is the fault)
            await enough.wait()

    trio.run(main)
    (lag, busy), *_ = looks
    assert lag > 0.4
    assert busy > 0.8


def test_two_servers_are_measured_as_one_loop_whichever_ends_first() -> None:
    looks: list[float] = []

    async def main() -> None:
        with watch_load(lambda lag, busy: looks.append(busy)):
            with watch_load(lambda lag, busy: None):
                await trio.lowlevel.checkpoint()
            await trio.sleep(2 * LOOK)
            looks.clear()
            time.sleep(0.6)  # noqa: ASYNC251 (that is the fault)
            await trio.sleep(2 * LOOK)

    trio.run(main)
    assert max(looks) > 0.65  # 0.6 s of work, and before it up to a look's 0.25 s of rest


def test_nobody_watches_no_instrument_is_left() -> None:
    async def main() -> None:
        loads: list[float] = []
        with watch_load(lambda lag, busy: loads.append(busy)):
            pass
        await trio.sleep(2.0)
        assert loads == []

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
