"""The log-mel spectrogram, against published values and sounds whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from hearout.ear.features import SAMPLE_RATE, _hertz, _mel, log_mel, mel_bands


@pytest.mark.parametrize(("hertz", "mel"), [(60, 0.9), (110, 1.65), (220, 3.3), (440, 6.6), (1000, 15.0)])
def test_the_mel_scale(hertz: float, mel: float) -> None:
    """As the documentation of librosa.hz_to_mel has it, and Slaney's scale at its break."""
    assert _mel(hertz) == pytest.approx(mel)


def test_forty_mels() -> None:
    """From the documentation of librosa.mel_frequencies(n_mels=40)."""
    published = [0.0, 85.317, 170.635, 255.952, 341.269, 426.586, 511.904, 597.221, 682.538, 767.855]
    published += [853.173, 938.49, 1024.856, 1119.114, 1222.042, 1334.436, 1457.167, 1591.187, 1737.532, 1897.337]
    published += [2071.84, 2262.393, 2470.47, 2697.686, 2945.799, 3216.731, 3512.582, 3835.643, 4188.417, 4573.636]
    published += [4994.285, 5453.621, 5955.205, 6502.92, 7101.009, 7754.107, 8467.272, 9246.028, 10096.408, 11025.0]
    assert _hertz(np.linspace(0.0, _mel(11025), 40)) == pytest.approx(np.array(published), abs=6e-4)


@pytest.mark.parametrize(("count", "narrow"), [(80, 20), (128, 55)])
def test_every_band_has_the_area_1(count: int, narrow: int) -> None:
    """But the lower ones, which are as narrow as the frequencies' steps."""
    bands = mel_bands(count)
    assert bands.shape == (201, count)
    area = bands.sum(axis=0) * SAMPLE_RATE / 400
    assert area[narrow:] == pytest.approx(np.ones(count - narrow), rel=0.12)


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_is_loudest_in_its_band(hertz: float) -> None:
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    heard = log_mel(np.sin(2 * np.pi * hertz * times).astype(np.float32))
    assert heard.shape == (80, 100)
    assert heard.dtype == np.float32
    band = int(heard[:, 50].argmax())
    corners = _hertz(np.linspace(0.0, _mel(8000), 82))
    assert corners[band] <= hertz <= corners[band + 2]


def test_silence_lies_80_db_below_the_loudest() -> None:
    sound = np.zeros(SAMPLE_RATE, np.float32)
    sound[8000:] = np.random.default_rng(1).normal(0, 0.1, 8000)
    heard = log_mel(sound)
    assert heard.max() - heard.min() == pytest.approx(2.0)  # 8 decades, of which each counts 1/4
    assert (heard[:, :45] < heard.min() + 1.2).all()
    assert np.isfinite(log_mel(np.zeros(SAMPLE_RATE, np.float32))).all()
