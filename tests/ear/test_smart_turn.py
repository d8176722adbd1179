"""Smart Turn, and what is said of files that are not it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hearout.ear.smart_turn import _SCALE, _SHIFT, SmartTurn, believed
from hearout.errors import UsageError
from hearout.extras import MissingExtra
from hearout.models.known import MODELS, find
from tests.kit.onnx import mean_model
from tests.kit.paths import SAMPLES

pytest.importorskip("onnxruntime")


def written(path: Path, data: bytes) -> SmartTurn:
    path.write_bytes(data)
    return SmartTurn(path, sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def ear(tmp_path: Path) -> SmartTurn:
    return written(tmp_path / "mean.onnx", mean_model())


def test_the_model_is_given_the_last_eight_seconds(ear: SmartTurn) -> None:
    long = np.random.default_rng(1).normal(0, 3000, 20 * 16_000).astype("<i2")
    assert ear.raw(long.tobytes(), 16_000) == ear.raw(long[-8 * 16_000 :].tobytes(), 16_000)
    assert ear.raw(long.tobytes(), 16_000) != ear.raw(long[: 8 * 16_000].tobytes(), 16_000)


def test_how_loud_it_is_does_not_matter(ear: SmartTurn) -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 8 * 16_000)
    quiet = ear.raw((noise / 10).astype("<i2").tobytes(), 16_000)
    assert quiet == pytest.approx(ear.raw(noise.astype("<i2").tobytes(), 16_000), abs=0.001)


def test_what_is_shorter_has_silence_before_it(ear: SmartTurn) -> None:
    short = np.random.default_rng(1).normal(0, 3000, 16_000).astype("<i2")
    padded = np.concatenate([np.zeros(7 * 16_000, "<i2"), short])
    assert ear.raw(short.tobytes(), 16_000) == ear.raw(padded.tobytes(), 16_000)
    assert 0 < ear.raw(b"", 16_000) < 1


def test_a_telephone_line_is_resampled(ear: SmartTurn) -> None:
    soxr = pytest.importorskip("soxr")
    wide = np.random.default_rng(1).normal(0, 3000, 8 * 16_000)
    narrow = soxr.resample(wide, 16_000, 8_000)
    back = soxr.resample(narrow, 8_000, 16_000)
    heard = ear.raw(narrow.astype("<i2").tobytes(), 8_000)
    assert heard == pytest.approx(ear.raw(back.astype("<i2").tobytes(), 16_000), abs=0.01)


def test_its_answers_are_believed_as_far_as_measured() -> None:
    assert believed(0.5) == pytest.approx(1 / (1 + math.exp(-_SHIFT)))
    assert believed(0.98) == pytest.approx(1 / (1 + math.exp(-_SHIFT - _SCALE * math.log(49))))
    answers = [believed(raw) for raw in (0.0, 0.01, 0.3, 0.7, 0.99, 1.0)]
    assert answers == sorted(answers)
    assert 0 < answers[0] < 0.1
    assert 0.8 < answers[-1] < 1


@pytest.mark.skipif(find(MODELS["smart-turn"]) is None, reason="hearout models get smart-turn")
def test_the_model_itself() -> None:
    """An end, and the moment before "morning": said by a synthesiser, so only roughly."""
    ear = SmartTurn()
    samples, rate = soundfile.read(SAMPLES / "order.flac", dtype="int16")
    end = ear.listen(samples[: round(10.6 * rate)].tobytes(), rate, 0.2)
    middle = ear.listen(samples[: round(1.2 * rate)].tobytes(), rate, 0.0)
    assert 0 < middle < end < 1


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"no model", "onnxruntime cannot load it"),
        (mean_model()[:-20], "onnxruntime cannot load it"),
        (mean_model((1, 80, 100)), "a model of another shape: [('input_features', [80, 100])]"),
        (mean_model(name="audio"), "a model of another shape: [('audio', [80, 800])]"),
    ],
    ids=["nonsense", "cut off", "shape", "name"],
)
def test_a_file_that_is_no_such_model(tmp_path: Path, data: bytes, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        written(tmp_path / "bad.onnx", data)
    assert str(caught.value).startswith(f"{tmp_path / 'bad.onnx'}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_another_hash(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(mean_model())
    with pytest.raises(UsageError, match=r"own.onnx: not the file it should be .*: for a model of your own give its"):
        SmartTurn(tmp_path / "own.onnx")
    with pytest.raises(UsageError, match=r"missing.onnx: cannot be read: No such file or directory"):
        SmartTurn(tmp_path / "missing.onnx")


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"^an ear needs onnxruntime: pip install 'hearout\[ear\]'$"):
        SmartTurn()


def test_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))
    with pytest.raises(UsageError, match=r"is not on this machine: hearout models get smart-turn \(8.7 MB, BSD-2"):
        SmartTurn()
    damaged = tmp_path / "smart-turn" / MODELS["smart-turn"].files[0].name
    damaged.parent.mkdir()
    damaged.write_bytes(b"half of it")
    with pytest.raises(UsageError, match=r"not the file it should be .*: hearout models get smart-turn$"):
        SmartTurn()
