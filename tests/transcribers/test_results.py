"""What a framework's transcriber said, written down and read again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.transcribers.base import Heard
from hearout.transcribers.hearing import Hearing
from hearout.transcribers.results import Results, message_of
from hearout_policies.signals import (
    ProviderSpeechStarted,
    ProviderTurn,
    Signal,
    SpeechStarted,
    Transcript,
    UtteranceEnd,
    Word,
)

times = st.floats(0.0, 1e6)


@st.composite
def words(draw: st.DrawFn) -> Word:
    start, end = sorted((draw(times), draw(times)))
    return Word(draw(st.text(min_size=1)), start, end, draw(st.booleans()), draw(st.sampled_from([None, "0", "A"])))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    start, end = sorted((draw(times), draw(times)))
    final = draw(st.booleans())
    said = tuple(draw(st.lists(words(), max_size=3)))
    endpoint, finalized = (draw(st.booleans()) and final for _ in range(2))
    return Transcript(7.0, said, start, end, final, endpoint, finalized, draw(st.booleans()))


signals = (
    transcripts()
    | st.builds(ProviderSpeechStarted, st.just(7.0), times)
    | st.builds(UtteranceEnd, st.just(7.0), st.none() | times)
    | st.builds(ProviderTurn, st.just(7.0), st.sampled_from(["started", "eager_end", "resumed", "ended"]), times)
)


@given(st.lists(signals, max_size=5))
def test_what_is_written_is_heard_again_to_the_last_digit(given_: list[Signal]) -> None:
    hearing = Hearing(Results())
    hearing.begin(0.0)
    for signal in given_:
        # Also where results overlap, or go back: nothing is cut off, as nothing was when it was heard.
        assert hearing.hear(json.dumps(message_of(signal)), 7.0, sent=7.0) == [Heard(0, signal)]


def test_the_voice_is_no_message() -> None:
    assert message_of(SpeechStarted(1.0, 0.9, 1.0)) is None


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "final", "start": 1}, '"end" is missing'),
        ({"type": "final", "start": 2, "end": 1}, "ends at 1.0, before it starts at 2.0"),
        ({"type": "final", "start": 0, "end": 1, "words": ["a"]}, '"words" must hold objects, not "a"'),
        ({"type": "interim", "start": 0, "end": 1, "words": [{"text": "a", "start": 1}]}, '"end" is missing'),
        ({"type": "final", "start": 0, "end": 1, "words": [{"text": "a", "start": 1, "end": 0}]}, "a word ends at 0"),
        ({"type": 1}, '"type" must be a string'),
        ({"type": "turn_ended", "audio": 1, "channel": 1}, "channel 1 does not exist"),
    ],
)
def test_what_is_no_result_is_refused(message: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Results().decode(json.dumps(message), 1.0, 0.0)


def test_nobody_can_connect_to_it() -> None:
    with pytest.raises(UsageError, match="nothing to connect to"):
        Results().address()
