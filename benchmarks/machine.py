"""What the turn machine costs: microseconds a signal, what a day of talk leaves behind in memory, a replay, an import.

    python -m benchmarks.machine [--hours H]

A conversation as Deepgram would tell it (a turn every 10 s: local VAD, an interim result a second, finals with
``speech_final``, `UtteranceEnd`, the answer to the Finalize) is run through one machine. The same hour as a trace is
replayed. Imports are timed in fresh processes, less what Python itself and trio and numpy take.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

from hearout import parse_trace, replay
from hearout_policies import TurnCompleted, TurnMachine
from hearout_policies.signals import Signal, SpeechStarted, SpeechStopped, Tick, Transcript, UtteranceEnd, Word

_TURN = 10.0  # seconds from one turn to the next
_WORDS = ("I", "would", "like", "to", "change", "my", "flight", "to", "the", "one", "tomorrow", "morning", "please")


def conversation(turns: int) -> Iterator[Signal]:
    """The signals of so many turns, in order."""
    for number in range(turns):
        zero = number * _TURN
        words = tuple(Word(w, zero + 0.3 * i, zero + 0.3 * i + 0.25) for i, w in enumerate(_WORDS))
        end = words[-1].end
        yield SpeechStarted(zero + 0.1, zero, zero + 0.1)
        for second in range(1, 4):
            heard = tuple(w for w in words if w.end <= zero + second)
            yield Transcript(zero + second + 0.25, heard, zero, zero + second, is_final=False)
        yield SpeechStopped(end + 0.2, end, end + 0.2)
        yield Transcript(end + 0.4, words, zero, end + 0.2, is_final=True, finalized=True)
        yield Transcript(end + 0.45, (), end + 0.2, end + 0.3, is_final=True, endpoint=True)
        yield UtteranceEnd(end + 1.3, end)
        yield Tick(zero + _TURN - 0.1)


def trace_lines(turns: int) -> Iterator[str]:
    """The same conversation as a trace of a Deepgram session."""
    yield json.dumps({"hearout_trace": 1, "stt": "deepgram", "channels": 1, "vad": True})
    for signal in conversation(turns):
        match signal:
            case SpeechStarted(at, audio):
                yield json.dumps({"t": at, "vad": "start", "audio": audio})
            case SpeechStopped(at, audio):
                yield json.dumps({"t": at, "vad": "stop", "audio": audio})
            case UtteranceEnd(at, end):
                yield json.dumps({"t": at, "stt": {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": end}})
            case Transcript():
                yield json.dumps({"t": signal.at, "stt": _results(signal)})


def _results(result: Transcript) -> dict[str, Any]:
    words = [{"word": w.text, "start": w.start, "end": w.end, "confidence": 0.99} for w in result.words]
    transcript = " ".join(word.text for word in result.words)
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": result.start,
        "duration": result.end - result.start,
        "is_final": result.is_final,
        "speech_final": result.endpoint,
        "from_finalize": result.finalized,
        "channel": {"alternatives": [{"transcript": transcript, "confidence": 0.99, "words": words}]},
    }


def imports() -> None:
    """Time and memory of imports, each in a process of its own."""
    code = """
import time
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4 / 1024
began, before = time.perf_counter(), resident()
import {}
print(time.perf_counter() - began, resident() - before)
"""
    for name in ("hearout_policies", "trio, trio_websocket, numpy", "hearout"):
        runs = []
        for _ in range(5):
            done = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True)
            runs.append([float(figure) for figure in done.stdout.split()])
        seconds, megabytes = (statistics.median(figures) for figures in zip(*runs, strict=True))
        print(f"import {name}: {seconds * 1000:.0f} ms, {megabytes:.0f} MB (median of 5 processes)")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the turn machine costs.")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated time for the memory figure (default 24)")
    hours: float = parser.parse_args().hours

    signals = list(conversation(360))
    rounds = []
    for _ in range(7):
        machine = TurnMachine()
        began = time.perf_counter()
        completed = sum(isinstance(output, TurnCompleted) for signal in signals for output in machine.handle(signal))
        rounds.append(time.perf_counter() - began)
        assert completed == 360
    spent = statistics.median(rounds)
    print(f"signal: {spent / len(signals) * 1e6:.1f} us, {len(signals) / spent:,.0f} signals/s (median of 7 rounds)")
    print(f"an hour of talk: {spent * 1000:.0f} ms, {3600 / spent:,.0f} times real time")

    lines = list(trace_lines(360))
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        outputs = replay(parse_trace(lines, "benchmark")).outputs
        rounds.append(time.perf_counter() - began)
        assert sum(isinstance(output, TurnCompleted) for output in outputs) == 360
    spent = statistics.median(rounds)
    print(f"replay of an hour of trace: {spent * 1000:.0f} ms, reading the JSON included (median of 5 rounds)")

    machine = TurnMachine()
    turns = round(hours * 3600 / _TURN)
    tracemalloc.start()
    sizes = []
    for number, signal in enumerate(conversation(turns)):
        machine.handle(signal)
        if number in (1000, turns * 9 - 1):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    first, last = (size / 1000 for size in sizes)
    print(f"memory: {first:.1f} kB after {1000 / 9:.0f} turns, {last:.1f} kB after {turns} ({hours:g} h)")
    imports()


if __name__ == "__main__":
    main()
