"""PCM: what the bytes of a stream mean, and how they become linear16 at a rate the rest works with.

Inside hearout audio is linear16, little-endian, channels interleaved, at 8 or 16 kHz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.writing import shown

if TYPE_CHECKING:
    import soxr

__all__ = [
    "FULL_SCALE",
    "AudioFormat",
    "Decoder",
    "Encoding",
    "Resampler",
    "Samples",
    "dbfs",
    "deinterleave",
    "to_int16",
    "working_rate",
]

FULL_SCALE = 32768

#: linear16 samples, shape (frames, channels)
Samples = npt.NDArray[np.int16]

Encoding = Literal["linear16", "mulaw", "alaw"]

# Telephony is 8 kHz, some old voice mail 4 kHz-something; studio gear ends at 192 kHz.
_RATES = range(4000, 192_001)
_CHANNELS = range(1, 33)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What the bytes of a raw stream mean.

    Attributes:
        encoding: linear16 is little-endian; mulaw and alaw are those of G.711.
        sample_rate: Hz.

    Raises:
        UsageError: a value that makes no sense.
    """

    encoding: Encoding = "linear16"
    sample_rate: int = 16_000
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in get_args(Encoding):
            known = ", ".join(get_args(Encoding))
            raise UsageError(f"unknown encoding {shown(self.encoding)}: it must be one of {known}")
        if self.sample_rate not in _RATES:
            raise UsageError(
                f"unsupported sample rate {shown(self.sample_rate)} Hz: it must be {_RATES[0]} to {_RATES[-1]} Hz"
            )
        if self.channels not in _CHANNELS:
            raise UsageError(f"{shown(self.channels)} channels: there must be {_CHANNELS[0]} to {_CHANNELS[-1]}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * (2 if self.encoding == "linear16" else 1)


def working_rate(sample_rate: int) -> int:
    """The rate in Hz at which audio of ``sample_rate`` is worked on.

    8 kHz stays: every later stage takes it, and resampling it to 16 kHz would hold back up to 61 ms of
    it for nothing.
    """
    return 8000 if sample_rate <= 8000 else 16_000


def _g711_tables() -> dict[str, npt.NDArray[np.int16]]:
    # ITU-T G.711: sign, 3 bits of exponent, 4 bits of mantissa, all or every second bit inverted.
    mulaw = np.arange(256) ^ 0xFF
    magnitude = ((((mulaw & 0x0F) << 3) + 0x84) << (mulaw >> 4 & 7)) - 0x84
    mulaw_table = np.where(mulaw & 0x80, -magnitude, magnitude)

    alaw = np.arange(256) ^ 0x55
    exponent, mantissa = alaw >> 4 & 7, (alaw & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    alaw_table = np.where(alaw & 0x80, magnitude, -magnitude)

    return {"mulaw": mulaw_table.astype(np.int16), "alaw": alaw_table.astype(np.int16)}


_G711 = _g711_tables()


class Decoder:
    """Turns the bytes of a raw stream into samples, wherever the stream was cut."""

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._rest = b""
        self._frames = 0

    def feed(self, data: bytes) -> Samples:
        """The samples that are complete by now: shape (frames, channels), maybe (0, channels)."""
        if self._rest:
            data = self._rest + data
        frames, odd = divmod(len(data), self._format.frame_bytes)
        self._frames += frames
        self._rest = data[len(data) - odd :]
        whole = data[: len(data) - odd] if odd else data
        if self._format.encoding == "linear16":
            samples = np.frombuffer(whole, "<i2").astype(np.int16, copy=False)
        else:
            samples = _G711[self._format.encoding][np.frombuffer(whole, np.uint8)]
        return samples.reshape(-1, self._format.channels)

    def finish(self, name: str) -> None:
        """No byte will come any more.

        Raises:
            UsageError: the stream ended inside a sample, so perhaps none of its bytes were what we took them for.
        """
        if self._rest:
            f = self._format
            raise UsageError(
                f"{name} ended inside a sample: {len(self._rest)} odd trailing byte(s) after {self._frames} frames of "
                f"{f.frame_bytes} bytes ({f.encoding}, {f.channels} channel(s)); check --encoding and --channels"
            )


class Resampler:
    """Streaming conversion from one rate to another; passes the samples through when there is none to do.

    Raises:
        UsageError: soxr, which does the work, is not installed.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._channels = channels
        self._stream: soxr.ResampleStream | None = None
        if source_rate != target_rate:
            with needs_extra("cli", f"resampling {source_rate} Hz audio to {target_rate} Hz"):
                import soxr
            # LQ holds back up to 22 ms of 24, 44.1 and 48 kHz audio, VHQ 84 ms: all of it latency of the turn.
            # As float, because to integers soxr adds a dither that is another one in each run.
            self._stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="LQ")

    def feed(self, samples: Samples, last: bool = False) -> Samples:
        """The samples that can be told by now; all that are left when ``last``. Shape (frames, channels)."""
        if self._stream is None:
            return samples
        resampled = self._stream.resample_chunk(samples.astype(np.float32), last=last)
        return to_int16(resampled).reshape(-1, self._channels)


def to_int16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Round, and clip where it would wrap: full scale is 32768."""
    return np.clip(np.rint(values), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def deinterleave(pcm: bytes, channels: int) -> list[bytes]:
    """Split linear16 PCM of whole frames into its channels."""
    if channels == 1:
        return [pcm]
    samples = np.frombuffer(pcm, np.int16).reshape(-1, channels)
    return [samples[:, channel].tobytes() for channel in range(channels)]


def dbfs(pcm: bytes) -> float:
    """Root mean square level of linear16 PCM in dB below full scale; -inf for digital silence and for nothing."""
    samples = np.frombuffer(pcm, np.int16).astype(np.float64)
    energy = float(samples.dot(samples))
    return 10 * math.log10(energy / samples.size / FULL_SCALE**2) if energy else -math.inf
