"""Noise, and other people's voices, under speech."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import numpy.typing as npt

__all__ = ["Signal", "at_level", "babble", "level_of", "make_noise"]

Signal = npt.NDArray[np.float64]

_VOICES = 6  # in babble


def level_of(samples: Signal) -> float:
    """RMS, in dB of full scale 1."""
    return float(20 * np.log10(np.sqrt(np.mean(samples**2)) + 1e-9))


def at_level(samples: Signal, level: float) -> Signal:
    """At that RMS, in dB of full scale 1."""
    return samples * (10 ** (level / 20) / float(np.sqrt(np.mean(samples**2))))


def make_noise(color: str, size: int) -> Signal:
    """White or pink noise at 0 dBFS."""
    noise = np.random.RandomState(3).standard_normal(size)
    if color == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), size)
    return at_level(noise, 0)


def babble(voices: Sequence[Signal], size: int, random: Random) -> Signal:
    """Some voices at once, all as loud as each other, at 0 dBFS.

    Args:
        voices: speech without its pauses; each is begun anywhere, and again where it ends.
    """
    chosen = random.sample(list(voices), min(_VOICES, len(voices)))
    mixed: Signal = np.zeros(size)
    for voice in chosen:
        mixed += np.resize(np.roll(at_level(voice, 0), random.randrange(len(voice))), size)
    return at_level(mixed, 0)
