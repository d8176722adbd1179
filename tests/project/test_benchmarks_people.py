"""The benchmark on recordings of people: words laid over sound, doubt in an ear, and bad folders."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import soundfile

from benchmarks.endpointing.conversations import SpokenWord
from benchmarks.endpointing.curves import mean
from benchmarks.endpointing.evaluation import Candidate
from benchmarks.endpointing.recorded import conversation, turn_of
from benchmarks.people.__main__ import main
from benchmarks.people.alignment import aligned
from benchmarks.people.beside import joined, tally_of
from benchmarks.people.curves import Curve
from benchmarks.people.doubt import believed, fit
from benchmarks.people.folders import load
from benchmarks.people.questions import asked_for, lengthened
from benchmarks.people.sound import LEAD
from hearout.errors import UsageError
from hearout_policies.expect import Code, Digits, OneOf, Spelled
from hearout_policies.policy import Policy
from tests.kit.paths import SAMPLES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The first turn of a sample, and its text."""
    truth = json.loads((SAMPLES / "order.json").read_text())
    sound, rate = soundfile.read(SAMPLES / truth["file"], dtype="int16")
    words = truth["turns"][0]["words"]
    soundfile.write(tmp_path / "one.flac", sound[: round((words[-1]["end"] + 0.1) * rate)], rate)
    texts = {"one.flac": " ".join(word["text"].strip(".,?").lower() for word in words)}
    (tmp_path / "transcripts.json").write_text(json.dumps(texts))
    return tmp_path


def test_a_text_is_laid_over_the_sound(folder: Path) -> None:
    pytest.importorskip("ctranslate2")
    (one,) = (conversation(r, lambda pcm, rate: 0.9) for r in load(folder))
    words = json.loads((SAMPLES / "order.json").read_text())["turns"][0]["words"]
    (turn,) = one.turns
    assert [word.text for word in turn.words] == [word["text"].strip(".,?").lower() for word in words]
    for heard, true in zip(turn.words, words, strict=True):
        assert heard.start - 0.5 == pytest.approx(true["start"], abs=0.25)  # behind a lead of 0.5 s
    assert turn.end - 0.5 == pytest.approx(words[-1]["end"], abs=0.1)
    assert len(one.answers) == sum(edge.kind == "stop" for edge in one.edges) >= 1


def test_without_a_text_words_are_made_up(folder: Path) -> None:
    (folder / "transcripts.json").unlink()
    (one,) = map(conversation, load(folder))
    assert one.turns[0].words
    assert one.answers == ()


def test_an_ear_is_believed_as_far_as_the_other_half_allows(folder: Path) -> None:
    (folder / "transcripts.json").unlink()
    (one,) = (conversation(r, lambda pcm, rate: 0.9) for r in load(folder))
    (end,) = one.answers[-1:]
    pause = replace(end, audio=one.turns[0].start + 0.1, odds=0.3)
    two = [replace(one, answers=(end, pause)), replace(one, answers=(end, pause))]
    assert fit(two)[1] > 0
    answers = believed(two)[0].answers
    assert answers[0].odds > 0.5 > answers[1].odds
    assert fit([replace(one, answers=(end,))]) == (0.0, 0.0)


def test_bad_folders_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(path: Path) -> str:
        assert main([str(path), "--no-ear"]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        return told

    assert "no such folder" in complaint(folder / "nowhere")
    (folder / "empty").mkdir()
    assert "no *.silver_turns.json, no .parquet or .jsonl, and no .wav or .flac" in complaint(folder / "empty")
    (folder / "transcripts.json").write_text("[1]")
    assert "must be an object with the text of each file" in complaint(folder)
    (folder / "transcripts.json").write_text('{"other.flac": "yes"}')
    assert "no text for one.flac" in complaint(folder)
    (folder / "one.flac").write_bytes(b"no sound")
    (folder / "transcripts.json").unlink()
    assert "not a usable audio file" in complaint(folder)


# Word times from files, and hesitations


def test_words_with_times_need_no_alignment(folder: Path) -> None:
    (folder / "transcripts.json").unlink()
    words = json.loads((SAMPLES / "order.json").read_text())["turns"][0]["words"]
    (folder / "one.words.json").write_text(json.dumps(words))
    (one,) = load(folder)
    assert [word.text for word in one.turns[0].words] == [word["text"] for word in words]
    # As a recogniser lists them, for a file whose name goes on; marks belong to the word before.
    (folder / "one.words.json").unlink()
    listed = [{"w": word["text"], "t": "word", "b": word["start"], "e": word["end"]} for word in words]
    listed.append({"w": ".", "t": "punctuation", "b": words[-1]["end"], "e": words[-1]["end"]})
    (folder / "one.flac").rename(folder / "one_16kHz.flac")
    (folder / "one_words_asr.json").write_text(json.dumps(listed))
    (one,) = load(folder)
    assert one.turns[0].words[-1].text == words[-1]["text"] + "."
    (folder / "one_words_asr.json").write_text('[{"text": "yes"}]')
    with pytest.raises(UsageError, match="must be a list of words with text, start and end"):
        load(folder)


def test_marks_and_hesitations_of_a_text_are_not_spoken(folder: Path) -> None:
    pytest.importorskip("ctranslate2")
    sound, rate = soundfile.read(folder / "one.flac", dtype="int16")
    words = aligned(sound, rate, "I would like -- a large <hes-coffee> and a bottle of water.")
    assert words is not None
    assert [word.text for word in words] == [
        "I",
        "would",
        "like",
        "a",
        "large",
        "coffee",
        "and",
        "a",
        "bottle",
        "of",
        "water.",
    ]
    assert aligned(sound[: rate // 4], rate, "i would like a large coffee and a bottle of water") is None


# eot-bench's rows


def row(folder: Path, **changes: Any) -> dict[str, Any]:
    """The turn of the sample as a row: one pause within, and the end."""
    words = json.loads((SAMPLES / "order.json").read_text())["turns"][0]["words"]
    spans = [{"start": words[4]["end"], "end": words[4]["end"] + 0.3}, {"start": words[-1]["end"], "end": 5.0}]
    listed = [{"word": word["text"], "start": word["start"], "end": word["end"]} for word in words]
    audio = {"path": "one.flac", "bytes": (folder / "one.flac").read_bytes()}
    return {"id": "turn-1", "language": "en", "audio": audio, "silence_spans": spans, "words": listed} | changes


def as_jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    rows = tuple({**one, "audio": "one.flac"} if isinstance(one.get("audio"), dict) else one for one in rows)
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


def test_rows_of_eot_bench(folder: Path) -> None:
    (one,) = load(as_jsonl(folder, row(folder), row(folder, language="de")))
    (turn,) = one.turns
    spans = row(folder)["silence_spans"]
    assert one.key == "turn-1"
    assert turn.holds == ((pytest.approx(spans[0]["start"] + LEAD), pytest.approx(spans[0]["end"] + LEAD)),)
    assert turn.end == pytest.approx(spans[-1]["start"] + LEAD)
    assert [word.text for word in turn.words][:3] == ["i", "would", "like"]
    assert all(a.end <= b.start + 1e-6 for a, b in pairwise(turn.words))
    # Without words some are made up; the pauses are the same.
    (bare,) = load(as_jsonl(folder, row(folder, words=None)))
    assert bare.turns[0].holds == turn.holds


def test_rows_in_parquet_are_the_same(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (before,) = load(as_jsonl(folder, row(folder)))
    (folder / "rows.jsonl").unlink()
    (folder / "data").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist([row(folder)]), folder / "data" / "validation.parquet")
    (after,) = load(folder)
    assert after.turns == before.turns
    assert (after.sound == before.sound).all()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"silence_spans": []}, "row 1 is not as eot-bench's are: silence_spans is empty"),
        ({"silence_spans": None}, "row 1 is not as eot-bench's are"),
        ({"audio": {"path": "nowhere.wav", "bytes": None}}, "row 1 is not as eot-bench's are"),
        ({"language": "de"}, "there are no rows in English"),
    ],
)
def test_bad_rows_are_one_line(
    folder: Path, changes: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = row(folder) | changes
    bad["audio"] = changes.get("audio", {"path": "one.flac"})["path"]
    (folder / "rows.jsonl").write_text(json.dumps(bad) + "\n")
    assert main([str(folder), "--no-ear"]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1


def test_a_row_without_a_field_names_it(folder: Path) -> None:
    without = {key: value for key, value in row(folder).items() if key != "silence_spans"}
    with pytest.raises(UsageError, match=r"row 1 .*there is no 'silence_spans'"):
        load(as_jsonl(folder, without))


# Questions


def test_what_was_asked_is_told_by_the_kind_of_the_answer(folder: Path) -> None:
    texts = {"o n e": Spelled(), "one two three four five": Digits(5), "yes": OneOf(["yes"]), "a b one two": Code()}
    (one,) = load(as_jsonl(folder, row(folder)))
    spoken = [
        replace(one, turns=(turn_of([SpokenWord(w, 0.3 * n, 0.3 * n + 0.2) for n, w in enumerate(text.split())]),))
        for text in texts
    ]
    assert [found.turns[0].asked for found in asked_for(spoken)] == [(expected,) for expected in texts.values()]


def test_long_pauses_are_put_between_groups(folder: Path) -> None:
    (one,) = load(as_jsonl(folder, row(folder)))
    text = "one two three four five six seven eight nine zero"
    words = [SpokenWord(word, 0.6 + 0.4 * n, 0.9 + 0.4 * n) for n, word in enumerate(text.split())]
    (longer,) = lengthened(asked_for([replace(one, turns=(turn_of(words),))]))
    (turn,) = longer.turns
    pauses = [end - start for start, end in turn.holds]
    assert len(pauses) == 2
    assert all(1.0 <= pause <= 3.0 for pause in pauses)
    added = turn.end - words[-1].end
    assert len(longer.sound) / longer.rate == pytest.approx(len(one.sound) / one.rate + added, abs=0.001)
    assert added == pytest.approx(sum(pauses) - 2 * 0.1, abs=0.001)


# Voice detections, and noise


def test_noise_and_the_voice_detection_can_be_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_jsonl(folder, row(folder))
    assert main([str(folder), "--no-ear", "--vad", "webrtc", "--noise", "pink:10"]) == 0
    noisy = capsys.readouterr().out
    assert main([str(folder), "--no-ear"]) == 0
    assert noisy != capsys.readouterr().out
    assert main([str(folder), "--no-ear", "--vad", "webrtc", "webrtc"]) == 0
    assert "| webrtc: text, balanced |" in capsys.readouterr().out


@pytest.mark.parametrize("noise", ["pink", "brown:10", "pink:loud", "pink:nan", "babble:10"])
def test_other_noise_is_refused(folder: Path, noise: str, capsys: pytest.CaptureFixture[str]) -> None:
    as_jsonl(folder, row(folder))
    assert main([str(folder), "--no-ear", "--noise", noise]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"benchmarks.people: --noise {noise}")


# Beside others, and by chance


def test_recordings_are_put_together_to_calls(folder: Path) -> None:
    (one,) = load(as_jsonl(folder, row(folder)))
    calls = joined([one] * 12)
    assert sum(len(call.turns) for call in calls) == 12
    assert all(call.rate == 16_000 for call in calls)
    (call, *_) = calls
    for before, after in pairwise(call.turns):
        assert after.start - before.end > 4.5
    first = call.turns[0]
    (hold,) = first.holds
    # One that answers in the pause, and again at the end; then one that waits.
    hasty = tally_of(call, [{"event": "turn", "t": hold[0] + 0.1}, {"event": "turn", "t": first.end + 0.5}])
    assert (hasty.cut_holds, round(hasty.latencies[0], 2)) == (1, 0.5)
    patient = tally_of(call, [{"event": "predicted", "t": 1.0}, {"event": "turn", "t": first.end + 0.7}])
    assert (patient.cut_holds, round(patient.latencies[0], 2)) == (0, 0.7)


def test_a_curve_tells_what_chance_makes_of_it(folder: Path) -> None:
    (one,) = load(as_jsonl(folder, row(folder)))
    heard = conversation(one)
    curve = Curve([Candidate("x", "0.4", Policy().replace({"silence.price": 0.4}))], [heard, heard, heard])
    point = curve.latency_at(1.0, mean)
    assert point.value is not None
    assert point.interval == (pytest.approx(point.value), pytest.approx(point.value))  # all the same recording
    assert curve.latency_at(-1.0, mean).shown() == "-"
