"""How well and how fast voice activity is detected, by WebRTC's detector and by Silero's.

    python -m benchmarks.vad [--quick]
    python -m benchmarks.vad DIR [DIR ...] [--vad NAME ...] [--clean]

Prints Markdown. Without a folder: synthesised speech with known pauses, in noise and on quiet lines
(`benchmarks.vad.made`). With folders: recordings of people as they are, in noise, and among other voices
(`benchmarks.vad.labelled`). Seeds are fixed, so the same recordings give the same figures. What is measured is what
the turn machine sees: the edges of `SpeechGate`, dated back, with its default settings (`benchmarks.vad.scores`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.vad import made
from benchmarks.vad.labelled import CONDITIONS, find, measure
from benchmarks.vad.scores import QUANTILES
from hearout.cli.voice import VADS
from hearout.errors import UsageError

__all__ = ["main"]


def show(folders: Sequence[Path], names: Sequence[str], clean: bool) -> None:
    """The tables of recordings; ``clean``: as they are, without noise under them."""
    gates = {name: VADS[name] for name in names}
    for make in gates.values():
        make(16_000)  # loads what is loaded once
    found = {folder: find(folder) for folder in folders}
    everybody = [one for ones in found.values() for one in ones]
    costs: dict[str, list[float]] = {name: [] for name in gates}
    for folder, recordings in found.items():
        minutes = sum(one.length for one in recordings) / 60
        stretches = sum(len(one.spoken) for one in recordings)
        print(f"### {folder.name}: {len(recordings)} recordings, {minutes:.1f} min, {stretches} stretches of speech\n")
        quantiles = ", ".join(f"p{percent}" for percent in QUANTILES)
        print(
            "| | | F1 | missed % / false % | false starts a minute | onset: ms (p90) | ends found % "
            f"| end late by, ms: {quantiles} | told after, ms: {quantiles} |"
        )
        print("|---" * 9 + "|")
        for condition, name, score, cost in measure(recordings, everybody, gates, CONDITIONS[: 1 if clean else None]):
            costs[name].append(cost)
            print(f"| {condition} | {name} | {score.row()} |", flush=True)
        print()
    for name, spent in costs.items():
        cost = float(np.median(spent))
        print(f"{name}: {1000 * cost:.2f} ms of the processor for a second of audio; {1 / cost:.0f} lines a core")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vad", description="Voice detection.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR")
    parser.add_argument("--vad", nargs="+", choices=VADS, default=list(VADS), metavar="NAME", help="default: all")
    parser.add_argument("--clean", action="store_true", help="of folders: without noise under them")
    parser.add_argument("--quick", action="store_true", help="without a folder: two voices and three sentences")
    options = parser.parse_args(arguments)
    try:
        if options.folders:
            show(options.folders, options.vad, options.clean)
        else:
            made.show(options.quick)
    except UsageError as error:
        print(f"benchmarks.vad: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
