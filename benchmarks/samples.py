"""The whole way, from sound to turn: the samples through the local recogniser, in real time.

    python -m benchmarks.samples [--speed max]

For each recording with a JSON of true times beside it: turns found, latency after the *true* end of the last word,
word error of the completed texts, and the CPU time of the session, the recogniser's process not counted. All of it
depends on the machine but for the turns and the words.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
from pathlib import Path
from typing import Any

import trio

from hearout import Deepgram, FileSource, TurnCompleted, UsageError, local_server, open_session, paced

_SAMPLES = Path(__file__).parents[1] / "samples"


async def main(realtime: bool) -> None:
    print("| sample | turns | found | latency s (median, worst) | word error | CPU s per s of audio |")
    print("|---|---|---|---|---|---|")
    latencies, errors, words = [], 0, 0
    for truth_file in sorted(_SAMPLES.glob("*.json")):
        truth = json.loads(truth_file.read_text())
        completed, cost = await _listen(_SAMPLES / truth["file"], realtime)
        late = [late for turn in truth["turns"] if (late := _latency(turn, completed)) is not None]
        wrong = sum(_word_errors(*texts) for texts in _by_channel(truth, completed))
        spoken = sum(len(turn["text"].split()) for turn in truth["turns"])
        print(
            f"| {truth['file']} | {len(truth['turns'])} | {len(completed)} | {statistics.median(late):.2f}, "
            f"{max(late):.2f} | {wrong}/{spoken} | {cost:.4f} |",
            flush=True,
        )
        latencies += late
        errors += wrong
        words += spoken
    print(f"\nlatency: median {statistics.median(latencies):.2f} s; word error {errors / words:.1%}")


async def _listen(path: Path, realtime: bool) -> tuple[list[TurnCompleted], float]:
    """The completed turns, and CPU seconds of this process per second of audio."""
    completed = []
    async with local_server() as url:
        source = FileSource(path)
        transcriber = Deepgram("local", url, source.sample_rate, source.channels)
        before = resource.getrusage(resource.RUSAGE_SELF)
        audio = paced(source) if realtime else source
        async with open_session(audio, transcriber, realtime=realtime) as session:
            async for event in session:
                if isinstance(event, TurnCompleted):
                    completed.append(event)
            heard = session.heard
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return completed, cpu / heard


def _latency(turn: dict[str, float], completed: list[TurnCompleted]) -> float | None:
    """From the true end of a turn to the completion that covers it; None when there is none."""
    later = [
        c.at for c in completed if c.channel == turn["channel"] and c.at > turn["end"] and c.audio_end > turn["start"]
    ]
    return min(later) - turn["end"] if later else None


def _by_channel(truth: dict[str, list[dict[str, Any]]], completed: list[TurnCompleted]) -> list[tuple[str, str]]:
    channels = {turn["channel"] for turn in truth["turns"]}
    return [
        (
            " ".join(turn["text"] for turn in truth["turns"] if turn["channel"] == channel),
            " ".join(c.text for c in completed if c.channel == channel),
        )
        for channel in channels
    ]


def _word_errors(reference: str, hypothesis: str) -> int:
    """Levenshtein distance in words."""
    wanted, given = reference.split(), hypothesis.split()
    row = list(range(len(given) + 1))
    for i, word in enumerate(wanted, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(given, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The samples through the local recogniser.")
    parser.add_argument("--speed", choices=["1.0", "max"], default="1.0")
    try:
        trio.run(main, parser.parse_args().speed == "1.0")
    except UsageError as error:
        print(f"benchmarks.samples: {error}", file=sys.stderr)
        sys.exit(2)
