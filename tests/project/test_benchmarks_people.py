"""The benchmark on recordings of people: words laid over sound, doubt in an ear, and bad folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from benchmarks.endpointing.recorded import conversation
from benchmarks.people.__main__ import main
from benchmarks.people.doubt import believed, fit
from benchmarks.people.folders import load
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
    pytest.importorskip("pocketsphinx")
    (one,) = (conversation(r, lambda pcm, rate: 0.9) for r in load(folder))
    words = json.loads((SAMPLES / "order.json").read_text())["turns"][0]["words"]
    (turn,) = one.turns
    assert [word.text for word in turn.words] == [word["text"].strip(".,?").lower() for word in words]
    for heard, true in zip(turn.words, words, strict=True):
        assert heard.start - 0.5 == pytest.approx(true["start"], abs=0.15)  # behind a lead of 0.5 s
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
