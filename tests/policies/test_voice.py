"""One stretch of speech."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hearout_policies.signals import Transcript, Word
from hearout_policies.voice import Voice, lateness
from tests.kit.turns import interim


def test_how_long_it_lasts() -> None:
    voice = Voice(2.0, 2.1, before=0.5)
    assert (voice.lasted(3.0), voice.lasted(1.0), voice.known) == (1.5, 0.5, 2.0)
    voice.stop = 2.5
    assert (voice.lasted(3.0), voice.known) == (1.0, 2.5)


def test_what_is_owed_of_it() -> None:
    voice = Voice(2.0, 2.1)
    assert voice.owed(0.0) == 0.0, "it goes on"
    voice.stop = 3.0
    assert [voice.owed(covered) for covered in (0.0, 2.25, 3.5)] == [1.0, 0.75, 0.0]


def laid_out(voice: Voice, result: Transcript, since: float = 0.0) -> list[Word]:
    return list(voice.lay_out(result, since).words)


def test_words_without_times_are_laid_out_over_it() -> None:
    result = replace(interim(3.0, "a b", 0.0, 3.0), timed=False)
    stopped = Voice(1.0, 1.1, stop=2.0)
    assert laid_out(stopped, result, 1.0) == [Word("a", 1.0, 1.5), Word("b", 1.5, 2.0)]
    assert laid_out(stopped, result) == [Word("a", 0.0, 1.0), Word("b", 1.0, 2.0)]
    assert laid_out(Voice(1.0, 1.1), result, 1.0) == [Word("a", 1.0, 2.0), Word("b", 2.0, 3.0)]
    assert laid_out(Voice(1.0, 1.1, stop=4.0), result, 1.0) == [Word("a", 1.0, 2.0), Word("b", 2.0, 3.0)]


def test_others_stay_where_they_are() -> None:
    voice = Voice(1.0, 1.1, stop=2.0)
    timed = interim(3.0, "a b", 0.0, 3.0)
    assert voice.lay_out(timed, 1.0) is timed
    behind = replace(interim(3.0, "a", 2.0, 3.0), timed=False)
    assert voice.lay_out(behind, 2.0) is behind, "there was no speech in its span"
    empty = replace(interim(3.0, "", 0.0, 3.0), timed=False)
    assert voice.lay_out(empty, 1.0) is empty


@pytest.mark.parametrize(
    ("heard", "suspected", "late"),
    [
        (2.1, -math.inf, 0.0),
        (2.179, -math.inf, 0.0),
        (2.181, -math.inf, 0.181),
        (2.2, 1.95, 0.0),  # the suspicion was of this sound
        (2.2, 1.85, 0.2),  # of one before
    ],
)
def test_how_late_a_voice_at_two_seconds_was_told(heard: float, suspected: float, late: float) -> None:
    assert lateness(2.0, heard, suspected) == pytest.approx(late)
