"""What is said in every call of the load test: one recording, over and over, with its true words and times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

__all__ = ["FRAME", "RATE", "Talk", "load_talk"]

RATE = 16000
FRAME = 0.02  # seconds: what a telephone line or a media server delivers at a time
_SAMPLES = Path(__file__).parents[2] / "samples"


@dataclass(frozen=True)
class Talk:
    """The recording.

    Attributes:
        pcm: linear16 mono, whole frames of `FRAME`.
        words: (text, start, end), seconds.
        turns: the true end of each turn in seconds, and its text.
        length: seconds.
    """

    pcm: bytes
    words: tuple[tuple[str, float, float], ...]
    turns: tuple[tuple[float, str], ...]
    length: float

    def frame(self, number: int) -> bytes:
        """One frame; behind the end it begins again."""
        size = 2 * round(RATE * FRAME)
        start = number * size % len(self.pcm)
        return self.pcm[start : start + size]


@cache
def load_talk() -> Talk:
    import soundfile

    truth = json.loads((_SAMPLES / "order.json").read_text())
    samples, rate = soundfile.read(_SAMPLES / truth["file"], dtype="int16")
    assert rate == RATE
    step = round(RATE * FRAME)
    # Room at the end, so that the last turn of one round is over before the next round begins.
    samples = np.concatenate([samples, np.zeros(2 * RATE, np.int16)])
    samples = samples[: len(samples) // step * step]
    words = tuple((word["text"], word["start"], word["end"]) for turn in truth["turns"] for word in turn["words"])
    turns = tuple((turn["end"], turn["text"]) for turn in truth["turns"])
    return Talk(samples.tobytes(), words, turns, len(samples) / RATE)
