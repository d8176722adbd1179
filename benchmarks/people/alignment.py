"""A text laid over its sound by the aligner of the local recogniser."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from benchmarks.endpointing.conversations import SpokenWord
from benchmarks.endpointing.recorded import Sound
from benchmarks.people.sound import resampled
from hearout.sttserver.recogniser.whisper import LONGEST, Whisper

__all__ = ["aligned"]

_HESITATED = re.compile(r"<hes-(.+)>")  # the Montreal Forced Aligner's mark for a word that is drawn out or broken
_NOT_SPOKEN = re.compile(r"[^\w'<>]+")
_RATE = 16_000


def aligned(sound: Sound, rate: int, text: str) -> list[SpokenWord] | None:
    """The words as they are written, with their times in seconds; None: the text does not fit."""
    written = [_HESITATED.sub(r"\1", word) for word in text.split()]
    written = [word for word in written if _spoken(word)]
    samples = resampled(sound, rate, _RATE).astype(np.float32) / np.float32(32768)
    if not written or len(samples) > LONGEST * _RATE:
        return None
    heard = _whisper().align(samples, " ".join(_spoken(word) for word in written))
    if len(heard) != len(written):
        return None
    return [SpokenWord(word, found.start, found.end) for word, found in zip(written, heard, strict=True)]


@cache
def _whisper() -> Whisper:
    return Whisper()


def _spoken(word: str) -> str:
    return _NOT_SPOKEN.sub("", word).lower()
