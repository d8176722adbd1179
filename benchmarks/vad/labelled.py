"""Recordings of people, and where they speak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from benchmarks.endpointing.conversations import voiced_in
from benchmarks.endpointing.recorded import Recording, Sound, read
from benchmarks.people.folders import load
from benchmarks.people.sound import resampled
from benchmarks.vad.mixing import Signal, babble, level_of, make_noise
from benchmarks.vad.scores import Score, Span, hear
from hearout.errors import UsageError
from hearout.vad import SpeechGate

__all__ = ["CONDITIONS", "LEAST", "NOISES", "Labelled", "find", "labelled", "measure", "mixed"]

#: Kinds of noise.
NOISES = ("white", "pink", "babble")
#: So many recordings it takes for babble: one voice beside the speaker's is no babble.
LEAST = 3
#: What lies under the speech, and how far below it in dB.
CONDITIONS = (
    ("clean", 0),
    *((noise, snr) for noise in NOISES for snr in (20, 10, 5, 0)),
)


@dataclass(frozen=True, eq=False)
class Labelled:
    """One channel of sound and the stretches of speech in it, in seconds."""

    name: str
    sound: Sound
    rate: int
    spoken: tuple[Span, ...]

    @property
    def length(self) -> float:
        return len(self.sound) / self.rate

    @property
    def voice(self) -> Signal:
        """The speech without its pauses, full scale 1."""
        parts = [self.sound[round(start * self.rate) : round(end * self.rate)] for start, end in self.spoken]
        return np.concatenate(parts) / 32768


def find(directory: Path) -> list[Labelled]:
    """All recordings of a folder: ``NAME.wav`` with ``NAME.scv``, as TEN's test set has them, or what
    `benchmarks.people.folders` reads.

    Raises:
        UsageError: there are none, or the labels do not fit.
    """
    labels = sorted(directory.glob("*.scv"))
    if labels:
        return [_hand_labelled(path) for path in labels]
    return [labelled(one) for one in load(directory)]


def labelled(one: Recording) -> Labelled:
    """Its turns as stretches of speech."""
    return Labelled(one.key, one.sound, one.rate, tuple(span for turn in one.turns for span in voiced_in(turn)))


def _hand_labelled(path: Path) -> Labelled:
    """One line: a name, then start, end and 1 or 0, again and again; 1 is speech."""
    try:
        sound, rate = read(path.with_suffix(".wav"))
    except soundfile.LibsndfileError as error:
        raise UsageError(f"{path.with_suffix('.wav')}: not a usable audio file: {error.error_string}") from None
    try:
        _, *fields = path.read_text().strip().split(",")
        numbers = [float(field) for field in fields]
        rows = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
    except ValueError:
        raise UsageError(f"{path}: must be a name, and start, end, 0 or 1 of each stretch") from None
    spoken = tuple((start, end) for start, end, speech in rows if speech)
    if not spoken:
        raise UsageError(f"{path}: no speech in it")
    return Labelled(path.stem, sound[:, 0], rate, spoken)


def mixed(one: Labelled, others: Sequence[Labelled], noise: str, snr: float) -> bytes:
    """The recording with noise under it, so many dB below its speech; the same at every run."""
    if noise == "clean":
        return one.sound.tobytes()
    if noise == "babble":
        voices = [
            resampled((32767 * other.voice).astype(np.int16), other.rate, one.rate) / 32768
            for other in others
            if other is not one
        ]
        under = babble(voices, len(one.sound), Random(f"babble/{one.name}"))
    else:
        under = make_noise(noise, len(one.sound))
    whole = one.sound / 32768 + under * 10 ** ((level_of(one.voice) - snr) / 20)
    return np.clip(np.rint(whole * 32768), -32768, 32767).astype("<i2").tobytes()


def measure(
    recordings: Sequence[Labelled],
    others: Sequence[Labelled],
    gates: Mapping[str, Callable[[int], SpeechGate]],
    conditions: Sequence[tuple[str, float]] = CONDITIONS,
) -> Iterator[tuple[str, str, Score, float]]:
    """By condition and by detector: what was heard, and seconds of the processor for a second of audio.

    Args:
        others: whose voices are babble; each recording's own are not in its own.
        gates: by name of the detector.
        conditions: some of `CONDITIONS`.
    """
    for noise, snr in conditions:
        if noise == "babble" and len(others) < LEAST:
            continue
        pcms = [mixed(one, others, noise, snr) for one in recordings]
        for name, make in gates.items():
            score, spent = Score(), 0.0
            for one, pcm in zip(recordings, pcms, strict=True):
                gate = make(one.rate)
                before = time.process_time()
                heard = hear(gate, pcm, one.rate)
                spent += time.process_time() - before
                score.add(one.spoken, one.length, heard)
            yield noise if noise == "clean" else f"{noise}, {snr} dB", name, score, spent / score.seconds
