"""When a connection is left that nobody hung up."""

from __future__ import annotations

import math

import pytest

from hearout.link.settings import LinkSettings
from hearout.link.watchdog import Watchdog
from hearout_policies.signals import ProviderTurn, Transcript, UtteranceEnd, Word

SETTINGS = LinkSettings(answer_timeout=20.0, renew=300.0)


def fed(watchdog: Watchdog, start: int, end: int) -> None:
    for second in range(start, end):
        watchdog.sent(float(second), float(second + 1))


def test_audio_wants_results() -> None:
    watchdog = Watchdog(SETTINGS, None, 0.0, 0.0)
    fed(watchdog, 0, 30)
    assert watchdog.hangs(19.9, 20.0) is None
    assert watchdog.hangs(20.1, 20.0) == "the transcriber has not answered for 20 s"
    assert watchdog.good_until(20.1) == 0.0


def test_results_that_reach_no_further_are_none() -> None:
    watchdog = Watchdog(SETTINGS, None, 0.0, 0.0)
    for second in range(60):
        watchdog.sent(float(second), second + 1.0)
        end = min(second + 0.5, 10.0)
        watchdog.heard(Transcript(float(second), (), 0.0, end, is_final=False), second + 1.0)
        assert (watchdog.hangs(float(second), second + 1.0) is not None) == (second >= 31)


@pytest.mark.parametrize("reach", [1e9, math.inf])
def test_a_result_reaches_no_further_than_the_audio(reach: float) -> None:
    watchdog = Watchdog(SETTINGS, None, 0.0, 0.0)
    watchdog.sent(0.0, 1.0)
    watchdog.heard(ProviderTurn(0.0, "started", reach), 1.0)
    fed(watchdog, 1, 4)
    watchdog.heard(UtteranceEnd(4.0, 2.0), 4.0)
    assert watchdog.hangs(22.0, 9.0) is None
    assert watchdog.good_until(22.0) == 22.0


def test_little_audio_needs_no_answer() -> None:
    watchdog = Watchdog(SETTINGS, None, 0.0, 0.0)
    fed(watchdog, 0, 4)
    assert watchdog.hangs(100.0, 4.0) is None


def test_one_that_tells_no_progress_has_to_answer_only() -> None:
    watchdog = Watchdog(SETTINGS, None, 0.0, 0.0, tells_progress=False)
    fed(watchdog, 0, 60)
    assert watchdog.hangs(60.0, 60.0) is None
    assert watchdog.good_until(60.0) == 60.0
    watchdog.asked(60.0, 60.0)
    fed(watchdog, 60, 79)
    watchdog.asked(79.0, 79.0)
    assert watchdog.hangs(79.9, 79.0) is None
    assert watchdog.hangs(80.1, 80.0) == "the transcriber has not answered for 20 s"
    watchdog.heard(Transcript(80.2, (), 0.0, 0.0, is_final=True, finalized=True), 80.0)
    assert watchdog.hangs(80.3, 80.0) is None


def test_one_that_tells_its_progress_need_not_answer() -> None:
    watchdog = Watchdog(SETTINGS, None, 0.0, 0.0)
    watchdog.asked(0.0, 0.0)
    assert watchdog.hangs(60.0, 60.0) is None


def said(end: float) -> Transcript:
    return Transcript(end, (Word("yes", end - 0.3, end),), 0.0, end, is_final=True)


def test_a_connection_is_left_in_a_pause_before_its_end() -> None:
    watchdog = Watchdog(SETTINGS, 18000.0, 0.0, 0.0)
    watchdog.heard(said(17690.0), 17699.0)
    assert not watchdog.outlived(17699.0, 17699.0, finished=True)
    watchdog.heard(said(17709.5), 17710.0)
    assert not watchdog.outlived(17710.0, 17710.0, finished=True)
    assert not watchdog.outlived(17711.0, 17711.0, finished=False)
    assert watchdog.outlived(17711.0, 17711.0, finished=True)


def test_or_without_a_pause_shortly_before() -> None:
    watchdog = Watchdog(SETTINGS, 18000.0, 0.0, 0.0)
    assert not watchdog.outlived(17979.0, 17979.0, finished=False)
    assert watchdog.outlived(17980.0, 17980.0, finished=False)


def test_audio_that_is_fed_faster_than_real_time_counts() -> None:
    watchdog = Watchdog(SETTINGS, 18000.0, 1000.0, 50.0)
    assert not watchdog.outlived(1010.0, 18000.0, finished=False)
    assert watchdog.outlived(1010.0, 18030.0, finished=False)


def test_where_no_limit_is_known_there_is_none() -> None:
    assert not Watchdog(SETTINGS, None, 0.0, 0.0).outlived(1e9, 1e9, finished=True)
