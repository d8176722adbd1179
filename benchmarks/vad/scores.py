"""What is heard of speech whose place is known.

missed: share of the speech that is not within the edges. false: share of the silence that is, beyond 0.1 s before
and 0.2 s after speech. F1: of the two on all frames of 10 ms, without that margin. onset, end: error of the edges in
ms, median and 90th percentile of its size; minus is too early. An end that is more than 0.6 s late does not count
there: it shows as false speech, and as an end not found. told: how long after the true end the stop is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hearout.vad import SpeechGate

__all__ = ["QUANTILES", "Heard", "Score", "Span", "hear", "near"]

Span = tuple[float, float]  # seconds

#: Per cent, of the errors of ends in the table of `benchmarks.vad.labelled`.
QUANTILES = (10, 25, 50, 75, 90)

_PAUSE = 0.3  # seconds; a shorter gap in the truth has no end and no onset: the gate bridges it
_BLOCK = 0.02  # seconds, fed at a time


@dataclass(frozen=True, slots=True)
class Heard:
    """A stretch of speech as the turn machine is told it, and when its end was noticed. Seconds."""

    start: float
    end: float
    told: float


def hear(gate: SpeechGate, pcm: bytes, rate: int) -> list[Heard]:
    found = []
    size = 2 * round(_BLOCK * rate)
    start = 0.0
    for position in range(0, len(pcm), size):
        for edge in gate.feed(pcm[position : position + size]):
            if edge.kind == "start":
                start = edge.audio
            elif edge.kind == "stop":
                found.append(Heard(start, edge.audio, gate.heard))
    return found + [Heard(start, edge.audio, gate.heard) for edge in gate.flush()]


@dataclass
class Score:
    """Sums over recordings: of frames of 10 ms, and the errors of edges in seconds."""

    speech: int = 0
    missed: int = 0
    silence: int = 0  # beyond the margin, as is the next
    false: int = 0
    wrong: int = 0  # frames heard as speech that are none, margin or not
    ends_there: int = 0
    false_starts: int = 0
    seconds: float = 0.0
    onsets: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)

    def add(self, spoken: Sequence[Span], length: float, heard: Sequence[Heard]) -> None:
        """One recording of so many seconds."""
        steps = round(length * 100) + 1
        found = [(one.start, one.end) for one in heard]
        said, told = _mark(spoken, steps), _mark(found, steps)
        silent = ~_mark([(start - 0.1, end + 0.2) for start, end in spoken], steps)
        self.speech += int(said.sum())
        self.missed += int((said & ~told).sum())
        self.silence += int(silent.sum())
        self.false += int((silent & told).sum())
        self.wrong += int((told & ~said).sum())
        self.false_starts += sum(not near(span, spoken, 0.15) for span in found)
        self.seconds += length
        for start, end in _bridged(spoken):
            here = [one for one in heard if one.start < end and one.end > start]
            if here and here[0].start > start - 0.5:
                self.onsets.append(here[0].start - start)
            if end > length - 0.6:
                continue  # the recording ends first
            self.ends_there += 1
            if here and here[-1].end < end + 0.6:
                self.ends.append(here[-1].end - end)
                self.told.append(here[-1].told - end)

    @property
    def f1(self) -> float:
        right = self.speech - self.missed
        return 2 * right / max(1, 2 * right + self.wrong + self.missed)

    def shares(self) -> str:
        return f"{100 * self.missed / self.speech:.0f} / {100 * self.false / max(1, self.silence):.0f}"

    def errors(self) -> str:
        return f"{_in_ms(self.onsets)}, {_in_ms(self.ends)}"

    def row(self) -> str:
        """Cells of the table of `benchmarks.vad.labelled`."""
        ends = f"{100 * len(self.ends) / max(1, self.ends_there):.0f}"
        false_starts = f"{60 * self.false_starts / self.seconds:.1f}"
        cells = [f"{self.f1:.3f}", self.shares(), false_starts, _in_ms(self.onsets), ends]
        return " | ".join([*cells, _quantiles(self.ends), _quantiles(self.told)])


def near(span: Span, others: Iterable[Span], distance: float) -> bool:
    return any(span[0] < end + distance and span[1] > start - distance for start, end in others)


def _bridged(spoken: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for start, end in sorted(spoken):
        if found and start - found[-1][1] < _PAUSE:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _mark(spans: Iterable[Span], steps: int) -> npt.NDArray[np.bool_]:
    marked = np.zeros(steps, bool)
    for start, end in spans:
        marked[max(0, round(start * 100)) : round(end * 100)] = True
    return marked


def _in_ms(errors: Sequence[float]) -> str:
    if not errors:
        return "none"
    return f"{1000 * np.median(errors):.0f} ({1000 * np.percentile(np.abs(errors), 90):.0f})"


def _quantiles(errors: Sequence[float]) -> str:
    """As `QUANTILES` says, in ms, with their signs."""
    return ", ".join(f"{1000 * value:.0f}" for value in np.percentile(errors, QUANTILES)) if errors else "none"
