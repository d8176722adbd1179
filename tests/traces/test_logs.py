"""Logs of what Deepgram has sent, as people have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from hearout.errors import UsageError
from hearout.traces import Trace, parse_trace, replay
from hearout.traces.logs import deepgram_log
from hearout.traces.records import AgentChange, BotTurn, LinkChange, Received
from hearout_policies.events import TurnCompleted

BEGAN = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()


def result(start: float, end: float, text: str, *, request: str = "a", **flags: bool) -> dict[str, Any]:
    step = (end - start) / max(1, len(text.split()))
    words = [{"word": w, "start": start + n * step, "end": start + (n + 1) * step} for n, w in enumerate(text.split())]
    alternative = {"transcript": text, "words": words}
    span = {"start": start, "duration": end - start}
    metadata = {"metadata": {"request_id": request}}
    return {
        "type": "Results",
        "channel_index": [0, 1],
        **span,
        **flags,
        **metadata,
        "channel": {"alternatives": [alternative]},
    }


MESSAGES = [
    (1.2, result(0.0, 1.0, "yes")),
    (2.5, result(0.0, 2.0, "yes please.", is_final=True, speech_final=True)),
    (3.1, {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.0}),
    (3.2, {"type": "Metadata", "duration": 3.0}),
]


def imported(lines: list[dict[str, Any]]) -> Trace:
    header, records = deepgram_log([json.dumps(line) for line in lines], "calls.log")
    return parse_trace([json.dumps(line) for line in (header.as_dict(), *records)], "out.jsonl")


SHAPES: Mapping[str, Callable[[float, dict[str, Any]], dict[str, Any]]] = {
    "among its keys, ISO": lambda at, m: {"timestamp": datetime.fromtimestamp(BEGAN + at, UTC).isoformat(), **m},
    "beside it, seconds": lambda at, m: {"ts": BEGAN + at, "level": "info", "message": m},
    "beside it, milliseconds": lambda at, m: {"time": 1000 * (BEGAN + at), "data": m},
    "as text in a log of events": lambda at, m: {"t": 17.0 + at, "event": "message", "payload": json.dumps(m)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_time_and_a_message_in_whatever_shape(shape: str) -> None:
    trace = imported([SHAPES[shape](at, message) for at, message in MESSAGES])
    assert (trace.header.stt, trace.header.vad, trace.header.channels) == ("deepgram", False, 1)
    # The quickest message, the first, took 0.2 s: that is where the audio is taken to begin.
    assert [round(record.t, 3) for record in trace.records] == [1.0, 2.3, 2.9]
    (turn,) = [event for event in replay(trace).outputs if isinstance(event, TurnCompleted)]
    assert turn.text == "yes please."
    assert replay(trace).warnings == ()


@pytest.mark.parametrize("shape", SHAPES)
def test_where_speech_began_is_no_time_of_a_line(shape: str) -> None:
    """Deepgram's SpeechStarted has a "timestamp" of its own, in seconds of audio."""
    started = (9.3, {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 8.8})
    trace = imported([SHAPES[shape](at, message) for at, message in (*MESSAGES[:3], started)])
    assert replay(trace).warnings == ()
    assert [round(record.t, 3) for record in trace.records[:3]] == [1.0, 2.3, 2.9]
    hints = [record for record in trace.records[3:] if isinstance(record, Received)]
    # Where it stands in the place of the line's own time, nobody knows when it came.
    assert [round(hint.t, 3) for hint in hints] == ([] if "its keys" in shape else [9.1])
    assert all(hint.message["timestamp"] == 8.8 for hint in hints)


def test_a_log_of_several_calls_is_refused() -> None:
    gap = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.0}  # of a connection that it does not name
    one = [gap, result(0.0, 1.0, "yes"), gap, result(1.0, 2.0, "no"), gap]
    imported([{"ts": 1.0 + at, **message} for at, message in enumerate(one)])
    calls = [result(0.0, 1.0, "yes", request=name, is_final=True) for name in ("a", "b", "a")]
    with pytest.raises(UsageError, match=r"calls.log: connections at the same time, a and b: .* one call"):
        deepgram_log([json.dumps({"ts": 1.0 + at, **message}) for at, message in enumerate(calls)], "calls.log")


def test_lines_about_the_bot_are_taken_over_and_others_are_not() -> None:
    shape = SHAPES["beside it, seconds"]
    trace = imported(
        [
            {"ts": BEGAN, "message": "a call"},
            {"level": "info"},
            *[shape(at, message) for at, message in MESSAGES],
            {"ts": BEGAN + 2.9, "bot": "committed", "text": "yes please."},
            {"ts": BEGAN + 3.3, "agent": "started"},
        ]
    )
    taken = [record for record in trace.records if isinstance(record, BotTurn | AgentChange)]
    assert [(round(record.t, 3), type(record)) for record in taken] == [(2.7, BotTurn), (3.1, AgentChange)]


def test_a_connection_that_was_made_again() -> None:
    lines = [{"ts": at, **message} for at, message in MESSAGES[:2]]
    lines += [{"ts": 6.3, **result(0.0, 1.0, "and no", request="b", is_final=True, speech_final=True)}]
    trace = imported(lines)
    lost, restored = [record for record in trace.records if isinstance(record, LinkChange)]
    assert (lost.state, restored.state, restored.speed) == ("lost", "restored", None)
    assert restored.audio == pytest.approx(5.1)  # its audio began 5.3 s into the log, the call's 0.2 s
    assert [e.text for e in replay(trace).outputs if isinstance(e, TurnCompleted)] == ["yes please.", "and no"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "calls.log:1: not JSON"),
        (json.dumps(MESSAGES[0][1]), "calls.log:1: no time: it must be in one of timestamp, time"),
        (json.dumps({"ts": "yesterday", **MESSAGES[0][1]}), 'calls.log:1: "ts" must be a number of seconds'),
        (json.dumps({"ts": True, **MESSAGES[0][1]}), 'calls.log:1: "ts" must be a number of seconds'),
        ('{"ts": 1, "message": "hello"}', "calls.log: there is no result of Deepgram in it"),
        ("", "calls.log: there is no result of Deepgram in it"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(line: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        deepgram_log([line], "calls.log")
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)
