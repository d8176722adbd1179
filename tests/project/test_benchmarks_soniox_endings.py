"""The simulated Soniox says every word once, and its ``<end>`` comes when it should."""

from __future__ import annotations

import json

import pytest

from benchmarks.endpointing.conversations import Conversation, sample
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.soniox_endings import MODES, Mode, SimulatedSoniox, evaluate
from hearout import Soniox
from hearout.transcribers.base import Heard
from hearout_policies.signals import Transcript


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return sample(SCENARIOS["agent"], 7, 0, turns=6)


def listen(conversation: Conversation, *, endpoints: bool, finalize_every: int = 0) -> list[Transcript]:
    """All that is said in a conversation, ``at`` the audio time that had been heard."""
    transcriber, dialect, results = SimulatedSoniox(conversation, endpoints=endpoints), Soniox("k"), []
    for step in range(1, round(conversation.length * 10) + 1):
        said = transcriber.hear(step / 10)
        if finalize_every and step % finalize_every == 0:
            said = said + transcriber.finalize(step / 10)
        for takes, message in said:
            assert takes > 0
            news = dialect.decode(json.dumps(message), step / 10, 0.0)
            results += [item.signal for item in news if isinstance(item, Heard) and isinstance(item.signal, Transcript)]
    return results


@pytest.mark.parametrize("finalize_every", [0, 3, 17])
@pytest.mark.parametrize("endpoints", [False, True])
def test_every_word_becomes_final_once(conversation: Conversation, endpoints: bool, finalize_every: int) -> None:
    results = listen(conversation, endpoints=endpoints, finalize_every=finalize_every)
    finals = [word.text for result in results if result.is_final for word in result.words]
    assert finals == [word.text for word in conversation.words if word.text]
    assert any(result.endpoint for result in results) == endpoints
    assert any(result.finalized for result in results) == bool(finalize_every)


def test_an_end_comes_in_a_silence_after_words_and_within_its_cap(conversation: Conversation) -> None:
    results = listen(conversation, endpoints=True)
    endpoints = [result.at for result in results if result.endpoint]
    for turn in conversation.turns:
        assert sum(turn.end < at <= turn.end + 2.1 for at in endpoints) == 1
    for at in endpoints:
        before = max(end for _, end in conversation.voiced if end <= at)
        assert 0.4 <= at - before <= 2.1


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: f"{mode.name}, {mode.policy.name}")
def test_each_mode_ends_the_turns(mode: Mode) -> None:
    figures = evaluate(mode, "agent", turns=20, seed=1)
    assert (figures.turns, figures.ghosts) == (20, 0)
    assert figures.missed <= 0.05
    assert 0.2 < figures.p50 < 2.0
