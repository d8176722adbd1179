"""How many calls does a core carry?

    python -m benchmarks.capacity [--calls N ...] [--seconds S] [--kinds KIND ...] [--tls] [--processes P] [--cache DIR]

One process, pinned to one core, carries N calls in real time; the transcriber runs in a process on another core
and is reached over real loopback websockets. Kinds:

    pushed      hearout; frames of 20 ms handed over by callbacks, as media servers do (`PushSource`)
    pushed-200  the same with `LinkSettings(message=0.2)`: half as many messages to the transcriber
    ear         the same as pushed with Smart Turn, which `hearout models get smart-turn` fetches
    silero      the same as pushed with Silero's voice detection, which `hearout models get silero-vad` fetches
    iterated    hearout; frames of 20 ms from an iterator: a task wakes up for each
    chunks      hearout; 100 ms at a time from an iterator: voice is noticed up to 80 ms later
    floor       no framework: WebRTC's voice detection, frames on sockets, JSON (benchmarks/capacity/floor.py)
    parts       the same loop with hearout's own voice detection, clock, dialect and turn machine; no tasks, no link
    pipecat, pipecat-timeout, livekit, livekit-vad, livekit-stt
                the peers as in `benchmarks.peers`: their defaults; without a turn model; LiveKit with speech_final
                and Silero, which `livekit-stt` still loads; installed on demand below ``--cache``

Without ``--calls`` the largest N is searched (to 5 %) at which 99 of 100 frames are heard within 20 ms and turns
are told no more than 50 ms later than with 2 calls. With ``--processes P`` the calls are spread over P processes,
each pinned to a core of its own: what a server on several cores does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme

from benchmarks.capacity.script import write_pcm
from benchmarks.peers.environments import CACHE, LIVEKIT, PIPECAT, python_in

_KINDS = {
    "pushed": ["benchmarks.capacity.load"],
    "pushed-200": ["benchmarks.capacity.load", "--message", "0.2"],
    "ear": ["benchmarks.capacity.load", "--ear"],
    "silero": ["benchmarks.capacity.load", "--vad", "silero"],
    "iterated": ["benchmarks.capacity.load", "--chunk", "0.02"],
    "chunks": ["benchmarks.capacity.load", "--chunk", "0.1"],
    "floor": ["benchmarks.capacity.floor"],
    "parts": ["benchmarks.capacity.floor", "--parts"],
}
_PEERS = {
    "pipecat": (PIPECAT, "default"),
    "pipecat-timeout": (PIPECAT, "timeout"),
    "livekit": (LIVEKIT, "default"),
    "livekit-vad": (LIVEKIT, "vad"),
    "livekit-stt": (LIVEKIT, "stt"),
}
_LATE = 20.0  # ms, the 99th percentile of frames
_SLOWER = 0.05  # seconds, the 90th percentile of turns
_COLUMNS = ("calls", "cpu_ms", "busy", "late_p50_ms", "late_p99_ms", "latency_p50", "latency_p90", "turns", "wrong")

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="How many calls does a core carry?")
    parser.add_argument("--calls", type=int, nargs="+", help="so many calls, instead of the search")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=[*_KINDS, *_PEERS],
        default=[kind for kind in _KINDS if kind not in ("ear", "silero")],
    )
    parser.add_argument("--seconds", type=float, default=15, help="measured in each run (default 15)")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between two results (default 0.2)")
    parser.add_argument("--tls", action="store_true", help="talk to the transcriber with TLS (not the peers)")
    parser.add_argument("--processes", type=int, default=1, help="spread the calls over so many (default 1)")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="where the peers are installed (default: %(default)s)"
    )
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{len(cores)} cores, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the start\n")
    print(f"| kind | {' | '.join(_COLUMNS)} | kB a call |\n|{'---|' * (len(_COLUMNS) + 2)}")
    with _server(args.every, args.tls, None if args.processes >= len(cores) else cores[-1]) as url:
        for kind in args.kinds:
            run = Runs(kind, _command(kind, args.cache), url, args.seconds, cores[: args.processes])
            if args.calls:
                for calls in args.calls:
                    run(calls)
            else:
                print(f"\n{kind}: {run.search()} calls\n", flush=True)


def _command(kind: str, cache: Path) -> list[str]:
    if kind in _KINDS:
        return [sys.executable, "-m", *_KINDS[kind]]
    requires, settings = _PEERS[kind]
    peer = kind.partition("-")[0]
    pcm = cache / "capacity.s16"
    cache.mkdir(parents=True, exist_ok=True)
    write_pcm(pcm)
    module = f"benchmarks.capacity.load_{peer}"
    return [python_in(cache / peer, requires), "-m", module, "--pcm", str(pcm), "--settings", settings]


@contextmanager
def _server(every: float, tls: bool, core: int | None) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.capacity.server", "--every", str(every)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    with tempfile.TemporaryDirectory() as folder:
        if tls:
            command += ["--certificate", _certificate(Path(folder))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield f"{'wss' if tls else 'ws'}://127.0.0.1:{int(process.stdout.readline())}/v1/listen"
            finally:
                process.terminate()


def _certificate(folder: Path) -> str:
    """Of an authority that the processes of this run trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    path = str(folder / "server.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


class Runs:
    """Runs of one kind."""

    def __init__(self, kind: str, command: list[str], url: str, seconds: float, cores: list[int]) -> None:
        self._kind = kind
        self._command = command
        self._url = url
        self._seconds = seconds
        self._cores = cores
        self._alone: Result | None = None

    def __call__(self, calls: int) -> Result:
        share = calls // len(self._cores)
        command = [*self._command, self._url, "--calls", str(share), "--seconds", str(self._seconds)]
        processes = [
            subprocess.Popen([*command, "--core", str(core)], stdout=subprocess.PIPE, text=True) for core in self._cores
        ]
        results = [json.loads(process.communicate()[0]) for process in processes]
        result = {name: max(r[name] for r in results) if results[0][name] is not None else None for name in results[0]}
        for name in ("calls", "turns", "wrong"):
            result[name] = sum(r[name] for r in results)
        self._alone = self._alone or result
        more = result["calls"] - self._alone["calls"]
        each = f"{(result['rss_mb'] - self._alone['rss_mb']) * 1000 / more * len(self._cores):.0f}" if more else "–"
        print(f"| {self._kind} | {' | '.join(str(result[name]) for name in _COLUMNS)} | {each} |", flush=True)
        return result

    def search(self) -> int:
        """The largest number of calls that is carried, to 5 %."""
        few = self(2)
        good, calls = 2, 100 if self._kind in _KINDS else 8
        bad: int | None = None
        while bad is None or bad > good * 1.05:
            if self._carried(self(calls), few):
                good = calls
            else:
                bad = calls
            calls = good * 2 if bad is None else (good + bad) // 2
        return good

    @staticmethod
    def _carried(result: Result, few: Result) -> bool:
        on_time = result["late_p99_ms"] < _LATE
        return on_time and (few["latency_p90"] is None or result["latency_p90"] <= few["latency_p90"] + _SLOWER)


if __name__ == "__main__":
    main()
