"""Calls on which something goes wrong, heard by a Pipecat pipeline with its default turns, and with hearout's.

    python tests/integration/run_pipecat.py --compare [--scenarios NAME...] [--output DIR]

The pipelines differ in the speech-to-text service and the strategies of the user aggregator only. Calls, transcriber
and scores are those of ``benchmarks.peers``: a turn is handed over with ``on_user_turn_stopped``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.services.deepgram.stt import DeepgramSTTService

from benchmarks.peers.feed import WARM_UP, Call, Feed, load_calls, report
from benchmarks.peers.scenarios import SCENARIOS, build
from benchmarks.peers.scores import Outcome, read_run, score, table
from hearout import Deepgram, TurnAmended, TurnCompleted
from hearout.integrations.pipecat import HearoutSTTService
from tests.integration.pipecat.conversation import converse
from tests.kit.paths import ROOT

SYSTEMS = {"default": "Pipecat's default turns", "hearout": "with hearout"}
AT_ONCE = 3  # calls


async def listen(call: Call, system: str) -> None:
    number: list[int | None] = [None]
    if system == "default":
        stt = DeepgramSTTService(api_key="local", base_url=f"ws://127.0.0.1:{call.port}")
        params = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    else:
        stt = HearoutSTTService(Deepgram("local", f"ws://127.0.0.1:{call.port}/v1/listen"))
        params = LLMUserAggregatorParams(user_turn_strategies=stt.user_turn_strategies())

        @stt.event_handler("on_turn_event")
        async def note(_: HearoutSTTService, event: Any) -> None:
            if isinstance(event, TurnCompleted):
                number[0] = event.turn
            elif isinstance(event, TurnAmended):
                report(call.name, "amended", text=event.text, turn=event.turn)

    def turn(text: str) -> None:
        report(call.name, "turn", text=text, turn=number[0])

    async with converse(stt, user=params, on_turn=turn) as conversation:
        feed = Feed(call)
        while item := feed.next():
            wait, block = item
            await asyncio.sleep(wait)
            await conversation.push(block)


async def listen_to_all(plan: Path, system: str) -> None:
    first, *calls = load_calls(plan)
    assert first.name == WARM_UP
    await listen(first, system)
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(call: Call) -> None:
        async with limit:
            await listen(call, system)

    await asyncio.gather(*(one(call) for call in calls))
    report("", "done")


def run(system: str, scripts: list[Any], output: Path) -> Mapping[str, Outcome]:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.peers.server",
        output / "scripts.json",
        output / f"{system}.server",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ports = json.loads(server.stdout.readline())
        plan = [
            {"name": s.name, "port": ports[s.name], "pcm": str(output / s.pcm), "pauses": s.pauses} for s in scripts
        ]
        (output / "plan.json").write_text(json.dumps(plan))
        ours: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.integration.pipecat.compare",
            "--listen",
            output / "plan.json",
            "--system",
            system,
        ]
        with (output / f"{system}.jsonl").open("w") as lines, (output / f"{system}.err").open("w") as errors:
            subprocess.run(ours, stdout=lines, stderr=errors, check=True)
        server.communicate()  # closes the pipe: it ends
    events, _ = read_run(output / f"{system}.jsonl")
    outcomes: dict[str, Outcome] = {}
    for script in scripts:
        if script.name != WARM_UP:
            outcomes.setdefault(script.scenario, Outcome()).add(score(script, events[script.name]))
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description="Pipecat's default turns and hearout's, on the same calls.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenarios", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--output", type=Path, default=Path("pipecat-run"), help="default: %(default)s")
    parser.add_argument("--listen", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        logger.remove()
        logger.add(sys.stderr, level="WARNING")
        asyncio.run(listen_to_all(options.listen, options.system))
        return
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    chosen = [scenario for scenario in SCENARIOS if scenario.name in options.scenarios]
    scripts = build(output, chosen, rounds=1, seed=1)
    print(f"load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rows = {title: run(system, scripts, output) for system, title in SYSTEMS.items()}
    print(table(rows, {scenario.name: scenario.title for scenario in chosen}))
    print(f"pipecat-ai {importlib.metadata.version('pipecat-ai')}, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
