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


def ends(outputs: list[Output]) -> list[float]:
    return [one.at for one in outputs if isinstance(one, TurnCompleted)]


def test_as_long_as_nobody_else_was_heard_the_voice_is_theirs() -> None:
    """So turns end as soon as without the policy."""
    signals = (SpeechStarted(0.5, 0.4, 0.5), SpeechStopped(1.2, 1.0, 1.2), said(1.5, ("yes.", "0", 0.6)))
    assert ends(run(FIRST, *signals)) == ends(run(preset("balanced"), *signals)) != []


def test_when_another_was_heard_a_voice_opens_no_turn_and_holds_none() -> None:
    other = said(3.0, ("who", "1", 2.5), start=2.0)
    before = said(1.0, ("yes.", "0", 0.4)), other
    quiet = run(FIRST, *before, SpeechStarted(11.0, 10.9, 11.0), SpeechStopped(12.0, 11.9, 12.0))
    assert [one.at for one in quiet if isinstance(one, TurnStarted)] == [1.0]
    words = said(11.0, ("well.", "0", 10.4), start=3.0)
    alone, with_voice = run(FIRST, *before, words), run(FIRST, *before, words, SpeechStarted(11.1, 11.0, 11.1))
    assert ends(with_voice) == ends(alone) != []


def test_the_voice_that_proves_to_be_another_s_holds_no_longer() -> None:
    """A television that never pauses: the first turn waits until its words are known, and ends."""
    heard = run(
        FIRST,
        SpeechStarted(0.5, 0.4, 0.5),
        said(1.5, ("yes", "0", 0.4), ("please.", "0", 0.8)),
        said(3.0, ("and", "1", 1.6), ("now", "1", 2.0), start=1.5),
    )
    assert texts(heard) == ["yes please."]
    assert ends(heard)[0] < 4.0


def test_a_turn_that_another_s_voice_opened_is_given_up() -> None:
    heard = run(
        FIRST,
        said(1.0, ("yes.", "0", 0.4)),
        SpeechStarted(9.1, 9.0, 9.1),
        said(11.0, ("and", "1", 9.2), start=9.0),
        said(12.0, ("now", "1", 11.2), start=11.0),
    )
    assert texts(heard) == ["yes."]
    assert [type(one).__name__ for one in heard][-1] == "TurnAbandoned"


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
