"""Silence that only the provider heard: its times, moved back to where they belong."""

from __future__ import annotations

import pytest

from hearout.transcribers.clock import ProviderClock
from hearout_policies.signals import (
    ProviderSpeechStarted,
    ProviderTurn,
    Signal,
    Tick,
    Transcript,
    UtteranceEnd,
    Word,
)


@pytest.fixture
def clock() -> ProviderClock:
    """2 s of silence where the audio stood at 3 s, and 1 s where it stood at 5 s."""
    clock = ProviderClock()
    for _ in range(20):
        clock.insert(3.0, 0.1)
    clock.insert(5.0, 1.0)
    return clock


@pytest.mark.parametrize(
    ("provider", "session"),
    [(0.0, 0.0), (2.9, 2.9), (3.0, 3.0), (4.0, 3.0), (5.0, 3.0), (5.5, 3.5), (7.0, 5.0), (7.6, 5.0), (8.5, 5.5)],
)
def test_times(clock: ProviderClock, provider: float, session: float) -> None:
    assert clock.audio(provider) == pytest.approx(session)


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        (
            Transcript(9.0, (Word("a", 2.8, 5.1), Word("b", 5.2, 5.4, spaced=False)), 2.0, 8.5, True, True),
            Transcript(9.0, (Word("a", 2.8, 3.1), Word("b", 3.2, 3.4, spaced=False)), 2.0, 5.5, True, True),
        ),
        (UtteranceEnd(9.0, 5.5), UtteranceEnd(9.0, 3.5)),
        (UtteranceEnd(9.0, None), UtteranceEnd(9.0, None)),
        (ProviderSpeechStarted(9.0, 4.0), ProviderSpeechStarted(9.0, 3.0)),
        (ProviderTurn(9.0, "ended", 8.5), ProviderTurn(9.0, "ended", 5.5)),
        (Tick(9.0), Tick(9.0)),
    ],
)
def test_every_signal(clock: ProviderClock, heard: Signal, meant: Signal) -> None:
    assert rounded(clock.place(heard)) == rounded(meant)


def rounded(signal: Signal) -> str:
    import re

    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.6f}", repr(signal))


def test_without_silence_nothing_changes() -> None:
    signal = ProviderTurn(9.0, "ended", 8.5)
    assert ProviderClock().place(signal) is signal


def test_a_new_connection_has_heard_none(clock: ProviderClock) -> None:
    clock.restart()
    assert clock.audio(8.5) == 8.5
    clock.insert(9.0, 0.5)
    assert clock.audio(10.0) == 9.5


def test_after_many_mutes_the_latest_still_count() -> None:
    clock = ProviderClock()
    for number in range(1, 1001):
        clock.insert(float(number), 0.25)
    assert clock.audio(1000.0 + 999 * 0.25 + 0.1) == pytest.approx(1000.0)
    assert clock.audio(1001.0 + 1000 * 0.25) == pytest.approx(1001.0)
    assert len(clock._silences) < 100
