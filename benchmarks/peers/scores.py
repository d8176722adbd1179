"""What came of the calls: which words were handed over when, and the table of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from benchmarks.peers.scenarios import Script

__all__ = ["Outcome", "TurnScore", "cell", "predictions_line", "read_run", "score", "table", "total"]


@dataclass(frozen=True)
class _Word:
    """A word handed over; ``turn`` numbers the hand-overs of a call."""

    text: str
    at: float
    turn: int
    amended: bool = False


@dataclass(frozen=True)
class TurnScore:
    """What came of one spoken turn.

    Attributes:
        pieces: hand-overs with words of it.
        cut_in: the first came before its last word had ended.
        lost: words of it that had not been handed over when the call ended.
        amended: some were added to it after it had been handed over.
        merged: they came together with words of another turn.
        stuck: it was not handed over, or not whole, before the user spoke again.
        latency: seconds from the end of its last word until all of it had been handed over; None when that never
            happened, or not in time.
    """

    pieces: int
    cut_in: bool
    lost: int
    amended: bool
    merged: bool
    stuck: bool
    latency: float | None

    @property
    def right(self) -> bool:
        """Handed over once, whole, by itself, and after it had ended."""
        return self.pieces == 1 and not (self.cut_in or self.lost or self.amended or self.merged or self.stuck)


@dataclass
class Outcome:
    """All turns of some calls.

    Attributes:
        doubled: words handed over that were not spoken, or had been handed over already.
        empty: hand-overs without a word.
        predicted: of the right turns that were predicted: seconds from the end of the last word to the prediction that
            stood.
        predictions: in all.
        taken_back: of them, because the user went on, or another came in its place.
    """

    turns: list[TurnScore] = field(default_factory=list)
    doubled: int = 0
    empty: int = 0
    predicted: list[float] = field(default_factory=list)
    predictions: int = 0
    taken_back: int = 0

    def add(self, other: Outcome) -> None:
        self.turns += other.turns
        self.doubled += other.doubled
        self.empty += other.empty
        self.predicted += other.predicted
        self.predictions += other.predictions
        self.taken_back += other.taken_back


def read_run(path: Path) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """The events of each call, their times counted from the first audio; and ``version`` and ``done`` of the run."""
    events: dict[str, list[dict[str, Any]]] = {}
    about: dict[str, Any] = {}
    began: dict[str, float] = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        if not event["call"]:
            about |= event
        elif event["event"] == "audio":
            began[event["call"]] = event["began"]
            events[event["call"]] = []
        else:
            events[event["call"]].append({**event, "t": event["t"] - began[event["call"]]})
    return events, about


def score(script: Script, events: Iterable[Mapping[str, Any]]) -> Outcome:
    """Compare what was handed over with what was spoken.

    The words are aligned in order: as many as possible, and none with one that had not been begun when it was handed
    over. Words added by an amendment count from then.
    """
    events = list(events)
    given, empty = _words(events)
    spoken = [
        (text, script.real(start), number) for number, turn in enumerate(script.turns) for text, start, _ in turn.words
    ]
    pairs = _align(spoken, given)
    of_turn: list[list[_Word]] = [[] for _ in script.turns]
    owners: dict[int, set[int]] = {}
    for index, word in pairs:
        of_turn[spoken[index][2]].append(word)
        owners.setdefault(word.turn, set()).add(spoken[index][2])
    outcome = Outcome(doubled=len(given) - len(pairs), empty=empty)
    for number, (turn, words) in enumerate(zip(script.turns, of_turn, strict=True)):
        end = script.real(turn.end)
        again = script.real(script.turns[number + 1].words[0][1]) if number + 1 < len(script.turns) else float("inf")
        lost = len(turn.words) - len(words)
        last = max((word.at for word in words), default=float("inf"))
        stuck = bool(last >= again) or not words
        outcome.turns.append(
            TurnScore(
                pieces=len({word.turn for word in words}),
                cut_in=any(word.at < end for word in words),
                lost=lost,
                amended=any(word.amended for word in words),
                merged=any(len(owners[word.turn]) > 1 for word in words),
                stuck=stuck,
                latency=None if stuck or lost else last - end,
            )
        )
    standing = _predictions(events, outcome)
    for number, spoken_turns in owners.items():
        turn_number = min(spoken_turns)
        if number in standing and outcome.turns[turn_number].right:
            outcome.predicted.append(standing[number] - script.real(script.turns[turn_number].end))
    return outcome


def _predictions(events: Iterable[Mapping[str, Any]], outcome: Outcome) -> dict[int, float]:
    """By the number of the hand-over: when the prediction came that stood until then. Counts all in ``outcome``."""
    standing: dict[int, float] = {}
    number, latest = 0, None
    for event in events:
        match event["event"]:
            case "predicted":
                outcome.predictions += 1
                outcome.taken_back += latest is not None
                latest = event["t"]
            case "taken back":
                outcome.taken_back += latest is not None
                latest = None
            case "turn":
                if latest is not None:
                    standing[number] = latest
                number, latest = number + 1, None
    return standing


def predictions_line(outcome: Outcome) -> str:
    """What a bot that begins its reply at a prediction has of it."""
    if not outcome.predictions:
        return "no predictions"
    median = f"{statistics.median(outcome.predicted):.2f} s" if outcome.predicted else "never"
    return (
        f"{len(outcome.predicted)} of {sum(turn.right for turn in outcome.turns)} right turns predicted, {median} "
        f"after their end in the median; {outcome.taken_back} of {outcome.predictions} predictions taken back"
    )


def _words(events: Iterable[Mapping[str, Any]]) -> tuple[list[_Word], int]:
    """The words handed over, in the order of their turns, and the number of hand-overs without any."""
    turns: list[list[_Word]] = []
    names: dict[Any, int] = {}
    empty = 0
    for event in events:
        if event["event"] not in ("turn", "amended"):
            continue
        words = [word.strip(".,?!").lower() for word in event["text"].split()]
        if event["event"] == "turn":
            empty += not words
            names[event.get("turn")] = len(turns)
            turns.append([_Word(word, event["t"], len(turns)) for word in words])
        else:
            number = names[event["turn"]]
            before = turns[number]
            kept = SequenceMatcher(None, [word.text for word in before], words, autojunk=False).get_matching_blocks()
            after = [_Word(word, event["t"], number, amended=True) for word in words]
            for block in kept:
                after[block.b : block.b + block.size] = before[block.a : block.a + block.size]
            turns[number] = after
    return [word for turn in turns for word in turn], empty


def _align(spoken: Sequence[tuple[str, float, int]], given: Sequence[_Word]) -> list[tuple[int, _Word]]:
    """The longest common subsequence, as (number of the spoken word, word handed over)."""

    def same(i: int, j: int) -> bool:
        return spoken[i][0] == given[j].text and spoken[i][1] < given[j].at

    best = [[0] * (len(given) + 1) for _ in range(len(spoken) + 1)]
    for i in range(len(spoken) - 1, -1, -1):
        for j in range(len(given) - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + 1 if same(i, j) else 0)
    pairs: list[tuple[int, _Word]] = []
    i = j = 0
    while i < len(spoken) and j < len(given):
        if same(i, j) and best[i][j] == best[i + 1][j + 1] + 1:
            pairs.append((i, given[j]))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def table(rows: Mapping[str, Mapping[str, Outcome]], titles: Mapping[str, str]) -> str:
    """Markdown: a row for each scenario, a column for each system; ``rows`` is outcomes by system and scenario."""
    lines = ["| | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for scenario, title in titles.items():
        lines.append(f"| {title} | " + " | ".join(cell(outcomes[scenario]) for outcomes in rows.values()) + " |")
    totals = []
    for outcomes in rows.values():
        totals.append(cell(total(outcomes.values()), latency=False))
    lines.append("| **all** | " + " | ".join(totals) + " |")
    return "\n".join(lines) + "\n"


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """All of them together."""
    whole = Outcome()
    for outcome in outcomes:
        whole.add(outcome)
    return whole


def cell(outcome: Outcome, *, latency: bool = True) -> str:
    """One cell: turns handed over right, the latency of those handed over whole, and what went wrong."""
    turns = outcome.turns
    parts = [f"**{sum(turn.right for turn in turns)}/{len(turns)}**"]
    latencies = [turn.latency for turn in turns if turn.latency is not None]
    if latencies and latency:
        parts.append(f"{statistics.median(latencies):.2f} ({max(latencies):.2f}) s")
    counts = {
        "split": sum(turn.pieces > 1 for turn in turns),
        "cut in": sum(turn.cut_in for turn in turns),
        "stuck": sum(turn.stuck for turn in turns),
        "amended": sum(turn.amended for turn in turns),
        "words lost": sum(turn.lost for turn in turns),
        "words doubled": outcome.doubled,
        "empty": outcome.empty,
    }
    faults = ", ".join(f"{n} {name.replace('words', 'word') if n == 1 else name}" for name, n in counts.items() if n)
    return "; ".join([" ".join(parts), faults] if faults else [" ".join(parts)])
