"""How late and how often wrong policies are: latency against cutoffs, on simulated conversations and recorded speech.

    python -m benchmarks.endpointing [--scenario NAME] [--policy NAME] [--turns N] [--json FILE] [--plot FILE.png]
    python -m benchmarks.endpointing --through engine

Latency counts from the true acoustic end of the last word to `TurnCompleted`; a cutoff is a completion in a pause
inside a turn (`.scoring`). The conversations are drawn from published distributions, and a simulated
Deepgram sends its wire messages through the real dialect to the real turn machine, in virtual time
(`.scenarios`, `.simulated`). The figures are exact: the same options give the same ones anywhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.endpointing.candidates import FAMILIES, PRESET, families_of
from benchmarks.endpointing.curves import EOT_BENCH, Row, at_cutoffs, at_latency, front, mean, p50, p90, sound
from benchmarks.endpointing.evaluation import Candidate, evaluate_all
from benchmarks.endpointing.picture import draw
from benchmarks.endpointing.recorded import conversation, load_call, load_samples, measure, voice_errors
from benchmarks.endpointing.scenarios import SCENARIOS, Scenario
from benchmarks.endpointing.through_engine import compare
from hearout.errors import UsageError
from hearout_policies.policy import PRESETS, load_policy

__all__ = ["main"]


def show(rows: Sequence[Row]) -> None:
    """The table of all candidates."""
    fronts = [(name, {id(row) for row in front(sound(rows), of)}) for name, of in (("mean", mean), ("p90", p90))]
    print("| | | latency p50 s | p90 | p95 | mean | predicted | taken back | cut/hold | cut/turn | in speech ", end="")
    print("| missed | > 3 s | more | amended | words missing | not final | front |")
    print("|---" * 18 + "|")
    for row in rows:
        f = row.figures
        marks = " ".join(name for name, members in fronts if id(row) in members)
        cells = [
            row.candidate.family,
            row.candidate.label,
            f"{f.p50:.2f} ({f.p50_interval[0]:.2f}-{f.p50_interval[1]:.2f})",
            f"{f.p90:.2f} ({f.p90_interval[0]:.2f}-{f.p90_interval[1]:.2f})",
            f"{f.p95:.2f}",
            f"{f.mean:.2f}",
            f"{f.predicted_p50:.2f}",
            _percent(f.taken_back),
            f"{_percent(f.per_hold)} ({_percent(f.per_hold_interval[0])}-{_percent(f.per_hold_interval[1])})",
            f"{_percent(f.per_turn)} ({_percent(f.per_turn_interval[0])}-{_percent(f.per_turn_interval[1])})",
            *(_percent(value) for value in (f.in_speech, f.missed, f.late, f.duplicates + f.ghosts)),
            *(_percent(value, 2) for value in (f.amended, f.missing, f.unconfirmed)),
            marks,
        ]
        print("| " + " | ".join(cells) + " |")


def show_fixed_points(rows: Sequence[Row]) -> None:
    """What each curve gives at the points that eot-bench reports."""
    print("\n| curve | cutoffs at p50, mean 0.3 s | 0.6 s | latency at 5 % cutoffs: p50, mean, p90 s | at 10 % |")
    print("|---|---|---|---|---|")
    names = [name for name in dict.fromkeys(row.candidate.family for row in rows) if name != PRESET]
    curves = [(name, [row for row in rows if row.candidate.family == name]) for name in names]
    for name, members in [*curves, ("the best of all that are sound", sound(rows))]:
        shares = [[at_latency(members, seconds, of) for of in (p50, mean)] for seconds in (0.3, 0.6)]
        times = [[at_cutoffs(members, share, of) for of in (p50, mean, p90)] for share in (0.05, 0.10)]
        cells = [", ".join("-" if share is None else _percent(share) for share in two) for two in shares]
        cells += [", ".join("-" if t is None else f"{t:.2f}" for t in three) for three in times]
        print(f"| {name} | " + " | ".join(cells) + " |")
    published = EOT_BENCH["silence only"]
    assert published[0] is not None
    assert published[1] is not None
    print(
        f"\nFor comparison, a timer in eot-bench (other data: recordings of people who talk to agents): "
        f"{_percent(published[0])} cutoffs at 0.3 s, {_percent(published[1])} at 0.6 s, {published[2]:.2f} s at 5 %, "
        f"{published[3]:.2f} s at 10 %."
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def as_json(scenario: str, row: Row) -> dict[str, Any]:
    candidate = row.candidate
    return {
        "scenario": scenario,
        "family": candidate.family,
        "label": candidate.label,
        "endpointing_ms": candidate.endpointing_ms,
        "utterance_end_ms": candidate.utterance_end_ms,
        "policy": {p.key: p.value for p in candidate.policy.parameters()},
        **{name: _rounded(value) for name, value in dataclasses.asdict(row.figures).items()},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


def _candidates(names: Sequence[str]) -> list[Candidate]:
    """Families, presets and TOML files by name; all families without names."""
    found: list[Candidate] = []
    for name in names or list(FAMILIES):
        if name in FAMILIES:
            found += FAMILIES[name]
            continue
        try:
            found += families_of(load_policy(name), name)
        except ValueError as error:
            raise UsageError(f"--policy {name}: {error}; families: {', '.join(FAMILIES)}") from None
    return found


def _scenarios(name: str, options: argparse.Namespace) -> list[Scenario]:
    if name != "all" and name not in SCENARIOS:
        raise UsageError(f"no scenario named {name!r}; there are: {', '.join(SCENARIOS)}, all")
    chosen = SCENARIOS.values() if name == "all" else [SCENARIOS[name]]
    return [
        dataclasses.replace(
            one,
            verbatim=options.verbatim,
            ear=options.ear,
            asks=options.asked,
            transcriber=dataclasses.replace(one.transcriber, smart_format=options.smart_format),
        )
        for one in chosen
    ]


def _simulate(options: argparse.Namespace) -> None:
    candidates = _candidates(options.policy)
    scenarios = _scenarios(options.scenario, options)
    results: list[tuple[str, list[Row]]] = []
    for scenario in scenarios:
        began = time.perf_counter()
        figures = evaluate_all(candidates, scenario, turns=options.turns, seed=options.seed, jobs=options.jobs)
        rows = [Row(candidate, one) for candidate, one in zip(candidates, figures, strict=True)]
        results.append((scenario.name, rows))
        turns, holds = figures[0].turns, figures[0].holds
        print(f"\n## {scenario.name}: {turns} turns with {holds} holds, seed {options.seed}\n")
        show(rows)
        show_fixed_points(rows)
        print(f"{time.perf_counter() - began:.0f} s for {len(rows)} candidates", file=sys.stderr, flush=True)
    if options.json:
        lines = [json.dumps(as_json(name, row)) for name, rows in results for row in rows]
        _write(options.json, "[\n" + ",\n".join(lines) + "\n]\n")
    if options.plot:
        draw(results, options.plot)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _through_engine(options: argparse.Namespace) -> None:
    names = options.policy or list(PRESETS)
    for scenario in _scenarios(options.scenario, options):
        for name in names:
            try:
                policy = load_policy(name)
            except ValueError as error:
                raise UsageError(str(error)) from None
            conversations = max(1, round(options.turns / 4 / len(names)))
            agreement = compare(scenario, policy, seed=options.seed, conversations=conversations)
            print(f"{scenario.name}, {name}, {conversations} conversations: {agreement}", flush=True)


def _recorded(options: argparse.Namespace) -> None:
    sets = [("the samples", load_samples())]
    if options.call:
        sets.append(("a recorded call", load_call(options.call)))
    for what, recordings in sets:
        conversations = [conversation(one) for one in recordings]
        rows = [Row(one, measure(one, conversations)) for one in _candidates(options.policy or [PRESET, "timer"])]
        turns, holds = rows[0].figures.turns, rows[0].figures.holds
        print(f"\n## Recorded speech, {what}: {turns} turns with {holds} holds\n")
        show(rows)
        print(f"\n{voice_errors(conversations)}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endpointing", description="Latency against cutoffs, by policy."
    )
    parser.add_argument("--scenario", default="agent", help=f"{', '.join(SCENARIOS)}, or all (default agent)")
    parser.add_argument("--policy", action="append", default=[], help="a family, a preset or a TOML file; repeatable")
    parser.add_argument("--turns", type=int, help="default 1000; 96 with --through engine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)")
    parser.add_argument("--verbatim", action="store_true", help='the transcriber writes "um" and cut-off words')
    parser.add_argument("--smart-format", action="store_true", help="the transcriber withholds digits")
    parser.add_argument("--ear", type=float, metavar="AUC", help="an ear that tells ends from pauses so well (0.84)")
    parser.add_argument("--asked", action="store_true", help="the application says where it has asked for a number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves (needs hearout[plot])")
    parser.add_argument("--through", choices=["machine", "engine"], default="machine", help="engine: compare the two")
    parser.add_argument("--recorded", action="store_true", help="recorded speech instead: samples/, real VAD")
    parser.add_argument(
        "--call", type=Path, metavar="DIR", help="... and a call with silver labels (*.silver_turns.json)"
    )
    options = parser.parse_args(arguments)
    try:
        if options.turns is None:
            options.turns = 96 if options.through == "engine" else 1000
        if options.turns < 1 or options.jobs < 1:
            raise UsageError("--turns and --jobs must be at least 1")
        if options.ear is not None and not 0.5 <= options.ear < 1:
            raise UsageError("--ear must be at least 0.5, which is deaf, and less than 1")
        if options.recorded or options.call:
            _recorded(options)
        elif options.through == "engine":
            _through_engine(options)
        else:
            _simulate(options)
    except UsageError as error:
        print(f"benchmarks.endpointing: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
