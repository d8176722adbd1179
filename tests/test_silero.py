"""Silero's voice detection: what its model is asked, what it hears, and what is said where it cannot be used."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.extras import MissingExtra
from hearout.models.known import MODELS, find
from hearout.vad import SileroVad, SpeechEdge, SpeechGate, silero, silero_gate
from tests.kit.onnx import mean_model
from tests.kit.paths import SAMPLES

pytest.importorskip("onnxruntime")

RATE = 16_000
NAME = MODELS["silero-vad"].files[0].name
real = pytest.mark.skipif(find(MODELS["silero-vad"]) is None, reason="hearout models get silero-vad")

Audio = npt.NDArray[np.float64]  # full scale 1


def pcm(samples: npt.ArrayLike) -> bytes:
    scaled: Audio = np.asarray(samples) * 32768
    return np.clip(np.rint(scaled), -32768, 32767).astype("<i2").tobytes()


# -- what the model is asked -------------------------------------------------------------------------------------


class Model:
    """Answers with the loudest sample it hears, and counts in its state."""

    def __init__(self) -> None:
        self.asked: list[tuple[Audio, int, float]] = []  # what it heard, the rate, the state

    def run(self, _: None, given: dict[str, Any]) -> tuple[Any, Any]:
        self.asked.append((given["input"][0].copy(), int(given["sr"]), float(given["state"].max())))
        return np.abs(given["input"]).max(axis=1, keepdims=True), given["state"] + 1


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model()
    monkeypatch.setattr(silero, "_session", lambda: made)
    return made


@pytest.mark.parametrize(("rate", "context", "size"), [(8000, 32, 256), (16_000, 64, 512)])
def test_each_frame_follows_the_end_of_the_one_before(model: Model, rate: int, context: int, size: int) -> None:
    sound = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * size)
    vad = SileroVad(rate)
    for frame in np.split(sound, 3):
        vad.is_speech(pcm(frame))
    whole = np.concatenate([np.zeros(context), sound])
    for number, (heard, told, state) in enumerate(model.asked):
        assert heard == pytest.approx(whole[number * size : (number + 1) * size + context], abs=1 / 32768)
        assert (told, state) == (rate, number)


def test_each_line_has_a_state_of_its_own(model: Model) -> None:
    one, other = SileroVad(RATE), SileroVad(RATE)
    one.is_speech(bytes(1024))
    other.is_speech(bytes(1024))
    assert [state for _, _, state in model.asked] == [0, 0]


@pytest.mark.parametrize("rate", [32_000, 48_000])
def test_of_higher_rates_it_hears_what_is_below_8_khz(model: Model, rate: int) -> None:
    def heard(hz: float) -> Audio:
        model.asked.clear()
        vad = SileroVad(rate)
        sound = 0.5 * np.sin(2 * np.pi * hz * np.arange(10 * rate * 32 // 1000) / rate)
        for frame in np.split(sound, 10):
            vad.is_speech(pcm(frame))
        assert all(told == RATE for _, told, _ in model.asked)
        return np.concatenate([sound[64:] for sound, _, _ in model.asked])[100:]

    low = heard(1000)
    assert np.abs(low).max() == pytest.approx(0.5, abs=0.01)
    assert np.diff(np.flatnonzero(np.diff(np.sign(low)) > 0)).mean() == pytest.approx(16, abs=0.1)  # samples a period
    assert np.abs(heard(10_000)).max() < 0.01


def test_the_threshold_decides(model: Model) -> None:
    frame = pcm(np.full(512, 0.4))
    assert SileroVad(RATE, threshold=0.3).is_speech(frame)
    assert not SileroVad(RATE).is_speech(frame)
    assert not SileroVad(RATE, threshold=0.3).is_speech(bytes(1024))


# -- what it hears -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def order() -> tuple[Audio, Any]:
    samples, _ = soundfile.read(SAMPLES / "order.flac", dtype="int16")
    return samples / 32768, json.loads((SAMPLES / "order.json").read_text())


def spans(data: bytes, rate: int = RATE) -> list[tuple[float, float]]:
    gate = silero_gate(rate)
    times = [edge.audio for edge in (*gate.feed(data), *gate.flush()) if edge.kind in ("start", "stop")]
    return list(zip(times[::2], times[1::2], strict=True))


def spoken(truth: Any, channel: int = 0, pause: float = 0.3) -> list[list[float]]:
    """The stretches of speech between true pauses longer than ``pause``."""
    found: list[list[float]] = []
    for turn in truth["turns"]:
        if turn["channel"] == channel:
            for word in turn["words"]:
                if not found or word["start"] - found[-1][1] > pause:
                    found.append([word["start"], word["end"]])
                found[-1][1] = word["end"]
    return found


@real
@pytest.mark.parametrize("file", ["order.flac", "phone_number.wav", "two_people.flac"])
def test_every_stretch_of_speech_in_the_samples_is_found(file: str) -> None:
    samples, rate = soundfile.read(SAMPLES / file, dtype="int16", always_2d=True)
    truth = json.loads((SAMPLES / file).with_suffix(".json").read_text())
    for channel in range(truth["channels"]):
        found = spans(np.ascontiguousarray(samples[:, channel]).tobytes(), rate)
        true = spoken(truth, channel)
        assert len(found) == len(true)
        assert np.abs(np.subtract(found, true)).max() < 0.2


@real
@pytest.mark.parametrize("rate", [8000, 32_000, 48_000])
def test_all_rates_hear_the_same(order: tuple[Audio, Any], rate: int) -> None:
    soxr = pytest.importorskip("soxr")
    found = spans(pcm(soxr.resample(order[0], RATE, rate)), rate)
    wide = spans(pcm(order[0]))
    assert len(found) == len(wide)
    assert np.abs(np.subtract(found, wide)).max() < (0.2 if rate == 8000 else 0.1)  # half of an "s" is above 4 kHz


@real
@pytest.mark.parametrize("level", [-60, -40, -20])
def test_steady_noise_is_not_speech_however_loud(level: float) -> None:
    noise = np.random.RandomState(3).standard_normal(10 * RATE) * 10 ** (level / 20)
    assert spans(pcm(noise)) == []
    assert spans(bytes(4 * RATE)) == []


@real
def test_speech_in_noise_as_loud_as_itself_is_found(order: tuple[Audio, Any]) -> None:
    samples, truth = order
    noise = np.random.RandomState(3).standard_normal(len(samples)) * 10 ** (-22 / 20)
    found = spans(pcm(samples + noise))
    for start, end in spoken(truth):
        covered = sum(max(0, min(end, b) - max(start, a)) for a, b in found)
        assert covered > 0.75 * (end - start)
    outside = sum(b - a for a, b in found) - sum(end - start for start, end in spoken(truth))
    assert outside < 0.5


@real
def test_edges_do_not_depend_on_how_the_audio_is_cut_or_on_another_line(order: tuple[Audio, Any]) -> None:
    data = pcm(order[0])
    whole, gate, other = silero_gate(RATE), silero_gate(RATE), silero_gate(RATE)
    cuts = [0, *sorted(np.random.default_rng(1).integers(0, len(data) // 2, 60).tolist()), len(data) // 2]
    found: list[SpeechEdge] = []
    for start, end in itertools.pairwise(cuts):
        found += gate.feed(data[2 * start : 2 * end])
        other.feed(data[2 * start : 2 * end][::-1])
    assert found + gate.flush() == whole.feed(data) + whole.flush()


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sample_rate": 44_100}, "voice detection at 44100 Hz: Silero's works at 8000, 16000, 32000, 48000 Hz"),
        ({"threshold": 0.0}, "threshold 0.0 of the voice detection"),
        ({"threshold": 1.5}, "it must lie between 0 and 1"),
    ],
)
def test_what_silero_does_not_know_is_refused(options: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        SileroVad(**{"sample_rate": RATE} | options)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the file of the model is to be."""
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))
    silero._session.cache_clear()
    (tmp_path / "silero-vad").mkdir()
    yield tmp_path / "silero-vad"
    silero._session.cache_clear()


@pytest.mark.parametrize("command", [["listen", str(SAMPLES / "order.flac")], ["serve", "--port", "0"]])
def test_a_missing_or_damaged_model_is_told_before_anything_else(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--vad", "silero"]) == 2
    missing = "hearout: the model silero-vad is not on this machine: hearout models get silero-vad (2.8 MB, MIT)\n"
    assert capsys.readouterr().err == missing
    (folder / NAME).write_bytes(b"damaged")
    assert main([*command, "--vad", "silero"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not the file it should be" in line
    assert line.endswith(": hearout models get silero-vad")


@pytest.mark.parametrize(
    ("data", "complaint"), [(b"no model", "onnxruntime cannot load it"), (mean_model(), "a model of another shape")]
)
def test_what_is_no_such_model_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, complaint: str
) -> None:
    (folder / NAME).write_bytes(data)
    file = replace(MODELS["silero-vad"].files[0], sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(MODELS, "silero-vad", replace(MODELS["silero-vad"], files=(file,)))
    with pytest.raises(UsageError, match=complaint):
        SileroVad(RATE)


def test_without_onnxruntime_it_is_told_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"^Silero's voice detection needs onnxruntime: .* 'hearout\[silero\]'$"):
        SpeechGate(SileroVad(RATE), RATE)
