"""Simulated calls of a voicebot whose turn detection is a timer, as traces with ``bot`` lines: for a report to look at.

``python -m benchmarks.endpointing.timer_calls FOLDER`` writes 24 of them; `docs/report.md` shows the report on these.
The timer knows what a good voice detection tells, and the words in time: real ones are worse.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.endpointing.conversations import Conversation, sample
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.simulated import trace
from hearout_policies import preset

__all__ = ["timer_call"]

_WAITS = 0.6  # seconds from when the voice detection notices a silence, which is 0.2 s after it began
_HEARD = 0.25  # seconds after which a word is known


def timer_call(call: Conversation, **header: str) -> list[dict[str, Any]]:
    """A trace of hearout's session beside such a bot, header first."""
    first, *records = trace(call, preset("balanced"))
    edges = [edge for edge in call.edges if edge.kind in ("start", "stop")]
    words = call.words
    for edge, following in pairwise([*edges, None]):
        assert edge is not None
        at = edge.at + _WAITS
        if edge.kind == "stop" and at < (following.at if following else math.inf):
            known = sum(word.end <= at - _HEARD for word in words)
            if known:
                text = " ".join(word.text for word in words[:known])
                records.append({"t": round(at, 3), "bot": "committed", "text": text})
                words = words[known:]
    return [first | header, *sorted(records, key=lambda record: record["t"])]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calls", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for number in range(args.calls):
        call = sample(SCENARIOS["agent"], args.seed, number)
        when = f"2026-11-27T{9 + number % 8:02}:05:00+00:00"
        records = timer_call(call, started=when, caller=f"caller {number % 6}")
        text = "".join(json.dumps(record) + "\n" for record in records)
        (args.folder / f"call{number:04}.jsonl").write_text(text)


if __name__ == "__main__":
    _main()
