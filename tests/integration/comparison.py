"""The same calls with a framework's own turns and with hearout's: what is the same for every framework."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.feed import WARM_UP, Call, load_calls, report
from benchmarks.peers.scenarios import SCENARIOS, build
from benchmarks.peers.scores import Outcome, read_run, score, table
from tests.kit.paths import ROOT

__all__ = ["compare"]

_AT_ONCE = 3  # calls

Listen = Callable[[Call, str], Awaitable[None]]


def compare(
    framework: str, package: str, listen: Listen, systems: Mapping[str, str], usual: Sequence[str] | None = None
) -> None:
    """The command ``python -m tests.integration.FRAMEWORK.compare``.

    Args:
        framework: its folder here.
        package: its distribution on PyPI.
        listen: plays a call to a system, by the name of that, and reports what it told.
        systems: titles by name.
        usual: scenarios; None: all.
    """
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=f"The turns of {framework} and hearout's, on the same calls.")
    parser.add_argument(
        "--scenarios", nargs="+", choices=names, default=usual or names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--output", type=Path, default=Path(f"{framework}-run"), help="default: %(default)s")
    parser.add_argument("--listen", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--system", choices=systems, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        asyncio.run(_listen_to_all(listen, options.listen, options.system))
        sys.stdout.flush()
        os._exit(0)  # threads of native code do not always end
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    chosen = [scenario for scenario in SCENARIOS if scenario.name in options.scenarios]
    scripts = build(output, chosen, rounds=1, seed=1)
    print(f"load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rows = {title: _run(framework, system, scripts, output) for system, title in systems.items()}
    print(table(rows, {scenario.name: scenario.title for scenario in chosen}))
    print(f"{package} {importlib.metadata.version(package)}, load average {os.getloadavg()[0]:.1f}")


async def _listen_to_all(listen: Listen, plan: Path, system: str) -> None:
    first, *calls = load_calls(plan)
    assert first.name == WARM_UP
    await listen(first, system)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Call) -> None:
        async with limit:
            await listen(call, system)

    await asyncio.gather(*(one(call) for call in calls))
    report("", "done")


def _run(framework: str, system: str, scripts: list[Any], output: Path) -> Mapping[str, Outcome]:
    server_files = [output / "scripts.json", output / f"{system}.server"]
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.peers.server", *server_files]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ports = json.loads(server.stdout.readline())
        plan = [
            {"name": s.name, "port": ports[s.name], "pcm": str(output / s.pcm), "pauses": s.pauses} for s in scripts
        ]
        (output / "plan.json").write_text(json.dumps(plan))
        module = f"tests.integration.{framework}.compare"
        ours: list[str | Path] = [sys.executable, "-m", module, "--listen", output / "plan.json", "--system", system]
        with (output / f"{system}.jsonl").open("w") as lines, (output / f"{system}.err").open("w") as errors:
            subprocess.run(ours, stdout=lines, stderr=errors, check=True)
        server.communicate()  # closes the pipe: it ends
    events, _ = read_run(output / f"{system}.jsonl")
    outcomes: dict[str, Outcome] = {}
    for script in scripts:
        if script.name != WARM_UP:
            outcomes.setdefault(script.scenario, Outcome()).add(score(script, events[script.name]))
    return outcomes
