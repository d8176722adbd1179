"""Traces written by hand, for the report: who spoke when, and what each turn detection did."""

from __future__ import annotations

import json
from typing import Any

from hearout.traces.reader import parse_trace
from hearout.traces.records import Trace

__all__ = ["agent", "bot", "lines", "said", "trace"]

END = {"t": 60.0, "end": True}


def said(text: str, start: float, stop: float, channel: int = 0) -> list[dict[str, Any]]:
    """Somebody says that: what a voice detection and Deepgram make of it."""
    texts = text.split()
    step = (stop - start) / len(texts)
    words = [
        {"word": word.strip(".,?").lower(), "punctuated_word": word}
        | {"start": round(start + n * step, 3), "end": round(start + (n + 1) * step, 3)}
        for n, word in enumerate(texts)
    ]
    message = {
        "type": "Results",
        "channel_index": [channel, 2],
        "start": start,
        "duration": stop - start,
        "is_final": True,
        "channel": {"alternatives": [{"transcript": text, "words": words}]},
    }
    return [
        {"t": start + 0.1, "vad": "start", "audio": start, "channel": channel},
        {"t": stop + 0.15, "vad": "stop", "audio": stop, "channel": channel},
        {"t": stop + 0.2, "stt": message},
    ]


def agent(start: float, stop: float) -> list[dict[str, Any]]:
    """The voicebot speaks."""
    return [{"t": start, "agent": "started"}, {"t": stop, "agent": "stopped"}]


def bot(t: float, text: str) -> list[dict[str, Any]]:
    """Its turn detection takes a turn for over."""
    return [{"t": t, "bot": "committed", "text": text}]


def lines(*records: list[dict[str, Any]], **header: Any) -> str:
    """A trace as text."""
    first = {"hearout_trace": 1, "stt": "deepgram", **header}
    flat = sorted([record for group in records for record in group], key=lambda record: record["t"])
    if not any("end" in record for record in flat):
        flat.append(END)
    return "".join(json.dumps(record) + "\n" for record in (first, *flat))


def trace(*records: list[dict[str, Any]], name: str = "hand.jsonl", **header: Any) -> Trace:
    return parse_trace(lines(*records, **header).splitlines(), name)
