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
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import CACHE, LIVEKIT, PIPECAT, Failed, python_in
from benchmarks.peers.feed import WARM_UP
from benchmarks.peers.scenarios import SCENARIOS, Scenario, Script, build, load_scripts
from benchmarks.peers.scores import Outcome, predictions_line, read_run, score, table, total
from hearout.errors import UsageError

_ROOT = Path(__file__).parents[2]
_TOO_LATE = 0.1  # seconds; the audio of a system that has the time it needs is later by a few milliseconds at most


@dataclass(frozen=True)
class System:
    """A system under test: the module that runs it, with which settings, and what it needs."""

    title: str
    module: str
    settings: str
    requires: tuple[str, ...] = ()

    @property
    def environment(self) -> str:
        return self.module.removeprefix("run_")


SYSTEMS = {
    "hearout": System("hearout balanced", "run_hearout", "balanced"),
    "hearout-fast": System("hearout fast", "run_hearout", "fast"),
    "pipecat": System("Pipecat default", "run_pipecat", "default", PIPECAT),
    "pipecat-timeout": System("Pipecat timeout", "run_pipecat", "timeout", PIPECAT),
    "pipecat-tuned": System("Pipecat tuned", "run_pipecat", "tuned", PIPECAT),
    "pipecat-timeout-tuned": System("Pipecat timeout, tuned", "run_pipecat", "timeout-tuned", PIPECAT),
    "livekit": System("LiveKit default", "run_livekit", "default", LIVEKIT),
    "livekit-flush": System("LiveKit default + flush", "run_livekit", "default-flush", LIVEKIT),
    "livekit-vad": System("LiveKit vad", "run_livekit", "vad", LIVEKIT),
    "livekit-vad-flush": System("LiveKit vad + flush", "run_livekit", "vad-flush", LIVEKIT),
    "livekit-tuned": System("LiveKit tuned", "run_livekit", "default-tuned", LIVEKIT),
    "livekit-vad-tuned": System("LiveKit vad, tuned", "run_livekit", "vad-tuned", LIVEKIT),
    "livekit-stt": System("LiveKit stt", "run_livekit", "stt", LIVEKIT),
}
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
    pythons = {
        name: python_in(arguments.cache / system.environment, system.requires) if system.requires else sys.executable
        for name, system in systems.items()
    }
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
            _run(system, pythons[name], scripts, output, name, arguments.at_once)
        except Failed as error:  # the others are measured all the same
            print(f"\nbenchmarks.peers: {error}", file=sys.stderr)
            continue
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
        about["load"][name] = load
    (output / "about.json").write_text(json.dumps(about, indent=1))
    return _show(output) or int(len(about["load"]) < len(systems))


def _run(system: System, python: str, scripts: Sequence[Script], output: Path, name: str, at_once: int) -> None:
    limit = 120 + 3 * sum(script.real(script.turns[-1].end) + 10 for script in scripts) / at_once
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.server", str(output / "scripts.json"), str(output / f"{name}.server")],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        ports = json.loads(server.stdout.readline())
        plan = [
            {"name": s.name, "port": ports[s.name], "pcm": str(output / s.pcm), "pauses": s.pauses} for s in scripts
        ]
        (output / "plan.json").write_text(json.dumps(plan))
        command = [python, "-m", f"benchmarks.peers.{system.module}", str(output / "plan.json")]
        command += ["--settings", system.settings, "--at-once", str(at_once)]
        with (output / f"{name}.jsonl").open("w") as lines, (output / f"{name}.err").open("w") as errors:
            try:
                status = subprocess.run(command, cwd=_ROOT, stdout=lines, stderr=errors, timeout=limit).returncode
            except subprocess.TimeoutExpired:
                status = None
        server.communicate()  # closes the pipe: it ends
    if status is None:
        raise Failed(f"{system.title} did not end within {limit:.0f} s: see {output / name}.err")
    if status:
        raise Failed(f"{system.title} failed with status {status}: see {output / name}.err")


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
