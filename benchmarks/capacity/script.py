"""What is said in every call of the load test: one recording, over and over, with its true words and times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FRAME", "RATE", "Talk", "load_talk", "write_pcm"]

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


def load_talk(pcm: Path | None = None) -> Talk:
    """The recording, with 2 s of silence behind it, so that its last turn is over before the next round begins.

    ``pcm`` is a file that `write_pcm` wrote, for environments in which nothing reads FLAC.
    """
    truth = json.loads((_SAMPLES / "order.json").read_text())
    samples = _samples(truth["file"]) if pcm is None else pcm.read_bytes()
    step = 2 * round(RATE * FRAME)
    samples += bytes(2 * RATE * 2)
    samples = samples[: len(samples) // step * step]
    words = tuple((word["text"], word["start"], word["end"]) for turn in truth["turns"] for word in turn["words"])
    turns = tuple((turn["end"], turn["text"]) for turn in truth["turns"])
    return Talk(samples, words, turns, len(samples) / 2 / RATE)


def write_pcm(path: Path) -> None:
    """The samples of the recording alone."""
    path.write_bytes(_samples(json.loads((_SAMPLES / "order.json").read_text())["file"]))


def _samples(name: str) -> bytes:
    import soundfile

    samples, rate = soundfile.read(_SAMPLES / name, dtype="int16")
    assert rate == RATE
    return bytes(samples.tobytes())
