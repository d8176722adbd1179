"""Recognisers, one for each channel of each connection, that share a model.

Whisper hears a stretch of audio as a whole. So the audio of the open utterance is kept, and decoded again and again:
about once a second as long as it goes on, and when it ends. What ends waits for a core; what is in between, and finds
no core free, is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import trio

from hearout.ear.features import Samples
from hearout.sttserver.recogniser.pcm import RATE
from hearout.sttserver.recogniser.whisper import FRAME, LONGEST, Whisper, sounding
from hearout.sttserver.steps import HeardWord

__all__ = ["Recogniser", "RecogniserFailed", "RecogniserPool", "well_served"]

_EVERY = 0.8  # seconds of audio between two decodings; Deepgram's interim results come once a second
_SURE = 5.0  # seconds: words so far before the end of a stretch that is too long do not change any more

#: Live sessions. With eight on a core an answer to Finalize took 1.1 s in the median, with six 0.4 s
#: (``python -m benchmarks.recogniser_live``, Whisper tiny.en, 2.5 GHz; docs/stt-server.md).
_SERVED_BY_A_CORE = 6


def well_served() -> int:
    """How many live sessions this machine answers in time."""
    return _SERVED_BY_A_CORE * _cores()


def _cores() -> int:
    return os.cpu_count() or 1


class RecogniserFailed(Exception):
    """The model could not decode."""


class SpeechModel(Protocol):
    """What recognisers share."""

    def hear(self, samples: Samples) -> list[HeardWord]: ...


class RecogniserPool:
    """Makes recognisers, and gives them cores.

    Args:
        load: makes the model; called once, in a thread.
        cores: how many may decode at once.
    """

    def __init__(self, load: Callable[[], SpeechModel], cores: int) -> None:
        self._load = load
        self._model: SpeechModel | None = None
        self._loading = trio.Lock()
        self._cores = trio.CapacityLimiter(cores)

    @classmethod
    def of_whisper(cls, path: Path | None = None, *, language: str = "en") -> RecogniserPool:
        """All cores of this machine for a `Whisper`."""
        cores = _cores()
        return cls(partial(Whisper, path, language=language, threads=cores), cores)

    async def warm_up(self) -> None:
        """Load the model, if it is not loaded.

        Raises:
            UsageError: it cannot be.
        """
        async with self._loading:
            if self._model is None:
                self._model = await trio.to_thread.run_sync(self._load)

    async def lend(self, count: int) -> list[Recogniser]:
        """``count`` recognisers that have heard nothing; raises what `warm_up` does."""
        if count:
            await self.warm_up()
        return [Recogniser(self) for _ in range(count)]

    @property
    def busy(self) -> bool:
        """Who wants to decode now has to wait."""
        return self._cores.available_tokens == 0

    async def hear(self, samples: Samples) -> list[HeardWord]:
        """The words of some audio, when a core is free.

        Raises:
            RecogniserFailed: the model could not do it.
        """
        assert self._model is not None
        try:
            return await trio.to_thread.run_sync(self._model.hear, samples, limiter=self._cores)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise RecogniserFailed(str(error)) from None


class Recogniser:
    """The open utterance of one channel."""

    def __init__(self, pool: RecogniserPool) -> None:
        self._pool = pool
        self._forget()

    def _forget(self) -> None:
        self._pcm = bytearray()  # of the utterance, but for what is settled
        self._settled: list[HeardWord] = []  # of a long utterance: its first words
        self._begin = 0.0  # seconds of the utterance before ``_pcm``
        self._decoded = 0  # bytes of ``_pcm`` that ``_words`` are of
        self._words: list[HeardWord] = []

    def decode(self, pcm: bytes) -> None:
        """Take audio: linear16, mono, 16 kHz. Begins an utterance if none is open."""
        self._pcm += pcm

    async def words(self, *, ends: bool, pauses: bool = False) -> list[HeardWord]:
        """The words of the utterance so far or, when it ``ends``, for good.

        Args:
            pauses: it may end here: its words are to be as good as at its end.

        Raises:
            RecogniserFailed: the model could not do it.
        """
        due = pauses or (len(self._pcm) - self._decoded >= 2 * RATE * _EVERY)
        if (ends or (due and not self._pool.busy)) and self._has_news():
            await self._hear()
        words = [*self._settled, *self._words]
        if ends:
            self._forget()
        elif words and not pauses:
            # What is cut off gets a full stop, as if it were all.
            words[-1] = replace(words[-1], text=_open(words[-1].text))
        return words

    def _has_news(self) -> bool:
        """Something was said since it was decoded."""
        return bool(sounding(_samples(self._pcm))[round(self._decoded / (2 * RATE * FRAME)) :].any())

    async def _hear(self) -> None:
        longest = round(LONGEST * RATE) * 2
        while True:
            pcm = bytes(self._pcm[:longest])
            heard = await self._pool.hear(_samples(pcm))
            self._words = [replace(w, start=w.start + self._begin, end=w.end + self._begin) for w in heard]
            self._decoded = len(pcm)
            if len(self._pcm) <= longest:
                return
            until = self._begin + LONGEST - _SURE
            sure = [word for word in self._words if word.end <= until]
            cut = round(((sure[-1].end if sure else until) - self._begin) * RATE) * 2
            self._settled += sure
            self._begin += cut / (2 * RATE)
            del self._pcm[:cut]


def _samples(pcm: bytes | bytearray) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


def _open(text: str) -> str:
    return text.rstrip(".?!") or text
