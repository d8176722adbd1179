"""The recordings in samples/ and what is said to be true about them."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hearout.sources import FileSource
from tests.kit.paths import SAMPLES

TRUTHS = sorted(SAMPLES.glob("*.json"))
DEMO = SAMPLES / "demo" / "table.json"


def test_there_are_five_and_they_are_small() -> None:
    assert [path.stem for path in TRUTHS] == ["barge_in", "email", "order", "phone_number", "two_people"]
    assert sum(path.stat().st_size for path in SAMPLES.iterdir() if path.is_file()) < 2_000_000
    assert sum(path.stat().st_size for path in DEMO.parent.iterdir()) < 700_000


@pytest.mark.parametrize("path", [*TRUTHS, DEMO], ids=lambda path: path.stem)
def test_the_truth_fits_the_recording(path: Path) -> None:
    truth = json.loads(path.read_text())
    source = FileSource(path.with_name(truth["file"]))
    assert source.duration == pytest.approx(truth["duration"])
    assert (source.sample_rate, source.channels) == (truth["sample_rate"], truth["channels"])
    assert {turn["channel"] for turn in truth["turns"]} == set(range(truth["channels"]))
    for turn in truth["turns"]:
        words = turn["words"]
        assert turn["text"] == " ".join(word["text"] for word in words)
        assert (turn["start"], turn["end"]) == (words[0]["start"], words[-1]["end"])
        times = [time for word in words for time in (word["start"], word["end"])]
        assert times == sorted(times)
    for channel in range(truth["channels"]):
        own = [turn for turn in truth["turns"] if turn["channel"] == channel]
        assert all(before["end"] < after["start"] for before, after in itertools.pairwise(own))
    assert truth["turns"][0]["start"] == 0.5
    assert truth["turns"][-1]["end"] == pytest.approx(truth["duration"] - 2.0, abs=0.01)


def test_the_demo_speaks_where_the_truth_says_so() -> None:
    truth = json.loads(DEMO.read_text())
    samples, rate = soundfile.read(DEMO.with_name(truth["file"]), dtype="float32")
    for turn in truth["turns"]:
        voice = np.abs(samples[:, turn["channel"]])
        pieces = [voice[round(word["start"] * rate) : round(word["end"] * rate)].max() for word in turn["words"]]
        assert min(pieces) > 0.05, turn["text"]
        ends = [*(word["start"] for word in turn["words"][1:]), turn["end"] + 0.3]
        for word, following in zip(turn["words"], ends, strict=True):
            pause = voice[round((word["end"] + 0.005) * rate) : round((following - 0.05) * rate)]
            assert pause.max(initial=0) < 0.02, word


def test_the_script_makes_them_again(tmp_path: Path) -> None:
    if not shutil.which("flite"):
        pytest.skip("flite is not installed")
    version = subprocess.run(["flite", "--version"], capture_output=True, text=True).stdout
    if json.loads(TRUTHS[0].read_text())["made_with"] not in version:
        pytest.skip("the samples were made with another flite")
    script = SAMPLES / "make_samples.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    for path in TRUTHS:
        assert (tmp_path / path.name).read_text() == path.read_text()
        file = json.loads(path.read_text())["file"]
        old, _ = soundfile.read(SAMPLES / file, dtype="int16")
        new, _ = soundfile.read(tmp_path / file, dtype="int16")
        assert (old == new).all()
