"""The client's audio, of any encoding, rate and number of channels, to what the recogniser wants."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from hearout.audio import AudioFormat, Decoder, Encoding, Samples, deinterleave, to_int16
from hearout.extras import needs_extra

__all__ = ["ENCODINGS", "RATE", "PcmReader"]

RATE = 16_000
"""Sample rate of the recogniser's acoustic model, in Hz."""

ENCODINGS: tuple[str, ...] = get_args(Encoding)


class PcmReader:
    """Bytes of any length in, linear16 mono at 16 kHz out, for each channel.

    Args:
        format: what the bytes mean.
        mix: give the mean of the channels as one.

    Raises:
        UsageError: soxr is missing, and the rate is not 16 kHz.
    """

    def __init__(self, format: AudioFormat, *, mix: bool = False) -> None:
        self._decoder = Decoder(format)
        self._rate = format.sample_rate
        self._mix = mix
        self._outputs = 1 if mix else format.channels
        self._resampler = self._new_resampler()

    def feed(self, data: bytes) -> list[bytes]:
        """The audio of each channel, as far as it is whole; a split sample waits for the rest of its bytes."""
        samples = self._decoder.feed(data)
        if self._mix:
            samples = samples.mean(axis=1, keepdims=True, dtype=np.float32).astype(np.int16)
        return self._resample(samples)

    def flush(self) -> list[bytes]:
        """What the resampler still holds back. More audio may follow."""
        out = self._resample(np.empty((0, self._outputs), np.int16), last=True)
        self._resampler = self._new_resampler()
        return out

    def _resample(self, samples: Samples, *, last: bool = False) -> list[bytes]:
        if self._resampler is not None:
            # In floating point: for int16 soxr adds a dither that is different each time.
            samples = to_int16(self._resampler.resample_chunk(samples.astype(np.float32), last=last))
        return deinterleave(samples.tobytes(), self._outputs)

    def _new_resampler(self) -> Any:
        if self._rate == RATE:
            return None
        with needs_extra("cli", f"recognising {self._rate} Hz audio"):
            import soxr
        # Going up, cubic interpolation holds back 0.25 ms where the filters hold back 25 to 66 ms of 8 kHz audio,
        # which would add to every answer, and it costs no words. Going down it would alias; there even the short
        # filter is quick enough (6 to 20 ms).
        quality = "QQ" if self._rate < RATE else "LQ"
        return soxr.ResampleStream(self._rate, RATE, self._outputs, dtype="float32", quality=quality)
