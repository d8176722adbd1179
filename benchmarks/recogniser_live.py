"""What live sessions with the local recogniser cost, and how soon it answers when many talk at once.

    python -m benchmarks.recogniser_live samples/order.flac --sessions 1 4 8

Each session sends the recording to one `hearout stt-server` in real time, 20 ms a message, as Deepgram's protocol has
it, with interim results, and asks with Finalize 0.2 s after each turn of the ``.json`` beside it. Sessions begin spread
over the recording's first five seconds. The processor time is the server's; starting it, with its model, is taken off.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import trio
from trio_websocket import open_websocket_url

_STEP = 0.02  # seconds of audio a message
_AFTER = 0.2  # seconds from the end of speech to Finalize
_SPREAD = 5.0  # seconds over which sessions begin
_TAIL = 3.0  # seconds in which the last answer has to come


@dataclass
class Seen:
    """What sessions saw: seconds from each Finalize to its answer, and interim results with words."""

    answers: list[float] = field(default_factory=list)
    missing: int = 0
    interims: int = 0


async def talk(url: str, samples: np.ndarray, rate: int, ends: list[float], wait: float, seen: Seen) -> None:
    """One session."""
    query = f"?encoding=linear16&sample_rate={rate}&interim_results=true&endpointing=false"
    await trio.sleep(wait)
    async with open_websocket_url(url + query, extra_headers=[(b"authorization", b"Token any")]) as socket:
        asked: list[float] = []
        due = [end + _AFTER for end in ends]
        answered = trio.Event()  # all of them

        async def listen() -> None:
            while True:
                message = json.loads(await socket.get_message())
                if message.get("from_finalize"):
                    seen.answers.append(trio.current_time() - asked.pop(0))
                    if not asked and not due:
                        answered.set()
                elif not message.get("is_final", True) and message["channel"]["alternatives"][0]["transcript"]:
                    seen.interims += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            began = trio.current_time()
            step = round(_STEP * rate)
            for place in range(0, len(samples), step):
                heard = (place + step) / rate
                await trio.sleep_until(began + heard)
                await socket.send_message(samples[place : place + step].tobytes())
                if due and heard >= due[0]:
                    due.pop(0)
                    asked.append(trio.current_time())
                    await socket.send_message('{"type":"Finalize"}')
            with trio.move_on_after(_TAIL):
                await answered.wait()
            seen.missing += len(asked) + len(due)
            nursery.cancel_scope.cancel()


@contextmanager
def serving(connections: int) -> Iterator[str]:
    """The URL of a server that lets so many in, also where they are more than it serves well."""
    command = [sys.executable, "-m", "hearout.sttserver", "--port", "0", "--until-eof"]
    command += ["--protocol", "deepgram", "--connections", str(max(1, connections))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:  # it has said why
            raise SystemExit(process.wait())
        yield line.removeprefix("listening on ").strip()
        process.stdin.close()


async def run(samples: np.ndarray, rate: int, ends: list[float], sessions: int) -> tuple[Seen, float]:
    """What they saw, and the processor time of the server in seconds, its start included."""
    seen = Seen()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with serving(sessions) as url:
        async with trio.open_nursery() as nursery:
            for number in range(sessions):
                nursery.start_soon(talk, url, samples, rate, ends, number * _SPREAD / sessions, seen)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seen, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description="Live sessions with the local recogniser.")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 4, 8], metavar="N")
    arguments = parser.parse_args()
    samples, rate = soundfile.read(arguments.recording, dtype="int16")
    ends = [turn["end"] for turn in json.loads(arguments.recording.with_suffix(".json").read_text())["turns"]]
    seconds = len(samples) / rate
    idle = trio.run(run, samples, rate, ends, 0)[1]
    print("| sessions | CPU s per s of a session | answer to Finalize: median, p95, most | interims a session | none |")
    print("|---|---|---|---|---|")
    for sessions in arguments.sessions:
        seen, cpu = trio.run(run, samples, rate, ends, sessions)
        answers = sorted(seen.answers) or [float("nan")]
        p95 = answers[int(0.95 * (len(answers) - 1))]
        took = f"{statistics.median(answers):.2f} s, {p95:.2f} s, {answers[-1]:.2f} s"
        each = (cpu - idle) / seconds / sessions
        print(f"| {sessions} | {each:.3f} | {took} | {seen.interims / sessions:.1f} | {seen.missing} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
