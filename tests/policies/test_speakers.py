"""One speaker's words only: what others say opens no turn, holds none, and is in none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout_policies.events import Output, TurnCompleted, TurnStarted, as_dict
from hearout_policies.machine import TurnMachine
from hearout_policies.policy import Policy, preset
from hearout_policies.signals import (
    LinkLost,
    LinkRestored,
    PolicyChanged,
    Signal,
    SpeechStarted,
    SpeechStopped,
    Tick,
    Transcript,
    Word,
)

FIRST = preset("balanced").replace({"only_speaker": "first"})


def said(at: float, *words: tuple[str, str | None, float], start: float = 0.0, final: bool = True) -> Transcript:
    """Words with their speakers and starts; each takes 0.3 s."""
    listed = tuple(Word(text, begin, begin + 0.3, speaker=who) for text, who, begin in words)
    return Transcript(at, listed, start, at, is_final=final, finalized=final)


def run(policy: Policy, *signals: Signal, until: float = 30.0) -> list[Output]:
    machine = TurnMachine(policy)
    out: list[Output] = []
    for signal in signals:
        out += machine.handle(signal)
    while machine.deadline is not None and machine.deadline < until:
        out += machine.handle(Tick(machine.deadline))
    return out


def texts(outputs: list[Output]) -> list[str]:
    return [one.text for one in outputs if isinstance(one, TurnCompleted)]


def test_the_first_speaker_is_listened_to() -> None:
    heard = run(
        FIRST,
        said(1.0, ("call", "0", 0.3), ("me", "0", 0.6)),
        said(1.4, ("who", "1", 1.0), ("rings", "1", 1.1), start=1.0),
        said(1.9, ("back.", "0", 1.4), ("no", "1", 1.6), start=1.4),
    )
    assert texts(heard) == ["call me back."]


def test_one_is_named() -> None:
    policy = preset("balanced").replace({"only_speaker": "1"})
    heard = run(policy, said(1.0, ("hello", "0", 0.3)), said(2.0, ("yes.", "1", 1.3), start=1.0))
    assert texts(heard) == ["yes."]


def test_a_word_without_a_label_counts() -> None:
    """A transcriber that is not sure must lose no word."""
    heard = run(FIRST, said(1.0, ("call", "0", 0.3), ("me", None, 0.6)), said(2.0, ("back.", None, 1.2), start=1.0))
    assert texts(heard) == ["call me back."]


def test_a_voice_alone_opens_no_turn_and_holds_none() -> None:
    quiet = run(FIRST, SpeechStarted(1.0, 0.9, 1.0), SpeechStopped(2.0, 1.9, 2.0))
    assert quiet == []
    words = said(1.0, ("yes.", "0", 0.4))
    (alone,) = [one.at for one in run(FIRST, words) if isinstance(one, TurnCompleted)]
    with_voice = run(FIRST, words, SpeechStarted(1.1, 1.0, 1.1))
    assert [one.at for one in with_voice if isinstance(one, TurnCompleted)] == [alone]


def test_an_interim_result_does_not_choose_the_first() -> None:
    """Its labels may change."""
    heard = run(
        FIRST,
        said(0.8, ("call", "1", 0.3), final=False),
        said(1.0, ("call", "0", 0.3), ("me.", "0", 0.6)),
        said(2.0, ("what", "1", 1.2), start=1.0),
    )
    assert texts(heard) == ["call me."]


def test_labels_begin_anew_with_a_connection() -> None:
    heard = run(
        FIRST,
        said(1.0, ("yes.", "0", 0.3)),
        LinkLost(5.0),
        LinkRestored(6.0, 5.0),
        said(8.0, ("no.", "1", 7.0), start=5.0),
    )
    assert texts(heard) == ["yes.", "no."]


def test_who_was_first_is_known_whatever_the_policy_was() -> None:
    heard = run(
        preset("balanced"),
        said(1.0, ("yes.", "0", 0.3)),
        PolicyChanged(5.0, FIRST),
        said(6.0, ("no.", "1", 5.2), start=5.0),
        said(7.0, ("well.", "0", 6.2), start=6.0),
    )
    assert texts(heard) == ["yes.", "well."]


def test_labels_begin_anew_also_where_the_policy_did_not_ask_for_them() -> None:
    heard = run(
        FIRST,
        said(1.0, ("yes.", "0", 0.3)),
        PolicyChanged(4.0, preset("balanced")),
        LinkLost(5.0),
        LinkRestored(6.0, 5.0),
        PolicyChanged(7.0, FIRST),
        said(8.0, ("no.", "1", 7.2), start=7.0),
    )
    assert texts(heard) == ["yes.", "no."]


def test_without_it_all_words_count_and_events_tell_who_spoke() -> None:
    (turn,) = [
        one
        for one in run(preset("balanced"), said(1.0, ("yes", "0", 0.3), ("no.", None, 0.6)))
        if isinstance(one, TurnCompleted)
    ]
    assert turn.text == "yes no."
    assert as_dict(turn)["words"] == [
        {"text": "yes", "start": 0.3, "end": 0.6, "speaker": "0"},
        {"text": "no.", "start": 0.6, "end": 0.9},
    ]


@pytest.mark.parametrize("value", [3, "", ["0"], True, " first", "0 "])
def test_labels_that_are_none(value: Any) -> None:
    with pytest.raises(ValueError, match='only_speaker takes a label, or "first"'):
        preset("balanced").replace({"only_speaker": value})


@pytest.mark.parametrize("value", ["FIRST", "First", "none", "None"])
def test_a_near_miss_is_no_label(value: str) -> None:
    with pytest.raises(ValueError, match='only_speaker takes "first" in small letters'):
        preset("balanced").replace({"only_speaker": value})


def test_a_policy_keeps_it() -> None:
    assert Policy.from_dict(FIRST.to_dict()) == FIRST
    assert Policy.from_dict(preset("balanced").to_dict()).only_speaker is None


LABELS = st.sampled_from(["0", "1", None])


@given(st.lists(st.tuples(LABELS, LABELS, st.booleans()), min_size=1, max_size=12))
def test_no_word_of_the_speaker_is_lost_however_labels_change(
    labels: list[tuple[str | None, str | None, bool]],
) -> None:
    """Each word is shown with one label, and final with another. One that was shown as the speaker's may stay."""
    signals: list[Signal] = []
    for number, (shown, final, interim) in enumerate(labels):
        at = 1.0 + number
        if interim:
            signals.append(said(at - 0.2, (f"w{number}", shown, at - 0.6), start=at - 1.0, final=False))
        signals.append(said(at, (f"w{number}", final, at - 0.6), start=at - 1.0))
    outputs = run(preset("balanced").replace({"only_speaker": "0"}), *signals, until=60.0)
    mine = {f"w{number}" for number, (_, final, _) in enumerate(labels) if final in ("0", None)}
    maybe = {f"w{number}" for number, (shown, _, interim) in enumerate(labels) if interim and shown in ("0", None)}
    heard = " ".join(texts(outputs)).split()
    assert heard == sorted(heard, key=lambda word: int(word[1:])), "in order, none twice"
    assert mine <= set(heard) <= mine | maybe
    assert len([one for one in outputs if isinstance(one, TurnStarted)]) >= len(texts(outputs))
