"""hearout, Pipecat and LiveKit Agents on the same calls, one after the other, in real time.

    python -m benchmarks.peers [--systems NAME...] [--scenarios NAME...] [--rounds N] [--at-once N] [--cache DIR]
                              [--output DIR]
    python -m benchmarks.peers --again DIR

Needs hearout's extra ``cli``, and a network the first time: the peers are installed into environments of their own
below ``--cache``. The raw lines of every run, the transcriber's log and ``table.md`` go to ``--output``; ``--again``
makes the table from there once more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import CACHE, Failed
from benchmarks.peers.feed import WARM_UP
from benchmarks.peers.scenarios import SCENARIOS, Scenario, build, load_scripts
from benchmarks.peers.scores import Outcome, predictions_line, read_run, score, table, total
from benchmarks.peers.systems import SYSTEMS, run
from hearout.errors import UsageError

_TOO_LATE = 0.1  # seconds; the audio of a system that has the time it needs is later by a few milliseconds at most


_USUAL = ("hearout", "hearout-fast", "pipecat", "pipecat-timeout-tuned", "livekit", "livekit-tuned")


def main() -> int:
    arguments = _arguments()
    try:
        return _show(arguments.again) if arguments.again else _measure(arguments)
    except UsageError as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 1


def _measure(arguments: argparse.Namespace) -> int:
    output: Path = (arguments.output or arguments.cache / "run").resolve()
    output.mkdir(parents=True, exist_ok=True)
    systems = {name: SYSTEMS[name] for name in arguments.systems}
    pythons = {name: system.python(arguments.cache) for name, system in systems.items()}
    chosen = [scenario for scenario in SCENARIOS if scenario.name in arguments.scenarios]
    scripts = build(output, chosen, arguments.rounds, arguments.seed)
    about: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "at_once": arguments.at_once,
        "seed": arguments.seed,
        "systems": {name: system.title for name, system in systems.items()},
        "load": {},
    }
    for name, system in systems.items():
        load, began = os.getloadavg()[0], time.monotonic()
        print(f"{system.title}: load average {load:.1f} ...", end="", file=sys.stderr, flush=True)
        try:
            run(system, pythons[name], scripts, output, name, arguments.at_once)
        except Failed as error:  # the others are measured all the same
            print(f"\nbenchmarks.peers: {error}", file=sys.stderr)
            continue
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
        about["load"][name] = load
    (output / "about.json").write_text(json.dumps(about, indent=1))
    return _show(output) or int(len(about["load"]) < len(systems))


def _show(output: Path) -> int:
    try:
        about = json.loads((output / "about.json").read_text())
        scripts = load_scripts(output / "scripts.json")
    except OSError as error:
        raise UsageError(f"{output}: no run to show: {error.strerror}; leave out --again to make one") from None
    titles = {s.name: s.title for s in SCENARIOS if any(script.scenario == s.name for script in scripts)}
    rows: dict[str, dict[str, Outcome]] = {}
    notes = []
    for name, title in about["systems"].items():
        if name not in about["load"]:  # it failed
            continue
        events, run = read_run(output / f"{name}.jsonl")
        rows[title] = {scenario: Outcome() for scenario in titles}
        for script in scripts:
            if script.name != WARM_UP:
                rows[title][script.scenario].add(score(script, events[script.name]))
        ends = [event for of_call in events.values() for event in of_call if event["event"] == "end"]
        late = max(event["worst_feed"] for event in ends)
        audio = sum(event["t"] for event in ends if event["call"] != WARM_UP)
        versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
        notes.append(
            f"- {title}: {versions}; load before {about['load'][name]:.1f}, audio at most {late * 1000:.0f} ms late, "
            f"{run['cpu'] / audio:.3f} s of CPU per second of audio; "
            f"{predictions_line(total(rows[title].values()))}"
            + (" - LATE: a busy machine, or the system stood still" if late > _TOO_LATE else "")
        )
    text = f"{table(rows, titles)}\n{about['date']}, {about['machine']}, {about['at_once']} calls at once, "
    text += f"seed {about['seed']}\n\n" + "\n".join(notes) + "\n"
    (output / "table.md").write_text(text)
    print(text, end="")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="hearout, Pipecat and LiveKit Agents on the same calls.")
    names: Sequence[Scenario] = SCENARIOS
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, default=_USUAL, metavar="NAME", help=", ".join(SYSTEMS)
    )
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=[s.name for s in names],
        default=[s.name for s in names],
        metavar="NAME",
        help=", ".join(s.name for s in names),
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each scenario is run (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=5, help="calls of a system at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="where the peers are installed (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="where what was measured goes (default: CACHE/run)")
    parser.add_argument("--again", type=Path, metavar="DIR", help="only make the table of this run again")
    arguments = parser.parse_args()
    for option in ("rounds", "at_once"):
        if getattr(arguments, option) < 1:
            parser.error(f"--{option.replace('_', '-')} must be at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
