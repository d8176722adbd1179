"""The client's audio, of any encoding, rate and number of channels, to what the recogniser wants."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["ENCODINGS", "RATE", "PcmReader"]

RATE = 16_000
"""Sample rate of the recogniser's acoustic model, in Hz."""

ENCODINGS = ("linear16", "mulaw", "alaw")

Samples = NDArray[np.int16]


def _mulaw() -> Samples:
    """The 256 values of ITU-T G.711 mu-law."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4 & 7).astype(np.int32)
    magnitude = (((code & 15).astype(np.int32) << 3) + 0x84 << exponent) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw() -> Samples:
    """The 256 values of ITU-T G.711 A-law."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = (code >> 4 & 7).astype(np.int32)
    mantissa = ((code & 15).astype(np.int32) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES = {"mulaw": _mulaw(), "alaw": _alaw()}


class PcmReader:
    """Bytes of any length in, linear16 mono at 16 kHz out, for each channel.

    Args:
        encoding: one of `ENCODINGS`.
        sample_rate: in Hz.
        channels: how many are interleaved in the input.
        mix: give their mean as one channel.
    """

    def __init__(self, encoding: str, sample_rate: int, channels: int = 1, *, mix: bool = False) -> None:
        self._table = _TABLES.get(encoding)
        self._channels = channels
        self._mix = mix
        self._left = b""
        self.outputs = 1 if mix else channels
        # Cubic interpolation holds back 0.25 ms at 8 kHz where the filters hold back 25-66 ms, which would add
        # to every answer. Going down it would alias, and there even the short filter is quick enough (6-20 ms).
        self._quality = "QQ" if sample_rate < RATE else "LQ"
        self._sample_rate = sample_rate
        self._resamplers = self._new_resamplers()

    def feed(self, data: bytes) -> list[bytes]:
        """The audio of each channel, as far as it is whole; a split sample waits for the rest of its bytes."""
        data = self._left + data
        size = self._channels * (2 if self._table is None else 1)
        whole = len(data) - len(data) % size
        self._left = data[whole:]
        if self._table is None:
            samples = np.frombuffer(data[:whole], "<i2")
        else:
            samples = self._table[np.frombuffer(data[:whole], np.uint8)]
        frames = samples.reshape(-1, self._channels)
        if self._mix:
            frames = frames.mean(axis=1, dtype=np.float32).astype(np.int16).reshape(-1, 1)
        return self._resample([np.ascontiguousarray(column) for column in frames.T], last=False)

    def flush(self) -> list[bytes]:
        """What the resamplers still hold back. More audio may follow."""
        return self._resample([np.empty(0, np.int16)] * self.outputs, last=True)

    def _resample(self, columns: list[Samples], *, last: bool) -> list[bytes]:
        if self._sample_rate == RATE:
            return [column.tobytes() for column in columns]
        out = [
            resampler.resample_chunk(column, last=last).tobytes()
            for resampler, column in zip(self._resamplers, columns, strict=True)
        ]
        if last:
            self._resamplers = self._new_resamplers()
        return out

    def _new_resamplers(self) -> list[soxr.ResampleStream]:
        return [
            soxr.ResampleStream(self._sample_rate, RATE, 1, dtype="int16", quality=self._quality)
            for _ in range(self.outputs)
        ]
