"""The holds of the presets, from the curves: the best latency for a price of a cutoff.

    python -m benchmarks.endpointing.fit [--price SECONDS ...] [--turns N] [--fit-seed S] [--test-seed S]

For each price (how many seconds of waiting, mean over all turns, one turn with a cutoff is worth) the hold after each
kind of text is moved, one kind after the other, until nothing gets better. Fitted on one seed, told on another; a
fourth of the turns are those of hesitant speakers.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from benchmarks.endpointing.evaluation import evaluate
from benchmarks.endpointing.scoring import Figures
from hearout_policies import PRESETS, Policy

# Kinds of text whose hold is fitted. Not digits: how people pause in the numbers they read out is assumed in the
# simulation, and users have reported it (tests/cases); and no fillers and cut-off words, which the transcriber drops.
_KINDS = ("question", "stop", "plain", "function_word", "conjunction", "comma")
_STEPS = (0.4, 0.2, 0.1, 0.05)  # seconds
_MIX = (("agent", 0.75), ("hesitant", 0.25))

Holds = tuple[float, ...]


@dataclass(frozen=True)
class Task:
    """What a process evaluates."""

    turns: int
    seed: int
    price: float


def policy_with(holds: Holds) -> Policy:
    """`balanced` with these holds; deadlines stay behind them."""
    return PRESETS["balanced"]().replace(
        {f"silence.{kind}.hold": round(hold, 2) for kind, hold in zip(_KINDS, holds, strict=True)}
    )


def cost(holds: Holds, task: Task) -> float:
    """Seconds."""
    total = 0.0
    for scenario, share in _MIX:
        figures = evaluate(policy_with(holds), scenario, turns=round(task.turns * share), seed=task.seed)
        total += share * (figures.mean + task.price * figures.per_turn)
    return total


def fit(start: Holds, task: Task, pool: ProcessPoolExecutor) -> Holds:
    """Descend kind by kind, with ever smaller steps."""
    best, least = start, cost(start, task)
    for step in _STEPS:
        moved = True
        while moved:
            moved = False
            for kind in range(len(best)):
                trials = [
                    (*best[:kind], round(best[kind] + change, 2), *best[kind + 1 :])
                    for change in (-step, step)
                    if best[kind] + change >= 0.2
                ]
                costs = list(pool.map(cost, trials, repeat(task)))
                if min(costs) < least - 1e-4:
                    least = min(costs)
                    best, moved = trials[costs.index(least)], True
    return best


def line(name: str, figures: Figures) -> str:
    return (
        f"| {name} | {figures.p50:.2f} | {figures.p90:.2f} | {figures.mean:.2f} | {figures.per_hold:.1%} | "
        f"{figures.per_turn:.1%} | {figures.in_speech:.1%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the holds of the presets.")
    parser.add_argument("--price", type=float, nargs="+", default=[2.5, 4.0, 6.0])
    parser.add_argument("--turns", type=int, default=600)
    parser.add_argument("--fit-seed", type=int, default=99)
    parser.add_argument("--test-seed", type=int, default=1)
    args = parser.parse_args()
    print(f"kinds: {', '.join(_KINDS)}\n")
    print("| holds | p50 | p90 | mean | cutoffs per hold | per turn | in speech |\n|---|---|---|---|---|---|---|")
    for name, make in PRESETS.items():
        if make().rules:
            print(line(name, evaluate(make(), "agent", turns=args.turns, seed=args.test_seed)), flush=True)
    start: Holds = (0.35, 0.5, 0.6, 1.2, 1.3, 1.1)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for price in args.price:
            start = fit(start, Task(args.turns, args.fit_seed, price), pool)
            for scenario in ("agent", "hesitant"):
                figures = evaluate(policy_with(start), scenario, turns=args.turns, seed=args.test_seed)
                print(line(f"{price:g} s: {', '.join(f'{h:g}' for h in start)}; {scenario}", figures), flush=True)


if __name__ == "__main__":
    main()
