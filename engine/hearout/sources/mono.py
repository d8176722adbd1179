"""One voice on two channels: told from two speakers, and heard once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from hearout.audio import Samples
from hearout.sources.base import AudioSource

__all__ = ["LISTENS", "MOST_APART", "MOST_DELAYED", "SAME", "Likeness", "Mono", "Peeked"]

#: Seconds at the beginning that are compared: after them one speaker of a call seldom has spoken alone.
LISTENS = 60.0

#: The correlation from which on two channels are one voice. One voice on both has 1.00, as MP3 0.9999, with noise of
#: its own on each channel, 20 dB below the voice, 0.99; the two people of samples/two_people.flac have 0.00, and 0.945
#: with each as loud as -3 dB in the other's channel (tests/sources/test_mono.py).
SAME = 0.98

#: dB between the levels of the channels at most: a line leaks a voice into the other's channel weaker than that, and
#: while only one has spoken all the two channels have in common is the leak.
MOST_APART = 3.0

#: Seconds by which one channel may be behind the other: up to some 30 ms a voice and its repetition are heard as one
#: (H. Haas, "The influence of a single echo on the audibility of speech", 1951).
MOST_DELAYED = 0.03


@dataclass(frozen=True)
class Likeness:
    """How alike two channels are.

    Attributes:
        correlation: -1 to 1, with the delay at which it is strongest; below 0: one is upside down; 0 when a channel is
            digital silence.
        apart: dB between the levels of the channels; infinite when one of them is silent.
    """

    correlation: float
    apart: float

    @classmethod
    def of(cls, samples: Samples, sample_rate: int) -> Likeness:
        """Of samples of shape (frames, 2)."""
        left, right = samples.astype(np.float64).T
        powers = float(left @ left), float(right @ right)
        if not all(powers):
            return cls(0.0, math.inf)
        most = round(MOST_DELAYED * sample_rate)
        size = 1 << (len(left) + most).bit_length()  # a power of two is quick, and what is added keeps the ends apart
        both = np.fft.irfft(np.fft.rfft(left, size) * np.conj(np.fft.rfft(right, size)), size)
        near = np.concatenate([both[-most:], both[: most + 1]])
        strongest = float(near[np.argmax(np.abs(near))])
        return cls(strongest / math.sqrt(math.prod(powers)), abs(10 * math.log10(powers[0] / powers[1])))

    @property
    def one_voice(self) -> bool:
        """Whether both say the same, equally loud."""
        return self.same and self.apart <= MOST_APART

    @property
    def same(self) -> bool:
        """Whether both say the same, one of them softer perhaps: one voice, or the leak of one who alone has spoken."""
        return abs(self.correlation) >= SAME


class Peeked:
    """The same audio, of which `peek` can read the beginning before it is heard.

    For what gives its audio as fast as it is read, such as a file: what was peeked at is kept until it is heard.
    """

    def __init__(self, source: AudioSource) -> None:
        self.sample_rate, self.channels, self.duration = source.sample_rate, source.channels, source.duration
        self._chunks = aiter(source)
        self._kept: deque[bytes] = deque()
        self._error: Exception | None = None  # comes after the audio before it

    async def peek(self, seconds: float) -> Samples:
        """So much of the beginning, less if there is no more; shape (frames, channels)."""
        missing = round(seconds * self.sample_rate) * 2 * self.channels
        while missing > 0:
            try:
                self._kept.append(await anext(self._chunks))
            except StopAsyncIteration:
                break
            except Exception as error:
                self._error = error
                break
            missing -= len(self._kept[-1])
        return np.frombuffer(b"".join(self._kept), "<i2").reshape(-1, self.channels)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._kept:
            return self._kept.popleft()
        if self._error is not None:
            raise self._error
        return await anext(self._chunks)


class Mono:
    """Several channels as one.

    Args:
        channel: the one that is heard; None: their mean, in which what one channel alone says is 1/n as loud.
    """

    channels = 1

    def __init__(self, source: AudioSource, channel: int | None = None) -> None:
        self.sample_rate, self.duration = source.sample_rate, source.duration
        self._chunks, self._channels, self._channel = aiter(source), source.channels, channel

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        samples: Samples = np.frombuffer(await anext(self._chunks), "<i2").reshape(-1, self._channels)
        if self._channel is not None:
            return samples[:, self._channel].tobytes()
        mixed: Samples = np.rint(samples.mean(axis=1)).astype(np.int16)
        return mixed.tobytes()
