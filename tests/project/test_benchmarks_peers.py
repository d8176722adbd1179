"""The side-by-side benchmark's own parts: its calls, its transcriber and its score. No peer is installed for this."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.feed import RATE, Call, Feed
from benchmarks.peers.scenarios import SCENARIOS, Scenario, Script, Spoken, build, load_scripts
from benchmarks.peers.scores import Outcome, cell, predictions_line, score
from benchmarks.peers.server import Hearing, Line
from hearout.sttserver.deepgram.options import parse_options
from hearout.sttserver.steps import Drop, Send, Step

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
OPTIONS = "encoding=linear16&sample_rate=16000&interim_results=true"


def make(directory: Path, name: str, seed: int = 1) -> Script:
    return build(directory, [BY_NAME[name]], 1, seed)[1]


# Calls


def test_a_seed_makes_the_same_calls(tmp_path: Path) -> None:
    def audio(name: str, seed: int) -> bytes:
        directory = tmp_path / name
        directory.mkdir()
        return (directory / make(directory, "hold-0.5", seed).pcm).read_bytes()

    assert audio("a", 1) == audio("b", 1) != audio("c", 2)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_words_stand_in_order_and_holds_are_as_long_as_told(tmp_path: Path, scenario: Scenario) -> None:
    script = make(tmp_path, scenario.name)
    assert load_scripts(tmp_path / "scripts.json")[1] == script
    assert len((tmp_path / script.pcm).read_bytes()) / 2 / RATE > script.turns[-1].end + 1.5
    for turn in script.turns:
        gaps = [b[1] - a[2] for a, b in pairwise(turn.words)]
        assert all(start < end for _, start, end in turn.words)
        assert all(gap == pytest.approx(0, abs=0.002) or gap == pytest.approx(scenario.hold, abs=0.002) for gap in gaps)
    for one, other in pairwise(script.turns):
        assert scenario.after < other.words[0][1] - one.end < scenario.after + 0.6
    if scenario.drop:
        ends = [turn.end for turn in script.turns[1::2]]
        starts = [turn.words[0][2] for turn in script.turns[1::2]]
        breaks = [script.words[number][2] for number in script.drops]
        assert all(start < at < end for start, at, end in zip(starts, breaks, ends, strict=True))


def test_muted_audio_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    script = make(tmp_path, "mute")
    now = 100.0
    monkeypatch.setattr("benchmarks.peers.feed.time.monotonic", lambda: now)
    audio = Feed(Call(script.name, 0, tmp_path / script.pcm, script.pauses))
    heard = []
    while item := audio.next():
        now += item[0]
        heard.append(now - 100.0)
    first, second, _ = script.turns
    assert heard[int(first.end * 50)] == pytest.approx(first.end, abs=0.03)
    start = second.words[0][1]
    assert script.real(first.end) == first.end
    assert heard[int(start * 50)] == pytest.approx(script.real(start), abs=0.03)
    assert script.real(start) == start + 8.0
    assert audio.worst == 0.0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "end"


# The transcriber


def hear(hearing: Hearing, pcm: bytes, chunk: int = 640) -> list[Step]:
    return [step for at in range(0, len(pcm), chunk) for step in hearing.receive(pcm[at : at + chunk])]


def results(steps: list[Step], **wanted: bool) -> list[str]:
    messages = [json.loads(step.text) for step in steps if isinstance(step, Send)]
    chosen = [m for m in messages if m["type"] == "Results" and all(m[key] == value for key, value in wanted.items())]
    texts: list[str] = [m["channel"]["alternatives"][0]["transcript"] for m in chosen]
    return [text for text in texts if text]


def finals(script: Script, directory: Path, query: str = OPTIONS) -> list[str]:
    line = Line(script, directory)
    return results(hear(Hearing(line, parse_options(query), "id"), line.pcm), is_final=True)


def test_every_turn_is_heard_once(tmp_path: Path) -> None:
    script = make(tmp_path, "clean")
    assert finals(script, tmp_path) == [" ".join(word for word, _, _ in turn.words) for turn in script.turns]


def test_a_short_endpoint_makes_a_final_in_a_short_pause(tmp_path: Path) -> None:
    script = make(tmp_path, "late-0.6")
    assert "please call me back" in finals(script, tmp_path)
    assert "please call me back tomorrow morning" in finals(script, tmp_path, OPTIONS + "&endpointing=300")


def test_withheld_finals_come_for_finalize_or_when_speech_goes_on(tmp_path: Path) -> None:
    for name, answered in (("withheld", True), ("never", False)):
        script = make(tmp_path, name)
        line = Line(script, tmp_path)
        hearing = Hearing(line, parse_options(OPTIONS), "id")
        until, again = (
            round((script.turns[0].end + 0.5) * RATE) * 2,
            round((script.turns[1].words[0][2] + 0.1) * RATE) * 2,
        )
        steps = hear(hearing, line.pcm[:until])
        assert not results(steps, is_final=True)
        assert results(steps, is_final=False)
        text = " ".join(word for word, _, _ in script.turns[0].words)
        assert results(hearing.receive('{"type":"Finalize"}'), from_finalize=True) == [text] * answered
        assert results(hear(hearing, line.pcm[until:again]), is_final=True) == [text] * (not answered)


def test_after_a_break_only_audio_that_is_sent_again_is_heard(tmp_path: Path) -> None:
    script = make(tmp_path, "drop")
    line = Line(script, tmp_path)
    first = Hearing(line, parse_options(OPTIONS), "id")
    turn = script.turns[1]
    broken = round((turn.words[4][2] + 0.02) * RATE) * 2
    assert any(isinstance(step, Drop) for step in hear(first, line.pcm[:broken]))
    end = round((turn.end + 0.5) * RATE) * 2
    without = Hearing(line, parse_options(OPTIONS), "id")
    assert results(hear(without, line.pcm[broken:end], 1600), is_final=True) == ["flight to tomorrow morning"]
    begin = round(turn.words[0][1] * RATE) * 2
    replay = Hearing(line, parse_options(OPTIONS), "id")
    steps = hear(replay, line.pcm[begin:end], 1600)
    assert results(steps, is_final=True) == ["i need to change my flight to tomorrow morning"]


# The score

TWO = Script(
    "a",
    "a",
    "",
    [
        Spoken([("please", 1.0, 1.4), ("send", 1.4, 1.7), ("it", 1.7, 2.0)]),
        Spoken([("yes", 6.0, 6.3), ("please", 6.3, 6.8)]),
    ],
)


def turn(at: float, text: str, **more: object) -> dict[str, object]:
    return {"event": "turn", "t": at, "text": text, **more}


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([turn(2.6, "Please send it."), turn(7.8, "yes please")], "**2/2** 0.80 (1.00) s"),
        ([turn(2.6, "please send"), turn(3.0, "it"), turn(7.8, "yes please")], "**1/2** 1.00 (1.00) s; 1 split"),
        (
            [turn(1.8, "please send"), turn(2.5, "it"), turn(7.8, "yes please")],
            "**1/2** 0.75 (1.00) s; 1 split, 1 cut in",
        ),
        ([turn(2.6, "please send"), turn(7.8, "yes please")], "**1/2** 1.00 (1.00) s; 1 word lost"),
        ([turn(7.8, "please send it yes please")], "**0/2** 1.00 (1.00) s; 1 stuck"),
        ([turn(2.6, "please send it")], "**1/2** 0.60 (0.60) s; 1 stuck, 2 words lost"),
        (
            [turn(2.6, "please send it"), turn(3.0, "it"), turn(3.5, ""), turn(7.8, "yes please")],
            "**2/2** 0.80 (1.00) s; 1 word doubled, 1 empty",
        ),
        (
            [
                turn(2.6, "please send", turn=1),
                {"event": "amended", "t": 3.5, "text": "please send it", "turn": 1},
                turn(7.8, "yes please", turn=2),
            ],
            "**1/2** 1.25 (1.50) s; 1 amended",
        ),
    ],
    ids=["right", "split", "cut-in", "lost", "merged", "missing", "doubled", "amended"],
)
def test_score(events: list[dict[str, object]], shown: str) -> None:
    assert cell(score(TWO, events)) == shown


def test_a_word_is_not_taken_for_one_that_was_spoken_later() -> None:
    outcome = score(TWO, [turn(2.6, "send it please")])
    assert [(t.lost, t.pieces) for t in outcome.turns] == [(1, 1), (2, 0)]
    assert outcome.doubled == 1


def test_outcomes_add_up() -> None:
    whole = Outcome()
    for text in ("please send it", "please"):
        whole.add(score(TWO, [turn(2.6, text), turn(7.8, "yes please")]))
    assert cell(whole, latency=False) == "**3/4**; 2 words lost"


def test_a_prediction_counts_when_nothing_took_it_back() -> None:
    def happened(event: str, at: float) -> dict[str, object]:
        return {"event": event, "t": at}

    events = [
        *(happened("predicted", 1.2), happened("taken back", 1.3)),
        *(happened("predicted", 2.1), happened("predicted", 2.3), turn(2.6, "please send it")),
        *(happened("predicted", 7.2), turn(7.8, "yes please")),
    ]
    outcome = score(TWO, events)
    assert [round(seconds, 3) for seconds in outcome.predicted] == [0.3, 0.4]
    assert (outcome.predictions, outcome.taken_back) == (4, 2)
    line = "2 of 2 right turns predicted, 0.35 s after their end in the median; 2 of 4 predictions taken back"
    assert predictions_line(outcome) == line
    assert predictions_line(score(TWO, [])) == "no predictions"
