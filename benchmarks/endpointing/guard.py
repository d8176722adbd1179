"""A guard against turns that get slower or worse unnoticed: a few simulated conversations, figures exact.

    python -m benchmarks.endpointing.guard [--update]

Compares the presets with ``guard.json`` beside it; exit status 1 and one line each for what differs. Time is
virtual, so a difference is a change of the code. After a wanted one: ``--update``, and look at the diff.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.endpointing.evaluation import evaluate
from hearout_policies.policy import PRESETS

__all__ = ["compare", "main", "measure"]

FILE = Path(__file__).with_name("guard.json")
_SCENARIOS = ("agent", "noisy line", "slow network")
_TURNS = 60
_SEED = 2026
_TOLERANCE = 0.0015  # seconds, and shares: what the last digit of a logarithm may do on another machine

Results = dict[str, dict[str, float | None]]


def measure() -> Results:
    """By "scenario, preset": the figures without their intervals, rounded."""
    found: Results = {}
    for scenario in _SCENARIOS:
        for name, make in PRESETS.items():
            policy = make()
            if policy.rules:
                figures = dataclasses.asdict(evaluate(policy, scenario, turns=_TURNS, seed=_SEED))
                found[f"{scenario}, {name}"] = {
                    key: None if value == float("inf") else round(value, 4)
                    for key, value in figures.items()
                    if not key.endswith("_interval")
                }
    return found


def compare(expected: Results, found: Results) -> list[str]:
    """One line for each difference."""
    lines = [f"{name}: new, not in {FILE.name}" for name in found if name not in expected]
    for name, figures in expected.items():
        if name not in found:
            lines.append(f"{name}: gone")
            continue
        lines += [
            f"{name}: {key} is {found[name].get(key)}, was {value}"
            for key, value in figures.items()
            if not _same(value, found[name].get(key))
        ]
    return lines


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _TOLERANCE


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endpointing.guard", description="Have turns become worse?"
    )
    parser.add_argument("--update", action="store_true", help=f"write {FILE.name} anew")
    options = parser.parse_args(arguments)
    found = measure()
    if options.update:
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(figures)}" for name, figures in found.items())
        FILE.write_text("{\n" + rows + "\n}\n")
        return 0
    try:
        expected = json.loads(FILE.read_text())
    except OSError as error:
        print(
            f"benchmarks.endpointing.guard: cannot read {FILE.name}: {error.strerror}; --update writes it",
            file=sys.stderr,
        )
        return 2
    differences = compare(expected, found)
    for line in differences:
        print(line)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
