"""``hearout import``: what people have already, as traces."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hearout.cli.main import main
from hearout.traces import read_trace, replay
from hearout.traces.records import AgentChange, AgentText
from hearout_policies.events import TurnCompleted
from tests.kit.commandline import shell
from tests.kit.paths import ROOT
from tests.traces.test_logs import BEGAN, MESSAGES, SHAPES, call
from tests.traces.test_sides import result, uh_huh, voice

Run = Callable[..., tuple[int, list[str]]]
SILENT = (
    "nothing in it tells when the agent spoke, and `hearout report` needs it: add lines "
    '{"ts": ..., "agent": "started"} and "stopped", or have the agent in a second channel'
)


def texts(path: Path) -> list[str]:
    return [event.text for event in replay(read_trace(path)).outputs if isinstance(event, TurnCompleted)]


def test_a_log(tmp_path: Path) -> None:
    lines = [json.dumps(shape(at, message)) for shape in [*SHAPES.values()][:1] for at, message in MESSAGES]
    (tmp_path / "calls.log").write_text("\n".join(lines))
    done = shell("hearout import calls.log -o call.jsonl && hearout replay call.jsonl", tmp_path)
    assert done.status == 0
    assert done.err == ["wrote call.jsonl: 4 lines", f"calls.log: {SILENT}"]
    assert "yes please." in done.out
    assert (tmp_path / "call.jsonl").stat().st_mode & 0o777 == 0o600
    done = shell("hearout import calls.log -o call.jsonl --redact && hearout replay call.jsonl", tmp_path)
    assert "xxx xxxxxx." in done.out


@pytest.fixture
def hearout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``hearout import`` in this process, in a directory of its own; gives its status and its complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, list[str]]:
        status = main(["import", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert out == ""
        return status, err.splitlines()

    return run


def test_a_log_of_several_calls(tmp_path: Path, hearout: Run) -> None:
    """Packed, with a line that is broken off."""
    lines = [json.dumps(line) for line in call(BEGAN, "one.", "a") + call(BEGAN + 70, "two.", "b")]
    (tmp_path / "calls.log.gz").write_bytes(gzip.compress("\n".join([*lines, lines[0][:9]]).encode()))
    wanted = "hearout: calls.log.gz: 2 calls are in it: name a folder for their traces, -o call/"
    assert hearout("calls.log.gz", "-o", "call.jsonl") == (2, [wanted])
    status, (*wrote, skipped) = hearout("calls.log.gz", "-o", "calls/", "--caller", "Ann")
    assert status == 0
    assert wrote == ["wrote calls/calls-1.jsonl: 4 lines", "wrote calls/calls-2.jsonl: 4 lines"]
    assert skipped.startswith("skipped: calls.log.gz: 1 line that cannot be read: line 9: not JSON")
    assert [texts(Path(f"calls/calls-{number}.jsonl")) for number in (1, 2)] == [["one."], ["two."]]
    header = read_trace("calls/calls-2.jsonl").header
    assert (header.started, header.caller) == ("2026-05-01T12:01:10.200000+00:00", "Ann")


def test_a_call_whose_connection_was_made_again(tmp_path: Path, hearout: Run) -> None:
    lines = [json.dumps(line) for line in call(BEGAN, "one.", "a") + call(BEGAN + 7, "two.", "b")]
    (tmp_path / "calls.log").write_text("\n".join(lines))
    told = "wrote call.jsonl: 10 lines; its connection was made again: 1"
    assert hearout("calls.log", "-o", "call.jsonl") == (0, [told])


def test_a_log_that_tells_when_the_agent_spoke(
    tmp_path: Path, hearout: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the line asks for is what the report needs."""
    log = tmp_path / "calls.log"
    messages = [{"ts": BEGAN + at, **message} for at, message in MESSAGES[:3]]
    log.write_text("\n".join(map(json.dumps, messages)))
    assert hearout("calls.log", "-o", "call.jsonl")[1][1:] == [f"calls.log: {SILENT}"]
    assert main(["report", "call.jsonl", "--jobs", "1"]) == 2
    capsys.readouterr()
    agent = [{"ts": BEGAN + at, "agent": kind} for at, kind in ((3.5, "started"), (4.0, "stopped"))]
    log.write_text("\n".join(map(json.dumps, [*messages, *agent])))
    assert len(hearout("calls.log", "-o", "call.jsonl")[1]) == 1
    assert main(["report", "call.jsonl", "--jobs", "1"]) == 0
    capsys.readouterr()
    log.write_text("\n".join(map(json.dumps, [*messages, *call(BEGAN + 70, "two.", "b")])))
    assert hearout("calls.log", "-o", "calls/")[1][2].startswith("calls.log: nothing in 1 of 2 calls tells when")
    two = [line | {"channel_index": [0, 2]} for line in messages[:2]]
    log.write_text("\n".join(map(json.dumps, two)))
    assert len(hearout("calls.log", "-o", "call.jsonl")[1]) == 1


def test_a_call_in_which_no_audio_was_sent_for_a_while(tmp_path: Path, hearout: Run) -> None:
    """Deepgram's clock stood still then, and the log's did not."""
    lines = [{"ts": BEGAN + at, **message} for at, message in MESSAGES[:2]]
    lines += [{"ts": BEGAN + end + 7.4, **MESSAGES[1][1], "start": end, "duration": 0.0} for end in (3.0, 4.0, 5.0)]
    (tmp_path / "calls.log").write_text("\n".join(map(json.dumps, lines)))
    _, told, _ = hearout("calls.log", "-o", "call.jsonl")[1]
    assert told.startswith("call.jsonl: the last results come 7.2 s later than others: ")


def test_one_of_the_two_is_not_heard(tmp_path: Path, hearout: Run) -> None:
    """A trace of both sides, of whom the agent says nothing."""
    lines = [{"hearout_trace": 1, "stt": "deepgram", "channels": 2}, *voice(0, 0.5, 2.0), uh_huh(2.0)]
    (tmp_path / "both.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for agent, complaint in (
        (1, "both.jsonl: no voice on channel 1, the agent's: --agent 0 if it is the other one"),
        (0, "both.jsonl: no word on channel 1, the caller's: --agent 1 if it is the other"),
    ):
        status, (wrote, told) = hearout("both.jsonl", "-o", "call.jsonl", "--agent", str(agent))
        assert (status, told) == (0, complaint)
        assert wrote.startswith("wrote call.jsonl: ")


def test_the_agents_voice_on_the_callers_channel(tmp_path: Path, hearout: Run) -> None:
    said = "What is your name?"
    lines = [{"hearout_trace": 1, "stt": "deepgram", "channels": 2}, *voice(1, 0.5, 1.5)]
    lines += [{"t": 2.0, "stt": result(number, 0.0, said, 1.5)} for number in (1, 0)]
    (tmp_path / "both.jsonl").write_text("\n".join(map(json.dumps, lines)))
    complaint = (
        "4 of the 4 words on the caller's channel are the agent's: what is said of turns in it is not to be relied on"
    )
    assert hearout("both.jsonl", "-o", "call.jsonl")[1][1] == f"both.jsonl: {complaint}"


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


def test_half_a_recording_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who interrupts it has no trace, for that would look like one of a whole call."""
    monkeypatch.setattr("hearout.cli.importing.run_until_signal", interrupted)
    with pytest.raises(SystemExit) as left:
        main(["import", f"{ROOT}/samples/two_people.flac", "-o", str(tmp_path / "call.jsonl")])
    assert left.value.code == 130
    assert list(tmp_path.iterdir()) == []


async def interrupted(_: object) -> int:
    return 130


def test_what_it_cannot_read(tmp_path: Path, hearout: Run) -> None:
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "one.jsonl").write_text('{"hearout_trace": 1, "stt": "deepgram"}\n')
    (tmp_path / "calls.log").write_text("\n".join(json.dumps(line) for line in call(BEGAN)))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 99)[:-9])
    os.mkfifo("pipe")
    phone = f"{ROOT}/samples/phone_number.wav"
    for source, complaint in (
        ("missing.log", "missing.log: cannot be read: No such file or directory"),
        ("notes.txt", "notes.txt: there is no result of Deepgram in it: "),
        ("other.jsonl", "other.jsonl: there is no result of Deepgram in it"),
        ("one.jsonl", "one.jsonl: it must have two channels"),
        ("cut.gz", "cut.gz: cannot be read: Compressed file ended"),
        ("pipe", "pipe: not a regular file: write it to one first"),
        (phone, f"{phone}: 1 channel: caller and agent need one each"),
    ):
        status, (told,) = hearout(source, "-o", "out.jsonl")
        assert status == 2
        assert told.startswith(f"hearout: {complaint}")
        assert not (tmp_path / "out.jsonl").exists()
    for arguments, complaint in (
        (("calls.log",), "--output calls.log: that is the source; name another file"),
        (("call.jsonl", "--replies"), "calls.log is a log: --agent and --replies are for recordings"),
        (("notes.txt/",), "-o notes.txt/: cannot be made: File exists"),
        (("nowhere/calls/",), "-o nowhere/calls/: cannot be made: No such file or directory"),
    ):
        assert hearout("calls.log", "-o", *arguments) == (2, [f"hearout: {complaint}"])
