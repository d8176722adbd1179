"""How late and how often wrong, on recordings of people.

    python -m benchmarks.people DIR [DIR ...] [--no-ear] [--json FILE]

Real sound goes through the real voice detection and, unless told otherwise, the real ear; a simulated Deepgram knows
the words and has realistic delays; the real turn machine decides, in virtual time (`benchmarks.endpointing`). Each
price is tried with and without the ear. How far the ear is believed is fitted on every second recording, and applied to
the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.endpointing.conversations import Conversation
from benchmarks.endpointing.curves import Row, at_cutoffs, mean, p50, p90
from benchmarks.endpointing.evaluation import Candidate
from benchmarks.endpointing.recorded import measure
from benchmarks.people.doubt import believed
from benchmarks.people.folders import load
from hearout.ear.smart_turn import SmartTurn
from hearout.errors import UsageError
from hearout_policies.policy import Policy

__all__ = ["main"]

PRICES = (0.1, 0.2, 0.4, 0.8, 1.3, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)
_SHOWN = (0.4, 1.3, 4.0)  # fast, balanced, patient


def rows(name: str, conversations: Sequence[Conversation], cap: float) -> list[Row]:
    """The figures at each price."""
    found = []
    for price in PRICES:
        policy = Policy().replace({"silence.price": price, "odds.ear_cap": cap})
        candidate = Candidate(name, f"{price:g}", policy)
        found.append(Row(candidate, measure(candidate, conversations)))
    return found


def show(name: str, conversations: Sequence[Conversation], curves: dict[str, list[Row]]) -> None:
    """The table of one folder."""
    turns = sum(len(one.turns) for one in conversations)
    print(f"\n## {name}: {turns} turns in {len(conversations)} recordings\n")
    print("| | price | p50 s | mean | p90 | cutoffs per hold | turns cut off | predicted after, s |")
    print("|---" * 8 + "|")
    for title, curve in curves.items():
        for row in curve:
            if float(row.candidate.label) in _SHOWN:
                f = row.figures
                low, high = f.per_hold_interval
                cut = f"{f.per_hold:.1%} of {f.holds} ({low:.1%}-{high:.1%})"
                times = f"{f.p50:.2f} | {f.mean:.2f} | {f.p90:.2f}"
                print(
                    f"| {title} | {row.candidate.label} | {times} | {cut} | {f.per_turn:.1%} | {f.predicted_p50:.2f} |"
                )
    print("\n| latency at | 5 % cutoffs per hold: p50, mean, p90 s | 10 % |\n|---|---|---|")
    for title, curve in curves.items():
        cells = []
        for share in (0.05, 0.1):
            times_at = [at_cutoffs(curve, share, of) for of in (p50, mean, p90)]
            cells.append(", ".join("-" if seconds is None else f"{seconds:.2f}" for seconds in times_at))
        print(f"| {title} | {cells[0]} | {cells[1]} |")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description="Turns in recordings of people.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--no-ear", action="store_true", help="without Smart Turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    options = parser.parse_args(arguments)
    out = []
    try:
        listener = None if options.no_ear else SmartTurn().raw
        for folder in options.folders:
            conversations = load(folder, listener)
            if listener:
                conversations = believed(conversations)
            curves = {"text": rows("text", conversations, 0.0)}
            if listener:
                curves["text and ear"] = rows("text and ear", conversations, 2.0)
            show(folder.name, conversations, curves)
            for title, curve in curves.items():
                for row in curve:
                    named = {"folder": folder.name, "by": title, "price": float(row.candidate.label)}
                    out.append(named | asdict(row.figures))
        if options.json:
            options.json.write_text(json.dumps(out, indent=1))
    except UsageError as error:
        print(f"benchmarks.people: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"benchmarks.people: {options.json}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
