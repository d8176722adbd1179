"""The log-mel spectrogram that Whisper and its descendants listen to.

As in "Robust Speech Recognition via Large-Scale Weak Supervision" (Radford et al. 2022), section 2.2: 80 mel bands up
to 8 kHz of windows of 25 ms every 10 ms, at 16 kHz. The mel scale is Slaney's ("Auditory Toolbox", 1998): linear up to
1 kHz, logarithmic above, each band with the area 1. The logarithm is limited to 8 below the loudest, that is 80 dB,
and scaled to about -1 to 1.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["SAMPLE_RATE", "log_mel", "mel_bands"]

SAMPLE_RATE = 16_000
_WINDOW = 400  # samples, 25 ms
_STEP = 160  # samples, 10 ms
_BANDS = 80
_FLOOR = 1e-10  # of the energy
_RANGE = 8.0  # decades below the loudest

Samples = npt.NDArray[np.float32]


def log_mel(samples: Samples, bands: int = _BANDS) -> Samples:
    """The spectrogram of ``samples``: shape (n,), at 16 kHz.

    Args:
        bands: 80, or the 128 of Whisper's third version.

    Returns:
        shape (bands, n // 160).
    """
    padded = np.pad(samples.astype(np.float64), _WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP][: len(samples) // _STEP]
    window = np.hanning(_WINDOW + 1)[:-1]  # periodic
    energy = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    decades = np.log10(np.maximum(energy @ mel_bands(bands), _FLOOR))
    limited = np.maximum(decades, decades.max() - _RANGE)
    spectrogram: Samples = ((limited + 4.0) / 4.0).astype(np.float32).T
    return spectrogram


@cache
def mel_bands(bands: int = _BANDS) -> npt.NDArray[np.float64]:
    """The weight of each frequency in each band: shape (201, bands)."""
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    corners = _hertz(np.linspace(0.0, _mel(SAMPLE_RATE / 2), bands + 2))
    rising = (frequencies[:, None] - corners[None, :-2]) / np.diff(corners)[:-1]
    falling = (corners[None, 2:] - frequencies[:, None]) / np.diff(corners)[1:]
    area = 2.0 / (corners[2:] - corners[:-2])
    return np.maximum(0.0, np.minimum(rising, falling)) * area


# Slaney's scale: 200/3 Hz a mel up to 1000 Hz, from there on 27 mels for each factor of 6.4.
_LINEAR = 200 / 3
_BREAK = 1000 / _LINEAR
_LOG = np.log(6.4) / 27


def _mel(hertz: float) -> float:
    return hertz / _LINEAR if hertz < 1000 else _BREAK + float(np.log(hertz / 1000)) / _LOG


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mels < _BREAK, mels * _LINEAR, 1000 * np.exp(_LOG * (mels - _BREAK)))
