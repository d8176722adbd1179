"""How late and how often wrong, on recordings of people.

    python -m benchmarks.people DIR [DIR ...] [--no-ear] [--asked] [--vad NAME ...] [--noise KIND:DB] [--json FILE]
    python -m benchmarks.people DIR [DIR ...] --peers [NAME ...] [--output DIR]

Real sound goes through the real voice detection and, unless told otherwise, the real ear; a simulated Deepgram knows
the words and has realistic delays; the real turn machine decides, in virtual time (`benchmarks.endpointing`). Each
price is tried with and without the ear. How far the ear is believed is fitted on every second recording, and applied to
the others. ``--vad`` takes one voice detection or compares several; ``--noise`` puts noise under the sound, as
`benchmarks.vad` does, of which the transcriber knows nothing. `benchmarks.people.folders` tells what a folder may have
in it.

With ``--peers`` the same recordings are then played to hearout and its peers in real time, each with its own voice
detection and model (`benchmarks.people.beside`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.endpointing.conversations import Conversation
from benchmarks.endpointing.curves import EOT_BENCH, mean, p50, p90
from benchmarks.endpointing.evaluation import Candidate
from benchmarks.endpointing.recorded import Listener, Recording, conversation, measure
from benchmarks.endpointing.scoring import Figures
from benchmarks.peers.environments import CACHE, Failed
from benchmarks.peers.systems import SYSTEMS
from benchmarks.people import eot_bench
from benchmarks.people.beside import USUAL, beside
from benchmarks.people.curves import Curve
from benchmarks.people.doubt import believed
from benchmarks.people.folders import load
from benchmarks.people.questions import asked_for, lengthened
from benchmarks.vad.labelled import LEAST, NOISES, labelled, mixed
from hearout.cli.voice import VADS
from hearout.ear.smart_turn import SmartTurn
from hearout.errors import UsageError
from hearout.writing import printable
from hearout_policies.policy import Policy

__all__ = ["main"]

PRICES = (0.1, 0.2, 0.4, 0.8, 1.3, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)
_BALANCED = PRICES.index(1.3)
_SHOWN = {"0.4": "fast", "1.3": "balanced", "4": "patient"}
_TOO_LATE = 0.1  # seconds; as in `benchmarks.peers`


def candidates(name: str, cap: float) -> list[Candidate]:
    """One for each price; ``cap``: how far an ear is believed."""
    policies = [Policy().replace({"silence.price": price, "odds.ear_cap": cap}) for price in PRICES]
    return [Candidate(name, f"{price:g}", policy) for price, policy in zip(PRICES, policies, strict=True)]


def _figures(title: str, figures: Figures) -> str:
    f = figures
    low, high = f.per_hold_interval
    cut = f"{f.per_hold:.1%} of {f.holds} ({low:.1%}-{high:.1%})"
    times = f"{f.p50:.2f} ({f.p50_interval[0]:.2f}-{f.p50_interval[1]:.2f}) | {f.mean:.2f} | {f.p90:.2f}"
    return f"| {title} | {times} | {cut} | {f.per_turn:.1%} | {f.missed:.1%} |"


_HEAD = "| | p50 s | mean | p90 | cutoffs per hold | turns cut off | missed |\n|---|---|---|---|---|---|---|"


def show(name: str, recordings: Sequence[Recording], curves: Mapping[str, Curve]) -> None:
    """The tables of one folder."""
    turns = sum(len(one.turns) for one in recordings)
    print(f"\n## {name}: {turns} turns in {len(recordings)} recordings\n\n{_HEAD}")
    for title, curve in curves.items():
        for row in curve.rows:
            if preset := _SHOWN.get(row.candidate.label):
                print(_figures(f"{title}, {preset}", row.figures))
    print("\n| latency, s, at | 5 % cutoffs per hold: p50 | mean | p90 | 10 %: p50 | mean | p90 |")
    print("|---|---|---|---|---|---|---|")
    for title, curve in curves.items():
        points = [curve.latency_at(share, of) for share in (0.05, 0.1) for of in (p50, mean, p90)]
        print(f"| {title} | " + " | ".join(point.shown() for point in points) + " |")
    print("\n| as eot-bench counts | cutoffs at a mean of 0.3 s | 0.6 s | mean latency at 5 % cutoffs | 10 % |")
    print("|---|---|---|---|---|")
    for title, curve in curves.items():
        shares = [curve.cutoffs_at(seconds, mean).shown(as_percent=True) for seconds in (0.3, 0.6)]
        times = [curve.latency_at(share, mean).shown() for share in (0.05, 0.1)]
        print(f"| {title} | " + " | ".join(shares + times) + " |")


def show_kinds(told: Sequence[Conversation]) -> None:
    """How soon each kind of answer is told, and how its holds fare."""
    kinds: dict[str, list[Conversation]] = {}
    for one in told:
        kinds.setdefault(" or ".join(repr(asked)[:30] for asked in one.turns[0].asked), []).append(one)
    print(f"\n{_HEAD.replace('| |', '| told the question, balanced |', 1)}")
    for kind, ones in sorted(kinds.items()):
        figures = measure(candidates("balanced", 0.0)[_BALANCED], ones)
        print(_figures(f"{kind}, {len(ones)}", figures))


def show_lengthened(name: str, heard: Sequence[Conversation]) -> None:
    """Numbers with long pauses, with and without the question."""
    untold = [replace(one, turns=tuple(replace(turn, asked=()) for turn in one.turns)) for one in heard]
    print(f"\n### {name}: numbers of five digits and more, read with pauses of 1 to 3 s\n\n{_HEAD}")
    for title, ones in (("text", untold), ("text and question", heard)):
        for candidate in candidates(title, 0.0):
            if preset := _SHOWN.get(candidate.label):
                print(_figures(f"{title}, {preset}", measure(candidate, ones)))


def show_published() -> None:
    """What others have on eot-bench's data in English."""
    print("\nPublished by eot-bench, without the time that a transcriber takes:\n")
    for name, (at_300, at_600, at_5, at_10) in EOT_BENCH.items():
        shares = ["-" if share is None else f"{share:.1%}" for share in (at_300, at_600)]
        print(f"| {name} | " + " | ".join([*shares, f"{at_5:.2f}", f"{at_10:.2f}"]) + " |")


def show_beside(name: str, found: Mapping[str, tuple[Figures, float]]) -> None:
    """The table of a run in real time."""
    print(f"\n### {name}, in real time\n\n{_HEAD}")
    for title, (figures, late) in found.items():
        print(_figures(title + (f" (audio {late:.2f} s LATE: a busy machine)" if late > _TOO_LATE else ""), figures))


def curves_of(
    heard: Sequence[Conversation], told: Sequence[Conversation], listener: Listener | None
) -> dict[str, Curve]:
    """By what is known: of all conversations, and of those told what was asked, if any."""
    curves = {"text": Curve(candidates("text", 0.0), heard)}
    if listener:
        curves["text and ear"] = Curve(candidates("text and ear", 2.0), believed(heard))
    if told:
        curves["text and question"] = Curve(candidates("text and question", 0.0), told)
        if listener:
            curves["text, ear and question"] = Curve(candidates("all", 2.0), believed(told))
    return curves


def noisy(recordings: Sequence[Recording], noise: str) -> list[Recording]:
    """With noise under them: its kind, and by how many dB speech is louder, as in ``pink:10``.

    Raises:
        UsageError: there is no such noise.
    """
    kind, _, snr = noise.partition(":")
    try:
        below = float(snr)
    except ValueError:
        below = math.nan
    if kind not in NOISES or not math.isfinite(below):
        raise UsageError(f"--noise {printable(noise, 60)}: must be {', '.join(NOISES)}, a colon, and decibels: pink:10")
    if kind == "babble" and len(recordings) < LEAST:
        raise UsageError(f"--noise {noise}: babble is made of a folder's other recordings: there must be {LEAST} in it")
    everybody = [labelled(one) for one in recordings]
    mixes = [np.frombuffer(mixed(one, everybody, kind, below), np.int16) for one in everybody]
    return [replace(one, sound=mix) for one, mix in zip(recordings, mixes, strict=True)]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description="Turns in recordings of people.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--no-ear", action="store_true", help="without Smart Turn")
    parser.add_argument("--asked", action="store_true", help="also with what was asked (needs texts)")
    parser.add_argument("--vad", nargs="+", choices=VADS, default=["webrtc"], metavar="NAME", help=", ".join(VADS))
    parser.add_argument("--noise", metavar="KIND:DB", help="under the sound, so far below the speech: pink:10")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=SYSTEMS,
        metavar="NAME",
        help=f"beside these, in real time: {', '.join(SYSTEMS)} (without a name: {' '.join(USUAL)})",
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="where peers are installed (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where their raw lines go (default: CACHE/people)")
    parser.add_argument("--at-once", type=int, default=6, help="calls of a system at a time (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    out: list[dict[str, Any]] = []
    try:
        listener = None if options.no_ear else SmartTurn().raw
        for folder in options.folders:
            recordings = load(folder)
            if options.noise:
                recordings = noisy(recordings, options.noise)
            asked = asked_for(recordings) if options.asked else []
            curves: dict[str, Curve] = {}
            told: dict[str, list[Conversation]] = {}
            for vad in options.vad:
                heard = [conversation(one, listener, VADS[vad]) for one in recordings]
                told[vad] = [replace(one, turns=other.turns) for one, other in zip(heard, asked, strict=bool(asked))]
                found_by = "" if len(options.vad) == 1 else f"{vad}: "
                curves |= {found_by + title: curve for title, curve in curves_of(heard, told[vad], listener).items()}
            show(folder.name, recordings, curves)
            if options.asked:
                first = options.vad[0]
                show_kinds(told[first])
                if longer := lengthened(asked):
                    show_lengthened(folder.name, [conversation(one, None, VADS[first]) for one in longer])
            if eot_bench.files(folder):
                show_published()
            out += [
                {"folder": folder.name, "by": title, "price": float(row.candidate.label)} | asdict(row.figures)
                for title, curve in curves.items()
                for row in curve.rows
            ]
            if options.peers is not None:
                output = (options.output or options.cache / "people") / folder.name
                found = beside(recordings, options.peers or USUAL, options.cache, output.resolve(), options.at_once)
                show_beside(folder.name, found)
                out += [{"folder": folder.name, "by": title} | asdict(f) for title, (f, _) in found.items()]
        if options.json:
            options.json.write_text(json.dumps(out, indent=1))
    except UsageError as error:
        print(f"benchmarks.people: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"benchmarks.people: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"benchmarks.people: {error.filename or options.json}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
