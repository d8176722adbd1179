"""The benchmark of voice detection: its arithmetic, and bad labels."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.vad.__main__ import main
from benchmarks.vad.labelled import Labelled, find, mixed
from benchmarks.vad.scores import Heard, Score
from hearout.errors import UsageError
from tests.kit.paths import SAMPLES

RATE = 16_000


def test_what_is_heard_is_counted_in_frames_and_edges() -> None:
    score = Score()
    heard = [Heard(1.05, 2.1, 2.3), Heard(5.0, 6.0, 6.2)]
    score.add([(1.0, 2.0), (3.0, 3.5)], 10.0, heard)
    assert (score.speech, score.missed, score.wrong, score.false) == (150, 55, 110, 100)
    assert score.f1 == pytest.approx(2 * 95 / (2 * 95 + 110 + 55))
    assert score.onsets == pytest.approx([0.05])
    assert score.ends == pytest.approx([0.1])
    assert score.told == pytest.approx([0.3])
    assert (score.ends_there, score.false_starts) == (2, 1)


def test_short_gaps_in_the_truth_have_no_edges() -> None:
    score = Score()
    score.add([(1.0, 2.0), (2.2, 3.0)], 10.0, [Heard(1.0, 3.0, 3.2)])
    assert (score.onsets, score.ends, score.ends_there) == ([0.0], [0.0], 1)


def test_an_end_that_is_much_too_late_is_not_found() -> None:
    score = Score()
    score.add([(1.0, 2.0)], 10.0, [Heard(1.0, 9.0, 9.2)])
    assert (score.ends, score.ends_there) == ([], 1)
    assert score.shares() == f"0 / {100 * 680 / (1001 - 130):.0f}"


def recordings() -> list[Labelled]:
    random = np.random.default_rng(1)
    sounds = [random.normal(0, level, 4 * RATE).astype(np.int16) for level in (3000, 500, 100, 800)]
    return [Labelled(str(number), sound, RATE, ((1.0, 3.0),)) for number, sound in enumerate(sounds)]


@pytest.mark.parametrize("noise", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr", [20, 5])
def test_noise_lies_so_far_below_the_speech(noise: str, snr: float) -> None:
    everybody = recordings()
    one = everybody[0]
    whole = np.frombuffer(mixed(one, everybody, noise, snr), "<i2")
    assert mixed(one, everybody, noise, snr) == whole.tobytes()
    under = whole.astype(float) - one.sound
    assert 20 * math.log10(np.std(one.sound) / np.std(under)) == pytest.approx(snr, abs=0.3)
    assert mixed(one, everybody, "clean", 0) == one.sound.tobytes()


def test_labels_by_hand(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(2 * RATE, np.int16), RATE)
    (tmp_path / "a.scv").write_text("a,0.000,0.403,0,0.403,1.204,1,1.204,1.440,0,1.440,2.0,1\n")
    (one,) = find(tmp_path)
    assert (one.name, one.rate, one.length) == ("a", RATE, 2.0)
    assert one.spoken == ((0.403, 1.204), (1.44, 2.0))


def test_a_folder_of_such_labels_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, rate = soundfile.read(SAMPLES / "order.flac", dtype="int16")
    soundfile.write(tmp_path / "order.wav", sound, rate)
    turns = json.loads((SAMPLES / "order.json").read_text())["turns"]
    edges = [0.0, *(time for turn in turns for time in (turn["start"], turn["end"])), len(sound) / rate]
    rows = [f"{start},{end},{number % 2}" for number, (start, end) in enumerate(pairwise(edges))]
    (tmp_path / "order.scv").write_text(",".join(["order", *rows]))
    assert main([str(tmp_path), "--vad", "webrtc", "--clean"]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path.name}: 1 recordings, 0.2 min, {len(turns)} stretches of speech" in out
    (row,) = [line.split(" | ") for line in out.splitlines() if line.startswith("| clean ")]
    assert row[1] == "webrtc"
    assert float(row[2]) > 0.9
    assert row[6] == "100"
    assert all(-200 < float(error) < 100 for error in row[7].split(", "))  # "address" fades away
    assert "lines a core" in out


@pytest.mark.parametrize("line", ["", "a", "a,0.0,0.5", "a,0.0,x,1", "a,0.0,0.5,0"])
def test_bad_labels_are_told(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE, np.int16), RATE)
    (tmp_path / "a.scv").write_text(line)
    with pytest.raises(UsageError, match=r"a\.scv: "):
        find(tmp_path)
    assert main([str(tmp_path), "--vad", "webrtc"]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.vad: ")


def test_a_folder_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no/such/folder", "--vad", "webrtc"]) == 2
    assert capsys.readouterr().err == "benchmarks.vad: no/such/folder: no such folder\n"
