"""The systems under test, each in a process and an environment of its own, and the run of one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.environments import LIVEKIT, PIPECAT, Failed, python_in
from benchmarks.peers.scenarios import Script

__all__ = ["SYSTEMS", "System", "run"]

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class System:
    """The module that runs it, with which settings, and what it needs."""

    title: str
    module: str
    settings: str
    requires: tuple[str, ...] = ()

    def python(self, cache: Path) -> str:
        """The interpreter that runs it; what it needs is installed below ``cache`` when it is not there."""
        room = self.module.removeprefix("run_") + ("-hearout" if OURS[-1] in self.requires else "")
        return python_in(cache / room, self.requires) if self.requires else sys.executable


#: For turns of ours over a framework's own transcriber.
OURS = ("-e", str(_ROOT))
SYSTEMS = {
    "hearout": System("hearout balanced", "run_hearout", "balanced"),
    "hearout-fast": System("hearout fast", "run_hearout", "fast"),
    "hearout-ear": System("hearout balanced, ear", "run_hearout", "balanced+ear"),
    "hearout-fast-ear": System("hearout fast, ear", "run_hearout", "fast+ear"),
    "pipecat": System("Pipecat default", "run_pipecat", "default", PIPECAT),
    "pipecat-hearout": System("Pipecat, hearout's turns", "run_pipecat", "hearout", (*PIPECAT, *OURS)),
    "pipecat-timeout": System("Pipecat timeout", "run_pipecat", "timeout", PIPECAT),
    "pipecat-tuned": System("Pipecat tuned", "run_pipecat", "tuned", PIPECAT),
    "pipecat-timeout-tuned": System("Pipecat timeout, tuned", "run_pipecat", "timeout-tuned", PIPECAT),
    "livekit": System("LiveKit default", "run_livekit", "default", LIVEKIT),
    "livekit-hearout": System("LiveKit, hearout's turns", "run_livekit", "hearout", (*LIVEKIT, *OURS)),
    "livekit-flush": System("LiveKit default + flush", "run_livekit", "default-flush", LIVEKIT),
    "livekit-vad": System("LiveKit vad", "run_livekit", "vad", LIVEKIT),
    "livekit-vad-flush": System("LiveKit vad + flush", "run_livekit", "vad-flush", LIVEKIT),
    "livekit-tuned": System("LiveKit tuned", "run_livekit", "default-tuned", LIVEKIT),
    "livekit-vad-tuned": System("LiveKit vad, tuned", "run_livekit", "vad-tuned", LIVEKIT),
    "livekit-stt": System("LiveKit stt", "run_livekit", "stt", LIVEKIT),
}


def run(system: System, python: str, scripts: Sequence[Script], output: Path, name: str, at_once: int) -> None:
    """Let it listen to the calls, whose audio and ``scripts.json`` lie in ``output``; its lines go to ``NAME.jsonl``.

    Raises:
        Failed: it ended with an error, or did not end.
    """
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
