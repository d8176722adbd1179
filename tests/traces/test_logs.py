"""Logs of what Deepgram has sent, as people have them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from hearout.errors import UsageError
from hearout.traces import Trace, parse_trace, replay
from hearout.traces.logs import Log, LoggedCall, deepgram_log
from hearout.traces.records import AgentChange, AudioEnd, BotInterrupted, BotTurn, LinkChange, Received
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


def log_of(lines: list[dict[str, Any]]) -> Log:
    return deepgram_log([json.dumps(line) for line in lines], "calls.log")


def trace_of(call: LoggedCall) -> Trace:
    header = call.header("a log").as_dict()
    return parse_trace([json.dumps(line) for line in (header, *call.records())], "out.jsonl")


def imported(lines: list[dict[str, Any]]) -> Trace:
    (call,) = log_of(lines).calls
    return trace_of(call)


def said(call: LoggedCall) -> list[str]:
    return [event.text for event in replay(trace_of(call)).outputs if isinstance(event, TurnCompleted)]


SHAPES: Mapping[str, Callable[[float, dict[str, Any]], dict[str, Any]]] = {
    "among its keys, ISO": lambda at, m: {"timestamp": datetime.fromtimestamp(BEGAN + at, UTC).isoformat(), **m},
    "beside it, seconds": lambda at, m: {"ts": BEGAN + at, "level": "info", "message": m},
    "beside it, milliseconds": lambda at, m: {"time": 1000 * (BEGAN + at), "data": m},
    "microseconds": lambda at, m: {"time": round(1e6 * (BEGAN + at)), "data": m},
    "a number as text": lambda at, m: {"time": str(BEGAN + at), "data": m},
    "of loguru": lambda at, m: {"record": {"message": json.dumps(m), "time": {"repr": "", "timestamp": BEGAN + at}}},
    "deep, behind a time that is another": lambda at, m: {
        "time": 0,
        "log": json.dumps({"ts": BEGAN + at, "x": {"y": m}}),
    },
    "as text in a log of events": lambda at, m: {"t": 17.0 + at, "event": "message", "payload": json.dumps(m)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_time_and_a_message_in_whatever_shape(shape: str) -> None:
    trace = imported([SHAPES[shape](at, message) for at, message in MESSAGES])
    assert (trace.header.stt, trace.header.vad, trace.header.channels) == ("deepgram", False, 1)
    # The quickest message, the first, took 0.2 s: that is where the audio is taken to begin.
    assert [record.t for record in trace.records] == [1.0, 2.3, 2.9, 3.0]
    assert isinstance(trace.records[-1], AudioEnd)  # Deepgram's Metadata is its last message
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


CALL = [
    (0.1, {"agent": "started"}),
    (1.2, result(0.0, 1.0, "yes please.", is_final=True, speech_final=True)),
    (1.5, {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.0}),
    (1.9, {"bot": "committed", "text": "yes please."}),
]


def call(at: float, text: str = "yes please.", request: str | None = "a", start: float = 0.0) -> list[dict[str, Any]]:
    """Of which the audio began at ``at``."""
    said = result(start, 1.0, text, is_final=True, speech_final=True)
    said["metadata"] = {"request_id": request} if request else {}
    return [{"ts": at + when, "message": said if "channel_index" in line else line} for when, line in CALL]


@pytest.mark.parametrize("names", ["ab", [None, None]])
@pytest.mark.parametrize("ended", [{"type": "Metadata", "request_id": "a"}, {"type": "CloseStream"}, None])
def test_calls_one_behind_the_other(names: list[str | None], ended: dict[str, Any] | None) -> None:
    """What ends the first tells them apart, or the time that passes."""
    apart = 3.0 if ended else 70.0
    last = [{"ts": BEGAN + 2.1, "message": ended}] if ended else []
    # Who logs no empty results has not the first ones.
    first, second = call(BEGAN, "one.", names[0], 0.1), call(BEGAN + apart, "two.", names[1], 0.2)
    second[1]["message"]["duration"] = 0.7
    log = log_of([*first, *last, *second])
    assert [said(one) for one in log.calls] == [["one."], ["two."]]
    assert [[r.t for r in trace_of(one).records if isinstance(r, AgentChange | BotTurn)] for one in log.calls] == [
        [0.0, 1.7],
        [0.0, 1.6],
    ]
    assert log.skipped == ()


def test_a_result_that_is_delivered_twice_begins_no_connection() -> None:
    again = {"ts": BEGAN + 2.5, "message": call(BEGAN, "Yes, please.", request=None)[1]["message"]}
    (one,) = log_of([*call(BEGAN, request=None), again]).calls
    assert one.again == 0


def test_calls_at_the_same_time() -> None:
    """Lines that do not say which they are of are left out: most of them could be of either."""
    one, two = call(BEGAN, "one.", "a"), call(BEGAN + 1.05, "two.", "b")
    more = {"ts": BEGAN + 3.2, "message": result(2.0, 3.0, "three", request="a", is_final=True, speech_final=True)}
    named = {"ts": BEGAN + 2.5, "message": {"bot": "interrupted"}, "request_id": "b"}
    over = {"ts": BEGAN + 5.0, "message": {"type": "Metadata", "request_id": "a"}}
    log = log_of([*one, *two, more, named, over])
    assert [said(one) for one in log.calls] == [["one.", "three"], ["two."]]
    first, second = map(trace_of, log.calls)
    assert [type(r) for r in first.records] == [Received, Received, AudioEnd]
    assert [type(r) for r in second.records] == [Received, BotInterrupted]
    assert log.skipped == ("6 lines without a request_id, where several calls were at the same time",)


@pytest.mark.parametrize(
    ("time", "started"),
    [
        ("2026-05-01T14:00:{:06.3f}+02:00", "2026-05-01T14:00:00.200+02:00"),
        ("2026-05-01T12:00:{:06.3f}Z", "2026-05-01T12:00:00.200+00:00"),
        ("2026-05-01 12:00:{:06.3f}", "2026-05-01T12:00:00.200"),
        (BEGAN, "2026-05-01T12:00:00.200+00:00"),
        (17.0, ""),
    ],
)
def test_when_it_began_by_the_clock_of_the_log(time: str | float, started: str) -> None:
    lines = [
        {"ts": time.format(at) if isinstance(time, str) else time + at, "message": message} for at, message in MESSAGES
    ]
    assert log_of(lines).calls[0].started == started


def test_what_cannot_be_read_is_left_out_and_counted() -> None:
    lines = [json.dumps({"ts": at, **message}) for at, message in MESSAGES]
    wrong = ["12:00 a call begins", '{"ts": 1.3, "agent": "begins"}', '{"ts": 1.4, "bot": "committed"}']
    others = ['{"ts": 1.3, "level": "info"}', '{"ts": 1.5, "type": "Error", "message": "no"}', '{"type": "KeepAlive"}']
    clock = json.dumps({"ts": BEGAN, "agent": "started"})
    log = deepgram_log([*wrong, "", *others, clock, *lines, lines[-1][:20]], "calls.log")
    assert len(trace_of(log.calls[0]).records) == 4
    assert log.skipped[0].startswith("4 lines that cannot be read, the first: line 1: not JSON")
    assert log.skipped[1:] == ("3 lines about other things", "1 line with the time of another clock")


def test_an_error_of_deepgrams_is_taken_over() -> None:
    error = {"type": "Error", "description": "too slow", "message": "m", "variant": "NET-0001"}
    trace = imported([{"ts": at, **message} for at, message in [*MESSAGES, (4.0, error)]])
    assert replay(trace).warnings == ("out.jsonl:5: the transcriber failed: too slow",)


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


def test_a_call_of_years_is_none() -> None:
    log = [json.dumps({"ts": at, **message}) for at, message in (MESSAGES[0], (1e9 - 1, MESSAGES[1][1]))]
    with pytest.raises(UsageError, match=r"^calls.log: 1 call of up to 11574 days, by times that cannot be$"):
        deepgram_log(log, "calls.log")
    late = {"ts": "9999-12-31T00:00:00Z", **MESSAGES[1][1]}
    early = {"ts": "0001-01-01T00:00:00Z", **MESSAGES[1][1]}
    assert log_of([*({"ts": at, **message} for at, message in MESSAGES), late, early]).skipped[0].startswith("2 lines ")


def test_a_channel_that_is_not_there_is_none() -> None:
    own = [{"ts": 1.3, "agent": "started", "channel": 4}, {"ts": 1.3, "agent": "said", "text": "Yes?", "channel": 0}]
    assert len(imported([*({"ts": at, **message} for at, message in MESSAGES), *own]).records) == 6


def test_a_connection_that_was_made_again() -> None:
    lines = [{"ts": at, **message} for at, message in MESSAGES[:2]]
    lines += [{"ts": 6.3, **result(0.0, 1.0, "and no", request="b", is_final=True, speech_final=True)}]
    trace = imported(lines)
    lost, restored = [record for record in trace.records if isinstance(record, LinkChange)]
    assert (lost.state, restored.state, restored.speed) == ("lost", "restored", None)
    assert restored.audio == 5.1  # its audio began 5.3 s into the log, the call's 0.2 s
    assert [e.text for e in replay(trace).outputs if isinstance(e, TurnCompleted)] == ["yes please.", "and no"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "calls.log: there is no result of Deepgram in it: [^;]*; 1 line that cannot be read: line 1: not JSON"),
        (json.dumps(MESSAGES[0][1]), ".* line 1: no time: it must be in one of timestamp, time"),
        (json.dumps({"ts": "yesterday", **MESSAGES[0][1]}), '.* line 1: "ts" must be a number of seconds'),
        (json.dumps({"ts": True, **MESSAGES[0][1]}), '.* line 1: "ts" must be a number of seconds'),
        (json.dumps({"ts": 1, **MESSAGES[0][1], "channel_index": [0, 10**9]}), ".* there is no channel"),
        ('{"ts": 1, "message": "hello"}', "calls.log: there is no result of Deepgram in it"),
        ("", "calls.log: there is no result of Deepgram in it"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(line: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        deepgram_log([line], "calls.log")
    assert re.match(complaint, str(caught.value))
    assert "\n" not in str(caught.value)
