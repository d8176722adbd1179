"""Replaying traces in virtual time, checking and explaining what comes out."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from hearout import channels
from hearout.cli import replay as replay_command
from hearout.errors import UsageError
from hearout.traces.checker import check
from hearout.traces.explainer import explain
from hearout.traces.reader import parse_trace
from hearout.traces.records import Trace
from hearout.traces.replayer import Replayed, replay
from hearout_policies import Policy
from hearout_policies.events import Finalize, Opinion, Timings, TurnCompleted, as_dict
from hearout_policies.signals import LinkRestored, Signal, Transcript, UtteranceEnd
from hearout_policies.text import Ending


def result(
    text: str, start: float, *, final: bool = True, endpoint: bool = False, answer: bool = False, channel: int = 0
) -> dict[str, Any]:
    """A message of Deepgram: words of 0.3 s each, from ``start`` on."""
    words = [
        {"word": word, "start": start + n * 0.3, "end": start + n * 0.3 + 0.3, "punctuated_word": word}
        for n, word in enumerate(text.split())
    ]
    return {
        "type": "Results",
        "channel_index": [channel, 2],
        "start": start,
        "duration": len(words) * 0.3 + 0.1,
        "is_final": final,
        "speech_final": endpoint,
        "from_finalize": answer,
        "channel": {"alternatives": [{"transcript": text, "words": words}]},
    }


def voice(start: float, stop: float, channel: int = 0) -> list[dict[str, Any]]:
    return [
        {"t": start + 0.1, "vad": "start", "audio": start, "heard": start + 0.1, "channel": channel},
        {"t": stop + 0.2, "vad": "stop", "audio": stop, "heard": stop + 0.2, "channel": channel},
    ]


def make(*records: dict[str, Any], channels: int = 1, **header: Any) -> Trace:
    """A trace of these records, timed ones in order of time."""
    head = {"hearout_trace": 1, "stt": "deepgram", "channels": channels, "vad": True, **header}
    timed = sorted((r for r in records if "t" in r), key=lambda record: float(record["t"]))
    lines = [head, *timed, *(r for r in records if "t" not in r)]
    return parse_trace([json.dumps(line) for line in lines], "call.jsonl")


def answered(after: float = 0.25, text: str = "two coffees please.", start: float = 1.0) -> dict[str, Any]:
    return {"on": "finalize", "after": after, "stt": result(text, start, answer=True)}


# "two coffees please." spoken from 1.0 to 1.9; only an interim result comes by itself.
ORDER = (*voice(1.0, 1.9), {"t": 1.6, "stt": result("two coffees", 1.0, final=False)})


def completed(replayed: Replayed) -> list[TurnCompleted]:
    return [output for output in replayed.outputs if isinstance(output, TurnCompleted)]


# -- replay --------------------------------------------------------------------------------------------------


def test_a_finalize_is_answered_after_the_delay_the_trace_names() -> None:
    replayed = replay(make(*ORDER, answered(0.25)))
    sent = next(output for output in replayed.outputs if isinstance(output, Finalize))
    (turn,) = completed(replayed)
    assert turn.text == "two coffees please."
    assert turn.confirmed
    assert turn.timings.finalize_sent == sent.at
    assert turn.timings.answered == sent.at + 0.25


def test_the_loop_is_closed_under_another_policy_too() -> None:
    trace = make(*ORDER, answered(0.25))
    late = Policy().replace({"finalize_on_silence.finalize_after": 0.45})
    (usual,) = completed(replay(trace))
    (other,) = completed(replay(trace, late))
    assert usual.timings.finalize_sent is not None
    assert other.timings.finalize_sent is not None
    assert other.timings.finalize_sent == pytest.approx(1.9 + 0.45)
    assert other.timings.answered == pytest.approx(1.9 + 0.45 + 0.25)
    assert usual.timings.finalize_sent < other.timings.finalize_sent


def test_the_headers_policy_counts() -> None:
    trace = make(*ORDER, answered(), policy={"finalize_on_silence.finalize_after": 0.4})
    (turn,) = completed(replay(trace))
    assert turn.timings.finalize_sent == pytest.approx(2.3)
    with pytest.raises(UsageError, match=r"^call\.jsonl:1: policy 'balanced' has no parameter 'silense'"):
        replay(make(policy={"silense": 1}))


def test_an_unanswered_finalize_ends_the_turn_all_the_same() -> None:
    (turn,) = completed(replay(make(*ORDER)))
    assert turn.text == "two coffees"
    assert not turn.confirmed
    assert turn.timings.answered is None


def test_the_answers_are_taken_in_order() -> None:
    second = [
        *voice(6.0, 6.9),
        {"t": 6.6, "stt": result("and a", 6.0, final=False)},
        answered(0.1, "and a tea.", 6.0),
    ]
    replayed = replay(make(*ORDER, answered(), *second))
    assert [turn.text for turn in completed(replayed)] == ["two coffees please.", "and a tea."]


def test_a_new_connection_begins_where_the_session_says() -> None:
    trace = make(
        {"t": 0.5, "link": "lost"},
        {"t": 0.9, "link": "restored", "audio": 0.4},
        *voice(1.0, 1.9),
        {"t": 2.3, "stt": result("two coffees please.", 0.6, endpoint=True)},
        {"t": 3.4, "stt": {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.5}},
    )
    heard: list[Signal] = [item.signal for item in replay(trace).heard]
    (transcript,) = (signal for signal in heard if isinstance(signal, Transcript))
    assert [word.start for word in transcript.words] == pytest.approx([1.0, 1.3, 1.6])
    assert any(isinstance(s, UtteranceEnd) and s.last_word_end == pytest.approx(1.9) for s in heard)


@pytest.mark.parametrize(("speed", "at"), [({}, 1.25), ({"speed": None}, None), ({"speed": 2}, 2.0)])
def test_a_new_connection_is_fed_as_fast_as_the_trace_says(speed: dict[str, Any], at: float | None) -> None:
    trace = make({"t": 0.5, "link": "lost"}, {"t": 0.9, "link": "restored", "audio": 0.4, **speed})
    assert replay(trace).heard[-1].signal == LinkRestored(0.9, 0.4, at)


def test_a_channel_that_was_ahead_is_not_heard_twice() -> None:
    # Both are fed again from 0. What the second channel had said is heard once more, and differently, together
    # with what it says now.
    again, new = result("to coughs. piece.", 1.0, endpoint=True, channel=1), result("no tea.", 3.0)
    again["channel"]["alternatives"][0]["words"] += new["channel"]["alternatives"][0]["words"]
    again["duration"] = 2.7
    trace = make(
        *voice(1.0, 1.9, channel=1),
        {"t": 2.2, "stt": result("two coffees please.", 1.0, endpoint=True, channel=1)},
        {"t": 2.8, "link": "lost"},
        *voice(3.0, 3.6, channel=1),
        {"t": 3.2, "link": "restored", "audio": 0.0},
        {"t": 4.5, "stt": again},
        channels=2,
    )
    replayed = replay(trace)
    heard = [item.signal for item in replayed.heard if isinstance(item.signal, Transcript)]
    assert [(t.start, [word.text for word in t.words]) for t in heard] == [
        (1.0, ["two", "coffees", "please."]),
        (pytest.approx(2.0), ["no", "tea."]),
    ]
    assert [turn.text for turn in completed(replayed)] == ["two coffees please.", "no tea."]


def test_an_answer_on_its_way_is_lost_with_the_connection() -> None:
    trace = make(*ORDER, answered(0.25), {"t": 2.2, "link": "lost"})
    replayed = replay(trace)
    assert not any(isinstance(item.signal, Transcript) and item.signal.finalized for item in replayed.heard)
    assert [turn.confirmed for turn in completed(replayed)] == [False]


def test_each_channel_has_a_machine_of_its_own() -> None:
    trace = make(
        *voice(1.0, 1.9),
        *voice(1.2, 1.8, channel=1),
        {"t": 2.2, "stt": result("two coffees please.", 1.0, endpoint=True)},
        {"t": 2.25, "stt": result("with milk?", 1.2, endpoint=True, channel=1)},
        channels=2,
    )
    assert {(turn.channel, turn.turn, turn.text) for turn in completed(replay(trace))} == {
        (0, 1, "two coffees please."),
        (1, 1, "with milk?"),
    }


def test_records_without_channel_are_for_all_channels() -> None:
    trace = make({"t": 1.0, "app": "hold"}, {"t": 2.0, "app": "release", "channel": 1}, channels=2)
    assert [(item.signal.at, item.channel) for item in replay(trace).heard] == [(1, 0), (1, 1), (2, 1)]


def test_outputs_come_in_order_of_time() -> None:
    trace = make(*ORDER, answered(), *voice(1.1, 4.0, channel=1), channels=2)
    times = [output.at for output in replay(trace).outputs]
    assert times == sorted(times)
    assert len(times) > 5


def test_a_replay_can_be_repeated() -> None:
    trace = make(*ORDER, answered(), *voice(4.0, 5.0))
    assert replay(trace) == replay(trace)


def test_messages_that_a_session_refuses_are_named() -> None:
    bad = result("no", 1.0) | {"start": -3}
    replayed = replay(make(*ORDER, answered(), {"t": 1.7, "stt": bad}, {"t": 1.8, "stt": result("a", 1.0, channel=1)}))
    assert [warning.split(": ")[:2] for warning in replayed.warnings] == [
        ["call.jsonl:4", "message refused"],
        ["call.jsonl:5", "message refused"],
    ]
    assert [turn.text for turn in completed(replayed)] == ["two coffees please."]


def test_a_machine_that_never_rests_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Restless:
        def __init__(self, policy: Policy, channel: int) -> None:
            self.deadline = 1.0

        def handle(self, signal: Signal) -> list[Any]:
            self.deadline = signal.at + 0.5
            return []

    monkeypatch.setattr(channels, "TurnMachine", Restless)
    trace = make({"t": 1.0, "end": True})
    replayed = replay(trace)
    assert replayed.unended is not None
    assert check(trace, replayed) == [replayed.unended]


def test_transcribers_that_cannot_be_read() -> None:
    with pytest.raises(UsageError, match=r"^call.jsonl:1: "):
        replay(make(channels=40))


# -- check ---------------------------------------------------------------------------------------------------


def differences(*expectations: dict[str, Any]) -> list[str]:
    trace = make(*ORDER, answered(), *expectations)
    return check(trace, replay(trace))


def expecting(*entries: dict[str, Any]) -> list[str]:
    return differences({"expect": list(entries)})


def test_expectations_that_hold() -> None:
    assert differences() == []
    assert differences({"expect_commands": {"finalize": {"min": 1, "max": 1}}}, {"forbid": ["turn_amended"]}) == []
    assert expecting({"text": "Two coffees, PLEASE", "after": 1.9, "before": 3.5}) == []
    assert expecting({"confirmed": True, "channel": 0, "turn": 1, "continues": None}) == []
    assert expecting({"timings": {"speech_end": 1.9}, "audio_start": 1.0}) == []
    assert expecting({"words": [{"text": "Two"}, {"text": "coffees", "start": 1.3}, {"end": 1.9}]}) == []
    assert expecting({"type": "turn_started", "audio_start": 1}, {"type": "turn_completed"}) == []
    # Updates in between need not be listed.
    assert expecting({}, {"type": "turn_updated", "text": "two coffees please"}) == []


@pytest.mark.parametrize(
    ("entries", "difference"),
    [
        ([], 'not expected: turn_completed "two coffees please." at '),
        ([{}, {"text": "yes", "after": 3}], 'missing: turn_completed text "yes" after 3'),
        ([{"text": "two coffee please"}], 'turn 1: text is "two coffees please.", expected "two coffee please"'),
        ([{"before": 2.0}], "turn 1: at "),
        ([{"after": 9.5}], "turn 1: at "),
        ([{"confirmed": False}], "turn 1: confirmed is true, expected false"),
        ([{"reason": "magic"}], "turn 1: reason is "),
        ([{"timings": {"speech_end": 1.8}}], "turn 1: timings is "),
        ([{"continues": 1}], "turn 1: continues is null, expected 1"),
        ([{}, {"type": "turn_amended", "text": "a"}], 'missing: turn_amended text "a"'),
        ([{}, {"type": "turn_started", "audio_start": 2}], "turn_started: audio_start is 1.0, expected 2"),
        (
            [{}, {"type": "turn_updated", "text": "two coffees please"}, {"type": "turn_updated"}],
            "missing: turn_updated",
        ),
    ],
)
def test_expectations_that_do_not_hold(entries: list[dict[str, Any]], difference: str) -> None:
    (found,) = expecting(*entries)
    assert found.startswith(difference)


def test_commands_and_forbidden_events() -> None:
    (found,) = differences({"expect_commands": {"finalize": {"max": 0}}})
    assert found.startswith("finalize commanded 1 times at 2.")
    (found,) = differences({"expect_commands": {"finalize": {"min": 2}}})
    assert found.endswith("at least 2 expected")
    (found,) = differences({"forbid": ["turn_completed", "turn_amended"]})
    assert found.startswith('forbidden: turn_completed "two coffees please." at ')


def test_dashes_part_words() -> None:
    trace = make(*ORDER, answered(text="twenty-one, don't!"), {"expect": [{"text": "Twenty one dont"}]})
    assert check(trace, replay(trace)) == []


# -- explain -------------------------------------------------------------------------------------------------


def test_every_millisecond_has_an_owner() -> None:
    timings = Timings(speech_end=1.9, noticed=2.15, finalize_sent=2.1, answered=2.35, decided=2.4)
    event = TurnCompleted(3, 0, 2.4, 1.0, 1.9, "yes", (), "finalize_on_silence", False, timings, continues=2)
    lines = explain(event).splitlines()
    assert lines[0] == 'turn 3, channel 0: "yes"'
    assert "not confirmed" in lines[1]
    assert "goes on from turn 2" in lines[1]
    assert [line.split("ms")[0].split()[-1] for line in lines[2:]] == ["+0", "+200", "+50", "+200", "+50", "+500"]
    assert lines[-2].endswith("turn completed by finalize_on_silence")


def test_the_odds_are_explained() -> None:
    timings = Timings(2.0, 2.2, None, None, decided=2.9)
    opinion = Opinion("silence", 3.6, 2.904)
    event = TurnCompleted(1, 0, 2.9, 1.0, 2.0, "and", (), "silence", True, timings, opinions=(opinion,))
    heard = replace(event, odds=0.1, evidence=(("conjunction", 0.2), ("ear", 0.31)))
    assert explain(heard, Policy()).splitlines()[-2:] == [
        "  ends in a conjunction ('and'): odds 0.20; the ear: 0.31; together 0.10",
        "  silence: not before 2.904 s, from 3.600 s on: 0.90 s at a price of 1.3 s a cutoff",
    ]
    assert "  no words yet: odds 0.50" in explain(replace(event, evidence=(("nothing", 0.5),)))


@pytest.mark.parametrize(
    ("ending", "text", "said"),
    [
        (Ending.NOTHING, "", "no words yet"),
        (Ending.QUESTION, "Hello?", "ends like a question ('Hello?')"),
        (Ending.STOP, "yes", "ends like a full stop ('yes')"),
        (Ending.PLAIN, "some water", "ends in a plain word ('water')"),
        (Ending.CONJUNCTION, "this and", "ends in a conjunction ('and')"),
        (Ending.FILLER, "uh", "ends in a filler ('uh')"),
        (Ending.FUNCTION_WORD, "to the", "ends in a function word ('the')"),
        (Ending.CUT_OFF, "I th-", "ends cut off ('th-')"),
        (Ending.COMMA, "well,", "ends in a comma ('well,')"),
        (Ending.DIGITS, "1, 2,", "ends in digits ('2,')"),
    ],
)
def test_each_way_of_ending_is_said_in_english_here_and_on_the_page(ending: Ending, text: str, said: str) -> None:
    event = TurnCompleted(1, 0, 2.9, 1.0, 2.0, text, (), "silence", True, Timings(2.0, 2.2, None, None, 2.9))
    assert explain(replace(event, evidence=((ending.value, 0.5),))).splitlines()[-1] == f"  {said}: odds 0.50"
    page = (resources.files("hearout.page") / "turns.js").read_text("utf-8")
    assert f'{ending.value}: "{said.partition(" (")[0]}",' in page


def opined(reason: str, at: float, *opinions: Opinion) -> list[str]:
    timings = Timings(2.0, 2.1, None, None, at)
    event = TurnCompleted(1, 0, at, 1.0, 2.0, "Yes.", (), reason, True, timings, opinions=opinions)
    return explain(event).splitlines()[6:]


def test_only_what_acted_is_explained() -> None:
    """The first deadline, and the hold that put it off: not what came second, or had been over by then."""
    first, second = Opinion("endpointing", 2.4, None), Opinion("finalize_on_silence", 2.4, None)
    over, holds = Opinion("mine", None, 2.2), Opinion("silence", 3.6, 2.5)
    held = "  silence: not before 2.500 s, from 3.600 s on"
    assert opined("endpointing", 2.5, first, second, over, holds) == ["  endpointing: from 2.400 s on", held]
    assert opined("endpointing", 2.5, first, replace(holds, hold=2.3)) == ["  endpointing: from 2.400 s on"]
    assert opined("finalize_on_silence", 2.4, replace(first, deadline=2.9), second) == [
        "  finalize_on_silence: from 2.400 s on"
    ]
    assert opined("silence", 3.6, holds) == [held]
    # The safety net: for want of a deadline, or as a hold put it off for too long.
    assert opined("safety_net", 2.3, first, holds) == [held]
    assert opined("safety_net", 2.3, over) == []
    suspicion = Opinion("suspicion", None, 2.7)
    assert opined("endpointing", 2.7, first, holds, suspicion) == [
        "  endpointing: from 2.400 s on",
        held,
        "  suspicion: not before 2.700 s",
    ]


def test_a_turn_without_known_speech_end_is_explained() -> None:
    timings = Timings(None, None, None, None, decided=2.4)
    event = TurnCompleted(1, 0, 2.4, 1.0, 2.4, "yes", (), "safety_net", True, timings)
    assert explain(event).splitlines()[2:] == ["      2.400 s      +0 ms  turn completed by safety_net"]


# -- command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def run() -> Any:
    parser = argparse.ArgumentParser()
    replay_command.register(parser.add_subparsers(required=True))

    def run(*args: object) -> int:
        arguments = parser.parse_args([str(arg) for arg in args])
        status: int = arguments.run(arguments)
        return status

    return run


def write(path: Path, *records: dict[str, Any]) -> Path:
    head = {"hearout_trace": 1, "stt": "deepgram"}
    path.write_text("".join(json.dumps(record) + "\n" for record in (head, *records)))
    return path


ORDERED = tuple(sorted(ORDER, key=lambda record: float(record["t"])))


def test_replay_prints_turns(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = write(tmp_path / "a.jsonl", *ORDERED, answered())
    assert run("replay", trace) == 0
    assert "turn 1  two coffees please." in capsys.readouterr().out
    assert run("replay", "--explain", trace) == 0
    assert "Finalize answered" in capsys.readouterr().out
    assert run("replay", "--json", trace) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = replay(make(*ORDER, answered())).outputs
    assert printed == json.loads(json.dumps([as_dict(output) for output in expected]))


def test_settings_change_the_policy(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = write(tmp_path / "a.jsonl", *ORDERED, answered())
    assert run("replay", "--json", "--set", "finalize_on_silence.finalize_after=0.45", trace) == 0
    (command,) = (line for line in capsys.readouterr().out.splitlines() if '"finalize"' in line)
    assert json.loads(command)["at"] == 2.35


def test_check_prints_a_table(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.jsonl", *ORDERED, answered(), {"expect": [{}]})
    wrong = write(tmp_path / "wrong.jsonl", *ORDERED, answered(), {"expect": [{"text": "tea"}]})
    broken = write(tmp_path / "broken.jsonl", {"t": 1, "emd": True})
    silent = write(tmp_path / "silent.jsonl", {"t": 1, "end": True})
    assert run("replay", "--check", good, silent) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 traces, all hold; nothing to check in 1"
    assert run("replay", "--check", good, good) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 traces, all hold"
    assert run("replay", "--check", silent) == 0
    assert '\n1 trace, nothing to check; an "expect" line in a trace says' in capsys.readouterr().out
    assert run("replay", "--check", good, wrong) == 1
    assert 'turn 1: text is "two coffees please.", expected "tea"' in capsys.readouterr().out
    assert run("replay", "--check", good, broken, wrong) == 2
    out = capsys.readouterr().out
    assert "broken.jsonl:2: unknown kind of record" in out
    assert out.splitlines()[-1] == "3 traces, 2 do not hold"
    assert run("replay", "--check", "--json", good, wrong, silent) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["turns"], row["result"]) for row in rows] == [
        (1, "holds"),
        (1, "differs"),
        (0, "expects nothing"),
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--policy", "hasty"], "no policy named 'hasty'; there are: balanced"),
        (["--set", "max_turn"], "--set max_turn: give KEY=VALUE"),
        (["--set", "max_tern=3"], "has no parameter 'max_tern'"),
        (["--set", "max_turn=soon"], "max_turn takes a number"),
        (["--check", "--set", "max_turn=-1"], "max_turn takes a number from 1"),
    ],
)
def test_bad_policies(run: Any, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    trace = write(tmp_path / "a.jsonl", {"t": 1, "end": True})
    with pytest.raises(UsageError) as caught:
        run("replay", *arguments, trace)
    assert complaint in str(caught.value)
