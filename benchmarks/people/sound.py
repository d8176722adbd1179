"""Sound made ready: one channel, at a rate for the voice detection, and where it is as loud as speech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import soxr

from benchmarks.endpointing.conversations import Span, SpokenWord
from benchmarks.endpointing.recorded import Sound

__all__ = ["FRAME", "LEAD", "line_noise", "loud", "ready", "resampled", "spans", "trimmed"]

FRAME = 0.01  # seconds
LEAD = 0.5  # seconds of silence in front, in which the voice detection gets to know the line
_PAUSE = 0.18  # seconds; shorter gaps are none, as in the labels of the call
_SHORTEST = 0.08  # seconds of speech, likewise
_RATES = (8000, 16000, 32000, 48000)


def ready(sound: Sound, rate: int) -> tuple[Sound, int]:
    """The first channel at a rate for the voice detection, with `LEAD` seconds of its own line in front."""
    mono = sound[:, 0] if sound.ndim > 1 else sound
    if rate not in _RATES:
        mono, rate = resampled(mono, rate, 16_000), 16_000
    return np.concatenate([line_noise(mono, round(LEAD * rate)), mono]), rate


def resampled(sound: Sound, rate: int, to: int) -> Sound:
    if rate == to:
        return sound
    return np.clip(np.round(soxr.resample(sound.astype(np.float32), rate, to)), -32768, 32767).astype(np.int16)


def line_noise(sound: Sound, samples: int) -> Sound:
    """White noise, as loud as the sound is where it is quietest."""
    quiet = max(1.0, float(np.percentile(np.abs(sound), 10)))
    return np.random.RandomState(len(sound)).normal(0, quiet, samples).astype(np.int16)


def loud(sound: Sound, rate: int) -> list[bool]:
    """By frame: as loud as speech. The rule of the call's labels: 30 dB below the loudest, 10 dB above the quietest."""
    size = round(FRAME * rate)
    frames = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-3)
    own = level[round(LEAD / FRAME) :]
    if not len(own):
        return []
    threshold = max(np.percentile(own, 95) - 30, np.percentile(own, 10) + 10)
    return [bool(value) for value in level >= threshold]


def spans(loud_frames: Sequence[bool]) -> Iterator[Span]:
    """Stretches of speech, the gaps of less than a pause bridged."""
    start = last = None
    for number, here in enumerate([*loud_frames, *[False] * round(_PAUSE / FRAME)]):
        if here:
            start, last = number if start is None else start, number
        elif start is not None and last is not None and number - last >= _PAUSE / FRAME:
            if last + 1 - start >= _SHORTEST / FRAME:
                yield round(start * FRAME, 2), round((last + 1) * FRAME, 2)
            start = None


def trimmed(word: SpokenWord, loud_frames: Sequence[bool]) -> SpokenWord:
    """Without the silence that an aligner gives to words."""
    first, stop = round(word.start / FRAME), round(word.end / FRAME)
    voiced = [number for number in range(first, min(stop, len(loud_frames))) if loud_frames[number]]
    if not voiced:
        return word
    return SpokenWord(word.text, round(voiced[0] * FRAME, 2), round((voiced[-1] + 1) * FRAME, 2))
