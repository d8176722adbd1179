"""The latency benchmark's own parts: its people, its transcriber, its score, and that it measures the engine."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.endpointing import __main__ as endpointing
from benchmarks.endpointing import guard
from benchmarks.endpointing.candidates import alone, timer
from benchmarks.endpointing.conversations import (
    Conversation,
    SpokenTurn,
    SpokenWord,
    listen,
    sample,
    voiced_in,
    with_perfect_voice,
)
from benchmarks.endpointing.curves import Row, at_cutoffs, at_latency, front, p50, sound
from benchmarks.endpointing.evaluation import Candidate, evaluate
from benchmarks.endpointing.scenarios import ENDINGS, SCENARIOS, LogNormal, Network, Transcriber, VoiceErrors
from benchmarks.endpointing.scoring import Figures, Tally, interval, score
from benchmarks.endpointing.simulated import Chance, SimulatedTranscriber, Way, converse, trace
from benchmarks.endpointing.through_engine import compare
from hearout.traces.reader import parse_trace
from hearout.traces.replayer import replay
from hearout_policies import Policy, TurnCompleted
from hearout_policies.events import Output, Timings, TurnAmended
from hearout_policies.language import language
from hearout_policies.policy import preset
from hearout_policies.rules import FinalizeOnSilence
from hearout_policies.signals import Word
from hearout_policies.text import Ending, classify

AGENT = SCENARIOS["agent"]
NO_TIME = LogNormal(-50.0, 0.0)
IDEAL = replace(
    with_perfect_voice(AGENT),
    verbatim=True,  # a hold behind nothing but an "um" that is not written has no turn to cut off
    network=Network(0.0, NO_TIME),
    transcriber=Transcriber(
        interim_every=0.1, interim=NO_TIME, finalise=NO_TIME, endpointing_ms=None, utterance_end_ms=None
    ),
)


def conversation_of(*turns: SpokenTurn, **changes: Any) -> Conversation:
    """These turns, heard by a perfect VAD, with nothing else going on."""
    voiced = tuple(span for turn in turns for span in voiced_in(turn))
    length = turns[-1].end + 10.0
    edges = listen(voiced, VoiceErrors.none(), length, Random("any"))
    return Conversation(replace(IDEAL, **changes), "by hand", turns, voiced, (), edges, length)


def spoken(text: str, start: float, holds: tuple[tuple[float, float], ...] = ()) -> SpokenTurn:
    """Words of 0.3 s; a hold begins where a word ends."""
    words = []
    after = dict(holds)
    for word in text.split():
        words.append(SpokenWord(word, start, round(start + 0.3, 3)))
        start = round(start + 0.3, 3)
        start = after.get(start, start)
    return SpokenTurn(tuple(words), holds, ())


def completed(at: float, *words: SpokenWord) -> TurnCompleted:
    said = tuple(Word(word.text, word.start, word.end) for word in words)
    return TurnCompleted(1, 0, at, 0.0, at, "", said, "test", True, Timings(None, None, None, None, at))


# People


@pytest.mark.parametrize("after", [0.3, 0.6, 1.0])
def test_a_timer_cuts_off_just_the_holds_that_are_longer(after: float) -> None:
    """The yardstick: with nothing between a silence and the timer, its cutoffs are the survival function of pauses."""
    one = sample(IDEAL, 5, 0)
    tally = score(one, converse(one, timer(after)))
    pauses = [end - start for turn in one.turns for start, end in turn.holds]
    assert tally.holds == len(pauses) > 30
    assert tally.cut_holds == sum(pause > after + 1e-6 for pause in pauses) > 1
    assert tally.latencies == pytest.approx([after] * 20, abs=0.002)


def test_pauses_are_as_published() -> None:
    pauses = [e - s for number in range(100) for turn in sample(AGENT, 5, number).turns for s, e in turn.holds]
    for after, published in ((0.3, 0.556), (0.6, 0.217), (1.0, 0.10), (1.6, 0.05)):
        low, high = interval(sum(pause > after for pause in pauses), len(pauses))
        assert low - 0.005 < published < high + 0.005


@pytest.mark.parametrize("auc", [0.5, 0.84])
def test_an_ear_errs_as_often_as_it_is_said_to(auc: float) -> None:
    ends: list[float] = []
    holds: list[float] = []
    for number in range(20):
        one = sample(replace(AGENT, ear=auc), 1, number)
        stops = [edge for edge in one.edges if edge.kind == "stop"]
        assert len(one.answers) == len(stops)
        for stop, answer in zip(stops, one.answers, strict=True):
            assert stop.at == answer.audio < answer.at
            inside = any(turn.start <= stop.audio < turn.holds[-1][1] for turn in one.turns if turn.holds)
            (holds if inside else ends).append(answer.odds)
    right = [(end > hold) + (end == hold) / 2 for end in ends for hold in holds]
    assert sum(right) / len(right) == pytest.approx(auc, abs=0.03)


def test_an_ear_that_hears_cuts_off_less_and_one_that_is_deaf_changes_nothing() -> None:
    none, deaf, good = (evaluate(Policy(), replace(AGENT, ear=auc), turns=200) for auc in (None, 0.5, 0.93))
    assert deaf == none
    assert good.mean < none.mean
    assert good.per_hold < 0.7 * none.per_hold


def test_texts_end_as_they_were_meant_to() -> None:
    meant: Counter[Ending] = Counter()
    for number in range(15):
        for turn in sample(replace(AGENT, verbatim=True), 1, number).turns:
            stops = [start for start, _ in turn.holds] + [turn.end]
            for ending, stop in zip(turn.endings, stops, strict=True):
                text = " ".join(word.text for word in turn.words if word.end <= stop)
                assert classify(text, language("en")) is ending, text
            meant.update(turn.endings[:-1])
    for ending, share in ENDINGS.items():
        assert meant[ending] / meant.total() == pytest.approx(share.holds, abs=0.04), ending


def test_fillers_are_not_written_unless_asked_for() -> None:
    def said(verbatim: bool) -> set[str]:
        turns = [t for n in range(8) for t in sample(replace(AGENT, verbatim=verbatim), 1, n).turns]
        return {word.text for turn in turns for word in turn.words}

    assert {"um", "uh", "fli-"} <= said(True)
    assert not {"um", "uh", "fli-"} & said(False)
    assert "fli" in said(False)


def test_holds_a_turn_are_as_published() -> None:
    for name, published in (("agent", 1.76), ("hesitant", 2.0)):
        turns = [turn for number in range(60) for turn in sample(SCENARIOS[name], 2, number).turns]
        assert sum(len(turn.holds) for turn in turns) / len(turns) == pytest.approx(published, rel=0.1)


def test_a_vad_with_errors_hears_late_and_never_two_starts_in_a_row() -> None:
    one = sample(SCENARIOS["noisy line"], 1, 0)
    found = [edge.kind for edge in one.edges if edge.kind in ("start", "stop")]
    assert found == ["start", "stop"] * (len(found) // 2)
    assert [edge.at for edge in one.edges] == sorted(edge.at for edge in one.edges)
    assert all(edge.at >= edge.audio for edge in one.edges)


def test_a_simulated_vad_suspects_speech_before_each_start_and_now_and_then_in_silence() -> None:
    edges = sample(SCENARIOS["agent"], 1, 0).edges
    starts = {edge.audio for edge in edges if edge.kind == "start"}
    assert starts <= {edge.audio for edge in edges if edge.kind == "maybe"}
    speaking = False
    for edge in edges:
        assert not (speaking and edge.kind == "maybe")
        speaking = edge.kind == "start" if edge.kind != "maybe" else speaking
    assert any(edge.kind == "maybe" and edge.audio not in starts for edge in edges)


# The transcriber


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_word_is_final_once(name: str) -> None:
    one = sample(SCENARIOS[name], 3, 0)
    for policy in (preset("fast"), alone(FinalizeOnSilence(finalize_after=0.0))):
        finals = [
            word["start"]
            for record in trace(one, policy)[1:]
            if record.get("stt", {}).get("is_final")
            for word in record["stt"]["channel"]["alternatives"][0]["words"]
        ]
        assert finals == [word.start for word in one.words]


def test_a_finalize_without_new_audio_is_not_answered() -> None:
    transcriber = SimulatedTranscriber(conversation_of(spoken("yes please", 1.0)))
    assert [message["from_finalize"] for _, message in transcriber.finalize(1.4)] == [True]
    assert transcriber.finalize(1.4) == []
    assert [message["from_finalize"] for _, message in transcriber.finalize(1.9)] == [True]


def test_smart_format_withholds_digits_until_asked() -> None:
    number = spoken("My number is five five one", 1.0)
    options = replace(IDEAL.transcriber, endpointing_ms=300, smart_format=True, endpoint_missed=0.0, segment=(9.0, 9.0))

    def first_final(options: Transcriber) -> float | None:
        transcriber = SimulatedTranscriber(conversation_of(number), options)
        for step in range(1, 120):
            if any(message.get("is_final") for _, message in transcriber.hear(step / 10)):
                return step / 10
        return None

    ends = number.end
    assert first_final(replace(options, smart_format=False)) == pytest.approx(ends + 0.35, abs=0.15)
    assert first_final(options) == pytest.approx(ends + 3.05, abs=0.15)
    transcriber = SimulatedTranscriber(conversation_of(number), options)
    assert transcriber.hear(3.5)[-1][1]["is_final"] is False
    assert transcriber.finalize(3.5)[0][1]["channel"]["alternatives"][0]["transcript"] == "My number is five five one"


def test_utterance_end_needs_a_gap_behind_final_words() -> None:
    transcriber = SimulatedTranscriber(conversation_of(spoken("yes please", 1.0)), Transcriber(endpoint_missed=0.0))
    told = []
    for step in range(1, 60):
        told += [(step / 10, m["last_word_end"]) for _, m in transcriber.hear(step / 10) if m["type"] == "UtteranceEnd"]
    assert len(told) == 1
    assert told[0][0] >= 1.6 + 1.0
    assert told[0][1] == 1.6


def test_the_network_keeps_the_order() -> None:
    one = Way("up", SCENARIOS["slow network"].network, Chance("x", 60.0), [(10.0, 10.5)])
    arrivals = [one.pass_through(step / 50) for step in range(3000)]
    assert arrivals == sorted(arrivals)
    assert all(arrival >= step / 50 + 0.15 for step, arrival in enumerate(arrivals))
    assert arrivals[501] >= 10.5


# The score


def test_each_completion_counts_where_it_belongs() -> None:
    first = spoken("I wanted tickets and two rooms", 1.0, ((1.9, 2.5),))
    second = spoken("Yes please", 10.0)
    a, b, c = first.words[:3], first.words[3:], second.words
    assert first.end == pytest.approx(3.4)
    outputs: list[Output] = [
        completed(2.2, *a),  # in the hold
        completed(3.0, *b[:1]),  # in speech
        completed(3.9, *b[1:2]),  # 0.5 s after the end, without the last word
        completed(4.5, *b[2:]),  # a second one
        completed(8.0, SpokenWord("noise", 7.0, 7.2)),
        TurnAmended(1, 0, 8.5, "", (), True),
        completed(14.0, *c),  # 3.4 s late
    ]
    tally = score(conversation_of(first, second), outputs)
    assert tally.latencies == pytest.approx([0.5, 3.4])
    assert tally.cut == [True, False]
    assert (tally.holds, tally.cut_holds, tally.in_speech) == (1, 1, 1)
    assert (tally.duplicates, tally.ghosts, tally.late, tally.amended) == (2, 1, 1, 1)
    assert (tally.missing, tally.words) == (1, 8)


def test_a_turn_without_a_completion_is_missed() -> None:
    turns = (spoken("one more", 1.0), spoken("Yes please", 5.0))
    tally = score(conversation_of(*turns), [completed(6.0, *turns[0].words, *turns[1].words)])
    assert math.isnan(tally.latencies[0])
    figures = Figures.of(tally)
    assert figures.missed == 0.5
    assert figures.p50 == pytest.approx(0.4)


def test_a_turn_of_which_nothing_is_written_does_not_count() -> None:
    silent = SpokenTurn((SpokenWord("", 1.0, 1.4),), (), ())
    second = spoken("Yes please", 5.0)
    tally = score(conversation_of(silent, second), [completed(6.0, *second.words)])
    assert tally.latencies == pytest.approx([0.4])


def test_a_quarter_of_a_second_early_is_no_cutoff() -> None:
    turn = spoken("Yes please", 1.0)
    tally = score(conversation_of(turn), [completed(1.4, *turn.words)])
    assert tally.cut == [False]
    assert tally.latencies == pytest.approx([-0.2])


def test_wilson() -> None:
    assert interval(5, 100) == pytest.approx((0.0215, 0.1118), abs=1e-4)
    assert interval(0, 0) == (0.0, 1.0)


def row(latency: float, cutoffs: float, missing: float = 0.0) -> Row:
    figures = Figures.of(Tally([latency], [False], holds=1))
    return Row(Candidate("f", "l", Policy()), replace(figures, per_hold=cutoffs, missing=missing))


def test_front_and_points_between() -> None:
    rows = [row(0.5, 0.2), row(0.7, 0.3), row(1.0, 0.1), row(2.0, 0.0), row(0.1, 0.1, missing=0.5)]
    assert [one.figures.p50 for one in front(sound(rows), p50)] == [0.5, 1.0, 2.0]
    assert at_cutoffs(sound(rows), 0.05, p50) == pytest.approx(1.5)
    assert at_cutoffs(sound(rows), 0.5, p50) == 0.5
    assert at_cutoffs([row(1.0, 0.3)], 0.1, p50) is None
    assert at_latency(sound(rows), 0.75, p50) == pytest.approx(0.15)
    assert at_latency(sound(rows), 0.3, p50) is None


# The whole


def test_the_same_conversation_through_the_engine() -> None:
    """Two of them, over the network that differs most from none."""
    agreement = compare(SCENARIOS["slow network"], preset("balanced"), seed=4, conversations=2, turns=2)
    assert agreement.alone == agreement.texts == 0
    assert agreement.finalizes[0] == agreement.finalizes[1] > 3
    assert len(agreement.differences) > 3
    assert max(map(abs, agreement.differences)) < 0.001


def test_a_simulated_trace_replays_to_the_same_turns() -> None:
    one = sample(AGENT, 6, 0)
    lines = [json.dumps(record) for record in trace(one, preset("balanced"))]
    replayed = replay(parse_trace(lines))
    ended = [output for output in converse(one, preset("balanced")) if isinstance(output, TurnCompleted)]
    assert [output for output in replayed.outputs if isinstance(output, TurnCompleted)] == ended
    assert not replayed.warnings


def test_luck_does_not_depend_on_the_policy() -> None:
    before = evaluate(preset("balanced"), turns=20, seed=7)
    evaluate(preset("fast"), turns=20, seed=7)
    assert evaluate(preset("balanced"), turns=20, seed=7) == before
    assert evaluate(preset("balanced"), turns=20, seed=8) != before


def test_guard_tells_what_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    figures = {"agent, fast": {"p50": 0.5, "missed": None}, "agent, new": {"p50": 1.0}}
    monkeypatch.setattr(guard, "measure", lambda: figures)
    monkeypatch.setattr(guard, "FILE", tmp_path / "guard.json")
    assert guard.main([]) == 2
    assert "--update writes it" in capsys.readouterr().err
    assert guard.main(["--update"]) == 0
    assert guard.main([]) == 0
    figures["agent, fast"] = {"p50": 0.52, "missed": 0.1}
    del figures["agent, new"]
    assert guard.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "agent, fast: p50 is 0.52, was 0.5",
        "agent, fast: missed is 0.1, was None",
        "agent, new: gone",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scenario", "moon"], "no scenario named 'moon'; there are: agent"),
        (["--policy", "moon"], "--policy moon: no policy named 'moon'"),
        (["--turns", "0"], "at least 1"),
        (["--call", "nowhere"], "there is no *.silver_turns.json"),
        (["--policy", "presets", "--turns", "20", "--jobs", "1", "--json", "no/such/folder"], "cannot write"),
    ],
)
def test_bad_usage(arguments: list[str], told: str, capsys: Any) -> None:
    assert endpointing.main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_report(capsys: Any, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    options = ["--turns", "20", "--jobs", "1", "--json", str(target)]
    assert endpointing.main(["--policy", "timer", *options]) == 0
    report = capsys.readouterr().out
    assert "## agent: 20 turns" in report
    assert "| timer | 0.6 s |" in report
    results = json.loads(target.read_text())
    fields = {"scenario", "family", "label", "policy", "p50", "per_hold", "per_hold_interval"}
    assert all(fields <= set(one) for one in results)
