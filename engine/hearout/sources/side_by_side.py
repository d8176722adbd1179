"""Two recordings of one call, one a speaker, as two channels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np
import numpy.typing as npt

from hearout.audio import Resampler
from hearout.sources.base import AudioSource

__all__ = ["SideBySide"]


class SideBySide:
    """Sources of one channel each, which began at the same moment, as the channels of one.

    Those of a lower rate are brought to the highest (``pip install 'hearout[cli]'``), and those that end sooner go on
    in silence. Not for what is live: each block waits for all of them.
    """

    def __init__(self, sources: Sequence[AudioSource]) -> None:
        self._sources = sources
        self.sample_rate = max(source.sample_rate for source in sources)
        self.channels = len(sources)
        durations = [source.duration for source in sources if source.duration is not None]
        self.duration: float | None = max(durations) if len(durations) == len(sources) else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        tracks = [_Track(source, self.sample_rate) for source in self._sources]
        while True:
            for track in tracks:
                await track.fill()
            running = [len(track.samples) for track in tracks if not track.ended]
            count = min(running) if running else max(len(track.samples) for track in tracks)
            if not count:
                return
            yield np.stack([track.take(count) for track in tracks], axis=1).tobytes()


class _Track:
    """What of one source was not given yet."""

    def __init__(self, source: AudioSource, sample_rate: int) -> None:
        self._chunks = aiter(source)
        self._resampler = Resampler(source.sample_rate, sample_rate, 1)
        self.samples = np.zeros(0, np.int16)
        self.ended = False

    async def fill(self) -> None:
        """Until there is some, or no more."""
        while not self.ended and not len(self.samples):
            try:
                chunk = np.frombuffer(await anext(self._chunks), "<i2").reshape(-1, 1)
            except StopAsyncIteration:
                chunk, self.ended = np.zeros((0, 1), np.int16), True
            more = self._resampler.feed(chunk, last=self.ended)
            self.samples = np.concatenate([self.samples, more[:, 0]])

    def take(self, count: int) -> npt.NDArray[np.int16]:
        """So many samples, silence where there are no more."""
        given, self.samples = self.samples[:count], self.samples[count:]
        return np.pad(given, (0, count - len(given)))
