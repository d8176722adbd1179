"""How late, and how often wrong: the completions of a conversation against the truth, and the figures of many.

Terms. A *cutoff* is a completion before the true end of the turn, 0.25 s allowed. It belongs to a hold when it
comes in the hold (or up to 0.25 s before), else it is one *in speech*: the engine was about to end the turn as
its user went on. *Latency* runs from the true acoustic end of the last word to the first completion behind it
(0.25 s before it allowed), until the user speaks again. A turn without one is *missed*; one later than 3 s is
*late*. Holds are pauses of 0.2 to 5 s inside a turn. A *prediction* stands when the completion follows it without a
`TurnResumed`: a bot that prepares its reply when it is predicted has had that much longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.endpointing.conversations import Conversation
from hearout_policies.events import Output, TurnAmended, TurnCompleted, TurnPredicted, TurnResumed

__all__ = ["COLLAR", "Figures", "Tally", "interval", "score"]

COLLAR = 0.25  # seconds by which a completion may come before the true end; TurnBench's
_HOLD = (0.2, 5.0)  # seconds; eot-bench's: shorter and longer pauses are not counted
_LATE = 3.0  # seconds; TurnBench's
_RESAMPLES = 400
_LEVEL = 1.96  # standard deviations: 95 %


@dataclass(slots=True)
class Tally:
    """Counts of some conversations; `merge` adds up.

    Attributes:
        latencies: seconds, one a turn; NaN where it was missed.
        predictions: likewise, to the prediction that stands; to the completion where there is none.
        cut: for each turn, whether it was cut off at least once.
        holds, cut_holds: pauses, and those with a completion in them.
        in_speech: completions before the end of a turn, but in no hold.
        late: completions after more than 3 s.
        duplicates: completions behind the first one after a turn.
        ghosts: completions with no word of any turn.
        predicted, resumed, amended: events of these kinds.
        missing: words that no completion of the turn has brought by the time of the latency.
        words: in all.
        unconfirmed: turns whose completion had words that were not final.
    """

    latencies: list[float] = field(default_factory=list)
    predictions: list[float] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    holds: int = 0
    cut_holds: int = 0
    in_speech: int = 0
    late: int = 0
    duplicates: int = 0
    ghosts: int = 0
    predicted: int = 0
    resumed: int = 0
    amended: int = 0
    missing: int = 0
    words: int = 0
    unconfirmed: int = 0

    def merge(self, other: Tally) -> None:
        self.latencies += other.latencies
        self.predictions += other.predictions
        self.cut += other.cut
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_COUNTS = (
    *("holds", "cut_holds", "in_speech", "late", "duplicates", "ghosts"),
    *("predicted", "resumed", "amended", "missing", "words", "unconfirmed"),
)


def score(conversation: Conversation, outputs: Sequence[Output]) -> Tally:
    """What the outputs of one machine are worth."""
    tally = Tally()
    completed = [output for output in outputs if isinstance(output, TurnCompleted)]
    tally.predicted = sum(isinstance(output, TurnPredicted) for output in outputs)
    tally.resumed = sum(isinstance(output, TurnResumed) for output in outputs)
    tally.amended = sum(isinstance(output, TurnAmended) for output in outputs)
    standing = _standing(outputs)
    known = {round(word.start, 2) for word in conversation.words}
    tally.ghosts = sum(not any(round(word.start, 2) in known for word in turn.words) for turn in completed)
    position = 0
    nexts = [turn.start for turn in conversation.turns[1:]] + [math.inf]
    for turn, following in zip(conversation.turns, nexts, strict=True):
        until = max(following, turn.end)
        while position < len(completed) and completed[position].at < turn.start:
            position += 1
        here = []
        while position < len(completed) and completed[position].at < until:
            here.append(completed[position])
            position += 1
        said = [word for word in turn.words if word.text]
        if not said:
            continue  # nothing but an "um" that the transcriber leaves out: there is no turn to complete
        early = [one for one in here if one.at < turn.end - COLLAR]
        after = here[len(early) :]
        holds = [hold for hold in turn.holds if hold[1] - hold[0] >= _HOLD[0]]
        counted = [hold for hold in holds if hold[1] - hold[0] <= _HOLD[1]]
        tally.holds += len(counted)
        tally.cut_holds += sum(any(start - COLLAR <= one.at < end for one in early) for start, end in counted)
        tally.in_speech += sum(not any(s - COLLAR <= one.at < e for s, e in holds) for one in early)
        tally.cut.append(bool(early))
        tally.latencies.append(after[0].at - turn.end if after else math.nan)
        tally.predictions.append(standing.get(after[0].turn, after[0].at) - turn.end if after else math.nan)
        tally.late += bool(after) and after[0].at > turn.end + _LATE
        tally.duplicates += max(0, len(after) - 1)
        tally.unconfirmed += bool(after) and not after[0].confirmed
        brought = {round(word.start, 2) for one in (*early, *after[:1]) for word in one.words}
        tally.words += len(said)
        tally.missing += sum(round(word.start, 2) not in brought for word in said) if after else 0
    return tally


def _standing(outputs: Sequence[Output]) -> dict[int, float]:
    """By the number of the turn: when its end was predicted, unless that was taken back."""
    out: dict[int, float] = {}
    for output in outputs:
        match output:
            case TurnPredicted():
                out[output.turn] = output.at
            case TurnResumed():
                out.pop(output.turn, None)
    return out


Interval = tuple[float, float]


def interval(count: int, of: int) -> Interval:
    """The 95 % confidence interval of a proportion (Wilson)."""
    if not of:
        return 0.0, 1.0
    share, z = count / of, _LEVEL
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def _middle(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a tally. Seconds, and shares of 1; intervals of 95 %.

    Attributes:
        p50, p90, p95: latency, over the turns that were not missed.
        p50_interval, p90_interval: bootstrap over turns.
        predicted_p50: seconds from the end of the turn to the prediction that stands, or else the completion.
        taken_back: predictions, of all.
        per_hold: cutoffs in holds; strictly before the user goes on.
        per_turn: turns with at least one cutoff, in a hold or in speech.
        missed: turns without a completion before the user speaks again.
        missing: words, of all words.
        in_speech, duplicates, ghosts, late, amended, unconfirmed: per turn.
    """

    turns: int
    holds: int
    p50: float
    p50_interval: Interval
    p90: float
    p90_interval: Interval
    p95: float
    mean: float
    predicted_p50: float
    taken_back: float
    per_hold: float
    per_hold_interval: Interval
    per_turn: float
    per_turn_interval: Interval
    missed: float
    missing: float
    in_speech: float
    duplicates: float
    ghosts: float
    late: float
    amended: float
    unconfirmed: float

    @classmethod
    def of(cls, tally: Tally, seed: int = 1, resamples: int = _RESAMPLES) -> Figures:
        """``resamples``: for the intervals of the latencies; 0: without."""
        turns = len(tally.latencies)
        latencies: npt.NDArray[np.float64] = np.array([one for one in tally.latencies if not math.isnan(one)])
        found = len(latencies)
        if found:
            p50, p90, p95 = (float(value) for value in np.percentile(latencies, (50, 90, 95)))
            # RandomState: its numbers stay the same in all versions of NumPy.
            intervals = [(p50, p50), (p90, p90)]
            if resamples:
                drawn = latencies[np.random.RandomState(seed).randint(found, size=(resamples, found))]
                halves, tenths = np.percentile(drawn, (50, 90), axis=1)
                intervals = [_middle(halves), _middle(tenths)]
            mean = float(latencies.mean())
            predicted = float(np.nanmedian(tally.predictions))
        else:
            p50 = p90 = p95 = mean = predicted = math.inf
            intervals = [(math.inf, math.inf)] * 2
        each = {name: getattr(tally, name) / max(1, turns) for name in cls.__dataclass_fields__ if name in _COUNTS}
        return cls(
            **(each | {"holds": tally.holds, "missing": tally.missing / max(1, tally.words)}),
            turns=turns,
            p50=p50,
            p50_interval=intervals[0],
            p90=p90,
            p90_interval=intervals[1],
            p95=p95,
            mean=mean,
            predicted_p50=predicted,
            taken_back=tally.resumed / max(1, tally.predicted),
            per_hold=tally.cut_holds / max(1, tally.holds),
            per_hold_interval=interval(tally.cut_holds, tally.holds),
            per_turn=sum(tally.cut) / max(1, turns),
            per_turn_interval=interval(sum(tally.cut), turns),
            missed=(turns - found) / max(1, turns),
        )
