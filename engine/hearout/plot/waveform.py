"""The outline of the audio: how loud each moment of a channel was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BIN", "Waveform"]

#: Seconds that share one value: half a pixel of a page of 30 s.
BIN = 0.01

_FULL_SCALE = 32768


class Waveform:
    """The largest magnitude of each 10 ms of each channel, collected while the audio passes.

    An hour of one channel is 0.7 MB.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._frames = round(sample_rate * BIN)
        self._channels = channels
        self._rest = np.zeros((0, channels), np.int16)
        self._peaks: list[npt.NDArray[np.uint16]] = []

    def feed(self, pcm: bytes) -> None:
        """Linear16, channels interleaved, whole frames."""
        samples = np.concatenate([self._rest, np.frombuffer(pcm, "<i2").reshape(-1, self._channels)])
        whole = len(samples) // self._frames * self._frames
        bins = np.abs(samples[:whole].reshape(-1, self._frames, self._channels).astype(np.int32))
        if whole:
            self._peaks.append(bins.max(axis=1).astype(np.uint16))
        self._rest = samples[whole:]

    def peaks(self, channel: int) -> list[float]:
        """Of full scale, 0 to 1, one for each `BIN` from the beginning of the audio."""
        return [float(peak) / _FULL_SCALE for block in self._peaks for peak in block[:, channel]]
