"""SIGTERM at ``hearout serve`` with calls in mid-sentence: are all words told, and how soon is the process gone?

    python -m benchmarks.drain [--calls 20]

Three processes, as in `benchmarks.overload`. Calls begin one after another within 14 s, so that they are everywhere in
the recording when the signal comes. Then each must have been told every word that was over by then, and be closed
with 1001. Counted are the words that had ended 0.2 s before the signal: those of the last message may be on their way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import time
from collections import Counter

from benchmarks.capacity.script import Talk, load_talk
from benchmarks.overload import Call, frames_of
from benchmarks.served import served

_UNTOLD = 0.2  # seconds


def _missing(call: Call, talk: Talk, length: float, until: float) -> tuple[int, int]:
    """Words that were over, and how many of them are in no turn."""
    ends = [end + number * length for number in range(int(until / length) + 1) for _, _, end in talk.words]
    over = sum(end <= until - _UNTOLD for end in ends)
    told = sum(len(text.split()) for text, _ in call.turns)
    return over, max(0, over - told)


async def _drain(server: subprocess.Popen[str], port: int, calls: int) -> None:
    talk = load_talk()
    frames = frames_of(talk)
    length = len(frames) * 0.1
    loop = asyncio.get_running_loop()
    open_calls = []
    for _ in range(calls):
        _, call = await loop.create_connection(lambda: Call(talk, frames), "127.0.0.1", port)
        open_calls.append(call)
        await asyncio.sleep(length / calls)
    heard = [call.heard for call in open_calls]
    began = time.perf_counter()
    server.send_signal(signal.SIGTERM)
    await asyncio.to_thread(server.wait)
    gone = time.perf_counter() - began
    await asyncio.sleep(0.2)
    outcomes = Counter(call.outcome for call in open_calls)
    words = [_missing(call, talk, length, until) for call, until in zip(open_calls, heard, strict=True)]
    ends = sorted(call.ended - began for call in open_calls if call.ended)
    print(f"{calls} calls: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    print(f"words said: {sum(over for over, _ in words)}, of which {sum(lost for _, lost in words)} in no turn")
    print(f"calls closed after {statistics.median(ends):.2f} s (median), {ends[-1]:.2f} s (the last one)")
    print(f"the process was gone after {gone:.2f} s, with status {server.returncode}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20)
    args = parser.parse_args()
    with served("--busy", "2") as (server, port):
        asyncio.run(_drain(server, port, args.calls))


if __name__ == "__main__":
    main()
