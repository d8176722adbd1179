"""``hearout import``: what people have already, as traces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from hearout.traces import read_trace, replay
from hearout.traces.records import AgentChange, AgentText
from hearout_policies.events import TurnCompleted
from tests.kit.commandline import shell
from tests.kit.paths import ROOT
from tests.traces.test_logs import BEGAN, MESSAGES, SHAPES, call
from tests.traces.test_sides import uh_huh, voice


def texts(path: Path) -> list[str]:
    return [event.text for event in replay(read_trace(path)).outputs if isinstance(event, TurnCompleted)]


def test_a_log(tmp_path: Path) -> None:
    lines = [json.dumps(shape(at, message)) for shape in [*SHAPES.values()][:1] for at, message in MESSAGES]
    (tmp_path / "calls.log").write_text("\n".join(lines))
    done = shell("hearout import calls.log -o call.jsonl && hearout replay call.jsonl", tmp_path)
    assert done.status == 0
    assert done.err == ["wrote call.jsonl: 4 lines"]
    assert "yes please." in done.out
    assert (tmp_path / "call.jsonl").stat().st_mode & 0o777 == 0o600
    done = shell("hearout import calls.log -o call.jsonl --redact && hearout replay call.jsonl", tmp_path)
    assert "xxx xxxxxx." in done.out


def test_a_log_of_several_calls(tmp_path: Path) -> None:
    """Packed, with a line that is broken off."""
    lines = [json.dumps(line) for line in call(BEGAN, "one.", "a") + call(BEGAN + 70, "two.", "b")]
    (tmp_path / "calls.log.gz").write_bytes(gzip.compress("\n".join([*lines, lines[0][:9]]).encode()))
    done = shell("hearout import calls.log.gz -o call.jsonl", tmp_path)
    wanted = "hearout: calls.log.gz: 2 calls are in it: name a folder for their traces, -o call.jsonl/"
    assert (done.status, done.err) == (2, [wanted])
    done = shell("hearout import calls.log.gz -o calls/ --caller Ann && hearout replay calls/*.jsonl", tmp_path)
    assert done.status == 0
    assert done.err[:2] == ["wrote calls/calls-1.jsonl: 4 lines", "wrote calls/calls-2.jsonl: 4 lines"]
    assert done.err[2].startswith("skipped: calls.log.gz: 1 line that cannot be read: line 9: not JSON")
    header = read_trace(tmp_path / "calls" / "calls-2.jsonl").header
    assert (header.started, header.caller) == ("2026-05-01T12:01:10.200000+00:00", "Ann")


def test_one_of_the_two_is_not_heard(tmp_path: Path) -> None:
    """A trace of both sides, of whom the agent says nothing."""
    lines = [{"hearout_trace": 1, "stt": "deepgram", "channels": 2}, *voice(0, 0.5, 2.0), uh_huh(2.0)]
    (tmp_path / "both.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = shell("hearout import both.jsonl -o a.jsonl; hearout import both.jsonl --agent 0 -o b.jsonl", tmp_path)
    assert [line for line in done.err if not line.startswith("wrote ")] == [
        "both.jsonl: no voice on channel 1, the agent's: --agent 0 if it is the other one",
        "both.jsonl: no word on channel 1, the caller's: --agent 1 if it is the other",
    ]


def test_a_recording_of_two_people(tmp_path: Path) -> None:
    """With the built-in recogniser."""
    done = shell(f"hearout import {ROOT}/samples/two_people.flac --agent 0 -o call.jsonl", tmp_path)
    assert done.status == 0, done.err
    trace = read_trace(tmp_path / "call.jsonl")
    said = [(record.t, record.text) for record in trace.records if isinstance(record, AgentText)]
    assert [text for _, text in said][:2] == ["How can I help you?", "What is your order number?"]
    assert [record.kind for record in trace.records if isinstance(record, AgentChange)][:4] == [
        "started",
        "stopped",
    ] * 2
    assert "flight" in texts(tmp_path / "call.jsonl")[0]
    done = shell("hearout replay call.jsonl --explain", tmp_path)
    assert done.status == 0


def test_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "one.jsonl").write_text('{"hearout_trace": 1, "stt": "deepgram"}\n')
    for source, complaint in (
        ("missing.log", "missing.log: cannot be read: No such file or directory"),
        ("notes.txt", "notes.txt: there is no result of Deepgram in it: "),
        ("other.jsonl", "other.jsonl: there is no result of Deepgram in it"),
        ("one.jsonl", "one.jsonl: it must have two channels"),
        (
            f"{ROOT}/samples/phone_number.wav",
            f"{ROOT}/samples/phone_number.wav: 1 channel: caller and agent need one each",
        ),
    ):
        done = shell(f"hearout import {source} -o out.jsonl", tmp_path)
        assert (done.status, len(done.err)) == (2, 1)
        assert done.err[0].startswith(f"hearout: {complaint}")
        assert not (tmp_path / "out.jsonl").exists()
    (tmp_path / "calls.log").write_text("\n".join(json.dumps(line) for line in call(BEGAN)))
    done = shell("hearout import calls.log -o calls.log", tmp_path)
    assert done.err == ["hearout: --output calls.log: that is the source; name another file"]
    done = shell("hearout import calls.log -o call.jsonl --replies", tmp_path)
    assert done.err == ["hearout: calls.log is a log: --agent and --replies are for recordings"]
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 99)[:-9])
    done = shell("hearout import cut.gz -o call.jsonl; hearout import <(cat calls.log) -o call.jsonl", tmp_path)
    assert done.err[0].startswith("hearout: cut.gz: cannot be read: Compressed file ended")
    assert done.err[1].endswith(": not a regular file: write it to one first")
