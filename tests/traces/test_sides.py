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
    side = caller_side(recording(caller), 1 - caller)
    header, lines = side.header, side.lines
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
    side = caller_side(recording(0), 1, replies=True)
    assert (side.words, side.echo) == (3, 0)
    trace = parse_trace([json.dumps(line) for line in (side.header.as_dict(), *side.lines)])
    # Nobody had spoken before the agent did first.
    assert [record for record in trace.records if isinstance(record, BotTurn)] == [BotTurn(4.5, "It is Smith.")]


def replies(*lines: dict[str, Any]) -> list[dict[str, Any]]:
    """What an agent on channel 1 is taken to have done."""
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": 2}
    made = (header, *sorted(lines, key=lambda line: line["t"]))
    side = caller_side(parse_trace([json.dumps(line) for line in made]), 1, replies=True)
    return [line for line in side.lines if "agent" in line or "bot" in line]


def uh_huh(end: float) -> dict[str, Any]:
    return {"t": end + 0.3, "stt": result(0, 0.0, "Uh-huh.", end)}


def test_a_breath_is_no_answer() -> None:
    """Somebody says "uh-huh" while the agent takes it: the agent goes on, and has not answered."""
    told = replies(*voice(1, 0.5, 2.0), *voice(0, 1.7, 2.3), uh_huh(2.3), *voice(1, 2.4, 4.0), *voice(1, 5.0, 6.0))
    assert told == [{"t": 0.5, "agent": "started"}, {"t": 6.0, "agent": "stopped"}]


def test_an_answer_comes_after_a_silence_that_is_longer() -> None:
    told = replies(*voice(1, 0.5, 2.0), *voice(0, 2.1, 2.6), uh_huh(2.6), *voice(1, 3.2, 4.0))
    assert [line for line in told if "bot" in line] == [{"t": 3.2, "bot": "committed", "text": "Uh-huh."}]


def test_what_the_agent_spoke_on_over_it_has_not_answered_later() -> None:
    more = {"t": 9.0, "stt": result(0, 3.0, "And tea.", 8.8)}
    told = replies(
        *(*voice(1, 0.5, 5.0), *voice(0, 1.7, 2.3), uh_huh(2.3), *voice(1, 6.5, 7.0)),
        *(*voice(0, 7.8, 8.8), more, *voice(1, 9.5, 10.0)),
    )
    assert [line for line in told if "bot" in line] == [{"t": 9.5, "bot": "committed", "text": "Uh-huh. And tea."}]


def test_an_interruption_that_the_agent_stops_for_is_answered() -> None:
    told = replies(*voice(1, 0.5, 2.5), *voice(0, 1.7, 2.3), uh_huh(2.3), *voice(1, 3.6, 4.0))
    assert [line["t"] for line in told if "bot" in line] == [3.6]


def test_one_sound_on_both_channels_is_no_conversation() -> None:
    """A mono recording that was stored as stereo."""
    with pytest.raises(UsageError, match=r"^trace: caller and agent are one sound: both channels have the same$"):
        replies(*voice(0, 0.5, 2.0), *voice(1, 0.5, 2.0))


def test_the_agents_words_on_the_callers_channel_are_counted() -> None:
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": 2}
    lines = [
        *(*voice(1, 0.5, 1.5), *voice(0, 0.6, 1.6), *voice(0, 2.0, 3.0)),
        {"t": 2.0, "stt": result(1, 0.0, "What is your name?", 1.5)},
        {"t": 2.0, "stt": result(0, 0.0, "What is your name?", 1.6)},
        {"t": 3.5, "stt": result(0, 1.6, "What is your name?", 3.0)},  # so he asks back
    ]
    made = (header, *sorted(lines, key=lambda line: line["t"]))
    side = caller_side(parse_trace([json.dumps(line) for line in made]), 1)
    assert (side.words, side.echo) == (8, 4)


def test_it_has_two_channels() -> None:
    one = parse_trace(['{"hearout_trace": 1, "stt": "deepgram"}'], "one.jsonl")
    with pytest.raises(UsageError, match=r"one\.jsonl: it must have two channels"):
        caller_side(one, 1)
