"""``hearout import``: what people have already, as traces."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from hearout.cli.main import main
from hearout.traces import read_trace, replay
from hearout.traces.records import AgentChange, AgentText
from hearout_policies.events import TurnCompleted
from tests.kit.commandline import Outcome
from tests.kit.paths import ROOT
from tests.traces.test_logs import MESSAGES, SHAPES

Run = Callable[[str], Outcome]


@pytest.fixture
def hearout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> Outcome:
        return Outcome(main(shlex.split(line)), *capsys.readouterr())

    return run


def texts(path: Path) -> list[str]:
    return [event.text for event in replay(read_trace(path)).outputs if isinstance(event, TurnCompleted)]


def test_a_log(hearout: Run, tmp_path: Path) -> None:
    lines = [json.dumps(shape(at, message)) for shape in [*SHAPES.values()][:1] for at, message in MESSAGES]
    (tmp_path / "calls.log").write_text("\n".join(lines))
    done = hearout("import calls.log -o call.jsonl")
    assert done.status == 0
    assert done.err == ["wrote call.jsonl: 3 lines"]
    assert "yes please." in hearout("replay call.jsonl").out
    assert (tmp_path / "call.jsonl").stat().st_mode & 0o777 == 0o600
    hearout("import calls.log -o call.jsonl --redact")
    assert "xxx xxxxxx." in hearout("replay call.jsonl").out


def test_a_recording_of_two_people(hearout: Run, tmp_path: Path) -> None:
    """With the built-in recogniser."""
    done = hearout(f"import {ROOT}/samples/two_people.flac --agent 0 -o call.jsonl")
    assert done.status == 0, done.err
    trace = read_trace(tmp_path / "call.jsonl")
    said = [(record.t, record.text) for record in trace.records if isinstance(record, AgentText)]
    assert [text for _, text in said][:2] == ["How can I help you?", "What is your order number?"]
    assert [record.kind for record in trace.records if isinstance(record, AgentChange)][:4] == [
        "started",
        "stopped",
    ] * 2
    assert "flight" in texts(tmp_path / "call.jsonl")[0]
    done = hearout("replay call.jsonl --explain")
    assert done.status == 0


def test_what_it_cannot_read(hearout: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "one.jsonl").write_text('{"hearout_trace": 1, "stt": "deepgram"}\n')
    for source, complaint in (
        ("missing.log", "missing.log: cannot be read: No such file or directory"),
        ("notes.txt", "notes.txt: neither a recording nor a log: it is text, and in a trace or a log"),
        ("other.jsonl", "other.jsonl: there is no result of Deepgram in it"),
        ("one.jsonl", "one.jsonl: it must have two channels"),
        (f"{ROOT}/samples/phone_number.wav", f"{ROOT}/samples/phone_number.wav: it has 1 channel"),
    ):
        done = hearout(f"import {source} -o out.jsonl")
        assert (done.status, len(done.err)) == (2, 1)
        assert done.err[0].startswith(f"hearout: {complaint}")
        assert not (tmp_path / "out.jsonl").exists()
    done = hearout("import other.jsonl -o other.jsonl")
    assert done.err == ["hearout: --output other.jsonl: that is the source; name another file"]
