"""The benchmark of the recogniser: which recordings have a text, and what counts as the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.recogniser import read, recordings, spoken, wrong
from tests.kit.paths import ROOT


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("three oh two one", "3021."),
        ("six eight three", "6-8-3"),
        ("fifty seven", "57"),
        ("two forty", "240"),
        ("two eighteen", "2 18"),
        ("may second nineteen sixty five", "May 2, 1965"),
        ("january seventh", "January 7th,"),
        ("the twelfth", "the 12th"),
        ("on the twentieth", "on the 20th"),
        ("okay mister brown", "OK, Mr. Brown."),
        ("montreal <hes-forced> aligner", "Montreal aligner"),
    ],
)
def test_what_counts_as_the_same(said: str, heard: str) -> None:
    assert spoken(said) == spoken(heard)


def test_how_much_is_wrong() -> None:
    assert wrong(spoken("call me at ten"), spoken("Call at 11.")) == 2
    assert wrong([], spoken("one")) == 1


def test_recordings_have_their_text_beside_them_or_in_a_list(tmp_path: Path) -> None:
    tone = (np.sin(np.arange(8000) / 5) * 8000).astype(np.int16)
    for name in ("listed.wav", "beside.wav", "turns.wav", "elsewhere.flac", "without.wav"):
        soundfile.write(tmp_path / name, tone, 8000)
    tone.tofile(tmp_path / "plain.raw")
    (tmp_path / "transcripts.json").write_text(json.dumps({"listed": "one"}))
    (tmp_path / "beside.txt").write_text("two")
    (tmp_path / "turns.json").write_text(json.dumps({"turns": [{"text": "three"}, {"text": "four"}]}))
    found = dict(recordings(tmp_path, {"elsewhere.flac": "five", "plain.raw": "six"}))
    assert {path.name: text for path, text in found.items()} == {
        "listed.wav": "one",
        "beside.wav": "two",
        "turns.wav": "three four",
        "elsewhere.flac": "five",
        "plain.raw": "six",
    }
    assert read(tmp_path / "beside.wav").shape == (16000,)
    assert read(tmp_path / "plain.raw").shape == (8000,)


def test_one_voice_on_two_channels_is_read_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(-9000, 9000, (2, 16000)).astype(np.int16)
    soundfile.write(tmp_path / "one.wav", np.stack([one, one], 1), 16000)
    soundfile.write(tmp_path / "two.wav", np.stack([one, other], 1), 16000)
    assert read(tmp_path / "one.wav").shape == (16000,)
    assert read(tmp_path / "two.wav").shape == (16000, 2)


@pytest.mark.parametrize("module", ["recogniser", "samples", "soak"])
def test_without_the_model_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))
    options = {"recogniser": ["samples"], "samples": [], "soak": ["--real"]}[module]
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"benchmarks.{module}: the model whisper-tiny-en is not on this machine: ")
    assert len(done.stderr.splitlines()) == 1
