"""Of a recording of caller and agent: the trace of a caller to whom an agent speaks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hearout.errors import UsageError
from hearout.traces import Trace, parse_trace, replay
from hearout.traces.records import AgentChange, AgentText, BotTurn, Received, VoiceChange
from hearout.traces.sides import caller_side
from hearout_policies.events import TurnCompleted


def result(channel: int, start: float, text: str, end: float) -> dict[str, Any]:
    """A final result of Deepgram's, its words evenly over its last second."""
    texts = text.split()
    step = 1.0 / len(texts)
    words = [{"word": w, "start": end - 1 + n * step, "end": end - 1 + (n + 1) * step} for n, w in enumerate(texts)]
    alternative = {"transcript": text, "words": words}
    flags = {"is_final": True, "speech_final": True}
    span = {"start": start, "duration": end - start}
    return {
        "type": "Results",
        "channel_index": [channel, 2],
        **span,
        **flags,
        "channel": {"alternatives": [alternative]},
    }


def voice(channel: int, start: float, stop: float) -> list[dict[str, Any]]:
    return [
        {"t": start + 0.1, "vad": "start", "audio": start, "channel": channel},
        {"t": stop + 0.2, "vad": "stop", "audio": stop, "channel": channel},
    ]


def recording(caller: int) -> Trace:
    agent = 1 - caller
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": 2, "policy": {"base": "fast"}, "source": "made here"}
    lines = [
        *voice(agent, 0.5, 1.5),
        {"t": 2.0, "stt": result(agent, 0.0, "What is your name?", 1.5)},
        *voice(caller, 2.5, 3.5),
        {"t": 3.9, "stt": result(caller, 0.0, "It is Smith.", 3.5)},
        {"t": 4.0, "stt": {"type": "UtteranceEnd", "channel": [caller, 2], "last_word_end": 3.5}},
        *voice(agent, 4.5, 5.5),
        {"t": 5.9, "stt": result(agent, 1.5, "Thank you.", 5.5)},
        {"t": 9.0, "end": True},
    ]
    return parse_trace(
        [json.dumps(line) for line in (header, *sorted(lines, key=lambda line: line["t"]))], "both.jsonl"
    )


@pytest.mark.parametrize("caller", [0, 1])
def test_the_agent_has_started_stopped_and_said(caller: int) -> None:
    header, lines = caller_side(recording(caller), 1 - caller)
    assert (header.stt, header.channels, header.policy, header.source) == ("results", 1, {"base": "fast"}, "made here")
    trace = parse_trace([json.dumps(line) for line in (header.as_dict(), *lines)])
    assert [r for r in trace.records if isinstance(r, AgentText | AgentChange)] == [
        AgentText(0.5, "What is your name?"),
        AgentChange(0.5, "started"),
        AgentChange(1.5, "stopped"),
        AgentText(4.5, "Thank you."),
        AgentChange(4.5, "started"),
        AgentChange(5.5, "stopped"),
    ]
    assert [(r.kind, r.audio) for r in trace.records if isinstance(r, VoiceChange)] == [("start", 2.5), ("stop", 3.5)]
    assert [r.message["type"] for r in trace.records if isinstance(r, Received)] == ["final", "utterance_end"]
    (turn,) = [event for event in replay(trace).outputs if isinstance(event, TurnCompleted)]
    assert turn.text == "It is Smith."
    assert turn.at < 4.5


def test_a_reply_may_be_taken_for_the_end_of_the_turn() -> None:
    header, lines = caller_side(recording(0), 1, replies=True)
    trace = parse_trace([json.dumps(line) for line in (header.as_dict(), *lines)])
    # Nobody had spoken before the agent did first.
    assert [record for record in trace.records if isinstance(record, BotTurn)] == [BotTurn(4.5, "It is Smith.")]


def test_it_has_two_channels() -> None:
    one = parse_trace(['{"hearout_trace": 1, "stt": "deepgram"}'], "one.jsonl")
    with pytest.raises(UsageError, match=r"one\.jsonl: it must have two channels"):
        caller_side(one, 1)
