"""Calls on which something goes wrong, heard by an `AgentSession` with LiveKit's own turns, and with hearout's.

    python tests/integration/run_livekit.py --compare [--scenarios NAME...] [--output DIR]

The sessions differ in ``stt`` and the options that go with it only. Calls, transcriber and scores are those of
``benchmarks.peers``: a turn is handed over with ``on_user_turn_completed``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, StopResponse
from livekit.agents.voice import io
from livekit.plugins import deepgram

from benchmarks.peers.feed import RATE, WARM_UP, Call, Feed, load_calls, report
from benchmarks.peers.scenarios import SCENARIOS, build
from benchmarks.peers.scores import Outcome, read_run, score, table
from hearout import Deepgram, TurnAmended, TurnCompleted
from hearout.integrations.livekit import HearoutSTT, session_options
from tests.kit.paths import ROOT

SYSTEMS = {
    "default": "LiveKit's default turns",
    "stt": 'LiveKit, turn_detection="stt"',
    "hearout": "with hearout",
}
USUAL = ("clean", "late-0.6", "withheld", "never", "drop", "mute")
AT_ONCE = 3  # calls


class Line(io.AudioInput):
    """The caller's line."""

    def __init__(self, call: Call) -> None:
        super().__init__(label=call.name)
        self._feed = Feed(call)
        self.over = asyncio.Event()

    async def __anext__(self) -> rtc.AudioFrame:
        item = self._feed.next()
        if item is None:
            self.over.set()
            await asyncio.Event().wait()
            raise StopAsyncIteration
        wait, block = item
        await asyncio.sleep(wait)
        return rtc.AudioFrame(data=block, sample_rate=RATE, num_channels=1, samples_per_channel=len(block) // 2)


class Clerk(Agent):
    """Writes the turns down, under the number of hearout's latest turn."""

    def __init__(self, call: Call) -> None:
        super().__init__(instructions="Say nothing.")
        self._call = call
        self.number: int | None = None

    async def on_user_turn_completed(self, turn_ctx: Any, new_message: Any) -> None:
        report(self._call.name, "turn", text=new_message.text_content or "", turn=self.number)
        raise StopResponse

    def note(self, event: Any) -> None:
        if isinstance(event, TurnCompleted):
            self.number = event.turn
        elif isinstance(event, TurnAmended):
            report(self._call.name, "amended", text=event.text, turn=event.turn)


async def listen(call: Call, system: str) -> None:
    clerk, line = Clerk(call), Line(call)
    async with aiohttp.ClientSession() as http:
        session: AgentSession[Any]
        if system == "hearout":
            ours = HearoutSTT(Deepgram("local", f"ws://127.0.0.1:{call.port}/v1/listen"))
            session = AgentSession(stt=ours, **session_options())
            ours.watch(session)
            ours.on("turn_event", clerk.note)
        else:
            url = f"http://127.0.0.1:{call.port}/v1/listen"
            theirs = deepgram.STT(api_key="local", base_url=url, http_session=http)
            options: dict[str, Any] = {} if system == "default" else {"turn_handling": {"turn_detection": "stt"}}
            session = AgentSession(stt=theirs, **options)
        session.input.audio = line
        await session.start(clerk)
        await line.over.wait()
        await session.aclose()


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
    sys.stdout.flush()
    os._exit(0)  # LiveKit's threads of native code do not always end


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
            "tests.integration.livekit.compare",
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
    parser = argparse.ArgumentParser(description="LiveKit's own turns and hearout's, on the same calls.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenarios", nargs="+", choices=names, default=USUAL, metavar="NAME", help=", ".join(names))
    parser.add_argument("--output", type=Path, default=Path("livekit-run"), help="default: %(default)s")
    parser.add_argument("--listen", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        logging.basicConfig(level=logging.WARNING)
        asyncio.run(listen_to_all(options.listen, options.system))
        return
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    chosen = [scenario for scenario in SCENARIOS if scenario.name in options.scenarios]
    scripts = build(output, chosen, rounds=1, seed=1)
    print(f"load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rows = {title: run(system, scripts, output) for system, title in SYSTEMS.items()}
    print(table(rows, {scenario.name: scenario.title for scenario in chosen}))
    print(f"livekit-agents {importlib.metadata.version('livekit-agents')}, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
