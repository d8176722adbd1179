"""A message that cannot be read may have been the only one to tell of some words: what comes next shows the gap."""

from __future__ import annotations

import json
from typing import Any

from hearout.transcribers.base import Dialect, Heard
from hearout.transcribers.coverage import Coverage
from hearout.transcribers.flux import Flux
from hearout.transcribers.soniox import Soniox
from hearout_policies.signals import Transcript

BROKEN = '{"tokens": [{"te'


def tokens(*words: tuple[str, float, float], final: float) -> str:
    items = [
        {"text": " " + text, "start_ms": round(start * 1000), "end_ms": round(end * 1000), "is_final": True}
        for text, start, end in words
    ]
    progress = {"final_audio_proc_ms": round(final * 1000), "total_audio_proc_ms": round(final * 1000)}
    return json.dumps({"tokens": items} | progress)


def info(event: str, text: str, turn: int, start: float, end: float) -> str:
    data = {"type": "TurnInfo", "event": event, "turn_index": turn, "transcript": text, "words": []}
    return json.dumps(data | {"audio_window_start": start, "audio_window_end": end})


def gaps(dialect: Dialect, *messages: str) -> list[Any]:
    """What the link sees missing, result by result; final ones only."""
    coverage, out = Coverage(1), []
    dialect.opening()
    for message in messages:
        try:
            news = dialect.decode(message, 20.0, 0.0)
        except ValueError:
            continue
        for item in news:
            assert isinstance(item, Heard)
            if isinstance(item.signal, Transcript) and item.signal.is_final:
                out.append(coverage.gap(0, item.signal))
                coverage.admit(0, item.signal, 100.0)
    return out


def test_soniox_sends_final_tokens_once() -> None:
    first, second = tokens(("one", 0.5, 0.9), final=1.0), tokens(("three", 2.0, 2.4), final=2.5)
    assert gaps(Soniox("key"), first, second) == [None, None]
    assert gaps(Soniox("key"), first, BROKEN, second) == [None, (1.0, 2.0)]
    assert gaps(Soniox("key"), first, BROKEN, tokens(final=1.6)) == [None, (1.0, 1.6)]
    assert gaps(Soniox("key"), first, BROKEN, tokens(("two", 1.1, 1.5), final=1.6)) == [None, (1.0, 1.3)]
    assert gaps(Soniox("key"), first, BROKEN, second, tokens(final=3.5)) == [None, (1.0, 2.0), None]


def test_flux_ends_a_turn_once() -> None:
    start, end = info("StartOfTurn", "one", 0, 0.0, 1.0), info("EndOfTurn", "one two", 0, 0.0, 2.0)
    silence, speech = info("Update", "", 1, 2.0, 4.0), info("EndOfTurn", "three", 1, 2.0, 3.0)
    assert gaps(Flux("key"), start, end, silence) == [None, None]
    assert gaps(Flux("key"), start, silence) == [(0.0, 2.0)]
    assert gaps(Flux("key"), start, speech) == [(0.0, 2.0)]


def test_flux_needs_no_silence_for_a_turn_whose_end_was_missed() -> None:
    flux = Flux("key")
    flux.opening()
    flux.decode(info("StartOfTurn", "one", 0, 0.0, 1.0), 1.0, 0.0)
    assert flux.silence_after == 0.5
    flux.decode(info("Update", "", 1, 2.0, 2.5), 2.5, 0.0)
    assert flux.silence_after is None


def test_a_word_without_times_is_not_laid_into_the_silence_before_its_turn() -> None:
    flux = Flux("key")
    flux.opening()
    flux.decode(info("EndOfTurn", "one", 0, 0.0, 2.0), 2.0, 0.0)
    flux.decode(info("Update", "", 1, 2.0, 4.0), 4.0, 0.0)
    (heard, _) = flux.decode(info("StartOfTurn", "two", 1, 2.0, 4.5), 4.5, 10.0)
    assert isinstance(heard, Heard)
    assert isinstance(heard.signal, Transcript)
    assert (heard.signal.start, heard.signal.words[0].start, heard.signal.words[0].end) == (12.0, 14.0, 14.5)
