"""The session clock on a clock that the test turns."""

from __future__ import annotations

import random

import pytest

from hearout.session.clock import SessionClock

RATE = 16000
BLOCK = 320  # 20 ms


class Line:
    """Audio that comes over a line, block by block; ``moment`` is trio's clock."""

    def __init__(self, realtime: bool = True) -> None:
        self.moment = 1000.0
        self.clock = SessionClock(RATE, realtime=realtime, current_time=lambda: self.moment)

    def block(self, moment: float | None = None, frames: int = BLOCK) -> float:
        """A block comes at ``moment``; its time."""
        self.moment = self.moment if moment is None else moment
        self.clock.arrive(frames)
        self.clock.hear(frames)
        return self.clock.heard_at()

    def flow(self, seconds: float) -> None:
        """Audio on time."""
        for _ in range(round(seconds / 0.02)):
            self.block(self.moment + 0.02)

    def now(self, after: float) -> float:
        self.moment += after
        return self.clock.now()


@pytest.fixture
def line() -> Line:
    line = Line()
    line.flow(2.0)
    return line


def test_it_runs_between_the_blocks(line: Line) -> None:
    assert line.clock.now() == 2.0
    assert line.now(0.013) == 2.013
    assert line.block(line.moment + 0.007) == 2.02


def test_it_begins_where_the_first_audio_began() -> None:
    line = Line()
    assert line.now(7.0) == 0.0
    assert line.block(frames=5 * BLOCK) == 0.1


def test_it_waits_for_late_audio_and_gives_each_block_its_place(line: Line) -> None:
    assert line.now(0.019) == 2.019
    assert line.now(0.4) == pytest.approx(2.02, abs=1e-5)
    assert [line.block() for _ in range(5)] == pytest.approx([2.02, 2.04, 2.06, 2.08, 2.1])
    assert line.clock.now() == pytest.approx(2.12, abs=1e-5)


def test_it_does_not_wait_for_ever(line: Line) -> None:
    assert line.now(0.499) < 2.02
    assert line.now(0.001) == 2.5
    assert line.now(10.0) == 12.5


def test_after_a_gap_audio_is_on_time_again(line: Line) -> None:
    line.moment += 30.0
    assert line.block() == 32.0
    line.flow(1.0)
    assert line.clock.now() == 33.0
    assert line.now(0.4) < 33.02


def test_after_a_gap_what_was_missed_comes_at_once(line: Line) -> None:
    line.moment += 2.0
    assert [line.block() for _ in range(100)] == pytest.approx([4.0] * 100)
    line.flow(0.2)
    assert line.clock.now() == pytest.approx(4.2)
    assert line.clock.heard == 4.2


def test_lost_samples_are_made_up_for_within_a_second(line: Line) -> None:
    line.moment += 0.3
    line.flow(0.5)
    assert line.clock.now() == pytest.approx(2.5, abs=0.021)
    line.flow(0.6)
    assert line.clock.now() == pytest.approx(3.4, abs=0.001)


@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_drift_does_not_accumulate(drift: float) -> None:
    line = Line()
    for i in range(1, 180_001):
        at = line.block(1000.0 + i * 0.02 * (1 + drift))
        if i % 1000 == 0:
            # It is never behind the audio: a transcriber would be talking of the future.
            assert at == pytest.approx(max(i * 0.02 * (1 + drift), line.clock.heard), abs=0.001)


def test_a_first_block_that_was_late_is_forgotten_at_once() -> None:
    line = Line()
    assert [line.block(1000.3) for _ in range(15)] == pytest.approx([0.02 * i for i in range(1, 16)])
    line.flow(0.2)
    assert line.clock.now() == pytest.approx(line.clock.heard)


@pytest.mark.parametrize("seed", range(5))
def test_it_never_runs_backwards_nor_ahead_of_the_audio(seed: int) -> None:
    rng = random.Random(seed)
    line = Line()
    last = 0.0
    due = 1000.0
    for _ in range(5000):
        due += 0.02
        line.moment = max(line.moment, due + rng.uniform(0, 0.45) * (rng.random() < 0.02))
        for now in (line.clock.now(), line.block(), line.clock.now()):
            assert last <= now <= line.clock.heard + 0.02
            last = now


def test_it_says_when_to_look_again(line: Line) -> None:
    clock = line.clock
    assert clock.wake(2.3) == pytest.approx(line.moment + 0.3)  # by then more may have come
    line.moment += 0.35
    assert clock.wake(2.3) == pytest.approx(line.moment + 0.15)  # if nothing comes
    assert not clock.has_heard(2.3)
    line.block(frames=15 * BLOCK)
    assert clock.has_heard(2.3)


def test_what_comes_after_a_deadline_has_a_later_time(line: Line) -> None:
    line.clock.pass_by(2.0)
    assert line.clock.now() > 2.0
    line.clock.pass_by(2.0000004999)
    assert line.clock.now() > 2.0000005


def test_at_the_end_it_runs_on_from_where_it_is(line: Line) -> None:
    line.now(0.3)
    line.clock.end()
    assert line.clock.now() == pytest.approx(2.02, abs=1e-5)
    assert line.now(5.0) == pytest.approx(7.02, abs=1e-5)


def test_not_in_real_time_it_is_audio_time() -> None:
    line = Line(realtime=False)
    line.block()
    line.moment += 50.0
    assert line.block() == line.clock.now() == 0.04
    assert line.clock.wake(0.05) == float("inf")
    line.clock.end()
    assert line.now(1.0) == 1.04
