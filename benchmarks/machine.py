"""What the turn machine costs: microseconds a signal, and what a day of talk leaves behind in memory.

    python -m benchmarks.machine [--hours H]

A conversation as Deepgram would tell it (a turn every 10 s: local VAD, an interim result a second, finals with
``speech_final``, `UtteranceEnd`, the answer to the Finalize) is run through one machine.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc
from collections.abc import Iterator

from turnwise_policies import TurnCompleted, TurnMachine
from turnwise_policies.signals import Signal, SpeechStarted, SpeechStopped, Tick, Transcript, UtteranceEnd, Word

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


if __name__ == "__main__":
    main()
