"""A machine beside a bot: what its trace says when it is played again, and that nothing it does harms the bot."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import methodcaller
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.shadow.beside import Beside
from hearout.shadow.folder import Folder
from hearout.traces import read_trace, replay
from hearout.traces.records import AgentChange, BotInterrupted, BotTurn, Header, Received
from hearout_policies.events import Output, TurnCompleted
from hearout_policies.policy import Policy, preset
from hearout_policies.signals import ProviderSpeechStarted
from tests.kit.virtual import run_virtually

Step = tuple[float, Callable[[Beside], object]]

WORDS = ("yes.", "no", "and", "four", "five", "please", "I", "uh-huh", "tomorrow?", "okay")


def folder(path: Path, complaints: list[str] | None = None, **options: float) -> Folder:
    warn = pytest.fail if complaints is None else complaints.append
    return Folder(
        path, redact=bool(options.pop("redact", False)), warn=warn, **{"call_limit": 1e6, "limit": 1e7} | options
    )


def converse(
    into: Folder, steps: Sequence[Step], policy: Policy | None = None, caller: str | None = None
) -> list[Output]:
    """Each step so many seconds after the one before; what was decided meanwhile."""
    decided: list[Output] = []

    async def conversation() -> None:
        beside = Beside(policy or preset("balanced"), into, "made here", caller, decided.append)
        beside.start()
        for pause, step in steps:
            await asyncio.sleep(pause)
            with beside.safely():
                step(beside)
        await asyncio.sleep(30.0)
        for _ in range(2):  # as a framework may tell it twice
            with beside.safely():
                beside.finish()
                beside.committed("after the end")

    run_virtually(conversation())
    into.settle()
    return decided


def started(ago: float) -> Callable[[Beside], object]:
    return lambda beside: beside.voice_started(ago)


def stopped(ago: float) -> Callable[[Beside], object]:
    return lambda beside: beside.voice_stopped(ago)


def interim(text: str) -> Callable[[Beside], object]:
    return lambda beside: beside.interim(text)


def final(text: str, *, finalized: bool = False) -> Callable[[Beside], object]:
    return lambda beside: beside.final(text, finalized=finalized)


def patience(seconds: float) -> Callable[[Beside], object]:
    return lambda beside: setattr(beside, "patience", seconds)


def provider_speech(beside: Beside) -> None:
    beside.tell(ProviderSpeechStarted(beside.now, beside.now))


CALL: tuple[Step, ...] = (
    (0.5, Beside.bot_started),
    (0.1, lambda beside: beside.agent_said("Shall I call you back?")),
    (1.0, Beside.bot_stopped),
    (0.8, started(0.2)),
    (0.3, interim("yes")),
    (0.3, stopped(0.2)),
    (0.1, final("Yes, please.", finalized=True)),
    (0.4, lambda beside: beside.committed("Yes, please.")),
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Results that grow, replaced by finals now and then; the voice, the bot and the rest at any time."""
    out: list[Step] = [(0.0, patience(0.7))] if draw(st.booleans()) else []
    open_: list[str] = []
    for _ in range(draw(st.integers(1, 25))):
        pause = draw(st.integers(0, 250)) * 0.01731
        ago = draw(st.integers(0, 40)) * 0.0113
        kinds = "start stop interim interim interim final last bot quiet said key turn endpoint speech commit maybe"
        step: Callable[[Beside], object]
        match draw(st.sampled_from(kinds.split())):
            case "start":
                step = started(ago)
            case "stop":
                step = stopped(ago)
            case "interim":
                open_ += draw(st.lists(st.sampled_from(WORDS), max_size=3))
                step = interim(" ".join(open_))
            case "final" | "last" as kind:
                open_ += draw(st.lists(st.sampled_from(WORDS), max_size=2))
                step = final(" ".join(open_), finalized=kind == "last")
                open_ = []
            case "bot":
                step = Beside.bot_started
            case "quiet":
                step = Beside.bot_stopped
            case "said":
                step = methodcaller(
                    "agent_said", draw(st.sampled_from(["What is your number?", "Yes, four.", "Right?"]))
                )
            case "key":
                step = methodcaller("key", draw(st.sampled_from("12#")))
            case "turn":
                step = methodcaller(
                    "provider_turn", draw(st.sampled_from(["started", "eager_end", "resumed", "ended"]))
                )
            case "endpoint":
                step = Beside.endpoint
            case "speech":
                step = provider_speech
            case "maybe":
                step = methodcaller("voice_doubtful", ago, ends=draw(st.booleans()))
            case _:
                step = methodcaller("committed", "yes")
        out.append((pause, step))
    return out


@settings(max_examples=300)
@given(steps(), st.sampled_from(["balanced", "fast", "patient", "provider"]))
def test_a_replay_decides_what_was_decided_beside_the_bot(conversation: list[Step], name: str) -> None:
    with tempfile.TemporaryDirectory() as path:
        decided = converse(folder(Path(path)), conversation, preset(name))
        (written,) = Path(path).iterdir()
        trace = read_trace(written)
        # What a machine would decide after the call, nobody has waited for.
        assert [output for output in replay(trace).outputs if output.at <= trace.records[-1].t] == decided


def test_what_the_bot_did_is_in_it(tmp_path: Path) -> None:
    decided = converse(folder(tmp_path), [*CALL, (1.0, Beside.bot_started), (0.5, Beside.interrupted)])
    (written,) = tmp_path.iterdir()
    trace = read_trace(written)
    (turn,) = [event for event in decided if isinstance(event, TurnCompleted)]
    assert turn.text == "Yes, please."
    assert turn.at < 3.5
    assert [record for record in trace.records if isinstance(record, BotTurn | BotInterrupted)] == [
        BotTurn(3.5, "Yes, please."),
        BotInterrupted(5.0),
    ]
    assert [(r.t, r.kind) for r in trace.records if isinstance(r, AgentChange)] == [
        (0.5, "started"),
        (1.6, "stopped"),
        (4.5, "started"),
    ]
    began = trace.header.started
    assert trace.header == Header("results", policy=preset("balanced").to_dict(), source="made here", started=began)
    age = datetime.now().astimezone() - datetime.fromisoformat(began)
    assert timedelta(seconds=-1) < age < timedelta(minutes=5)


def test_what_was_committed_a_while_ago_is_dated_then(tmp_path: Path) -> None:
    """Also when the user has gone on since, which is written before: a framework may tell of a turn much later."""
    late: Step = (0.5, lambda beside: beside.committed("Yes, please.", ago=0.3))
    goes_on: Step = (0.5, started(0.2))
    very_late: Step = (0.5, lambda beside: beside.committed("Yes.", ago=0.9))
    before_all: Step = (0.5, lambda beside: beside.committed("Hm.", ago=9.0))
    converse(folder(tmp_path), [*CALL[:-1], late, goes_on, very_late, before_all])
    (written,) = tmp_path.iterdir()
    trace = read_trace(written)
    turns = [(round(record.t, 6), record.text) for record in trace.records if isinstance(record, BotTurn)]
    assert turns == [(0.0, "Hm."), (3.3, "Yes, please."), (3.7, "Yes.")]
    assert [record.t for record in trace.records] == sorted(record.t for record in trace.records)
    lines = [json.loads(line)["t"] for line in written.read_text().splitlines()[1:]]
    assert lines == sorted(lines)


def test_it_is_for_its_owner_alone_and_may_be_without_words(tmp_path: Path) -> None:
    converse(folder(tmp_path / "calls", redact=True), CALL)
    (written,) = (tmp_path / "calls").iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700
    text = written.read_text()
    for word in ("please", "yes", "Yes", "call"):
        assert word not in text
    (turn,) = [record for record in read_trace(written).records if isinstance(record, BotTurn)]
    assert turn.text == "Xxx, xxxxxx."


def test_a_long_call_ends_its_trace_and_no_other(tmp_path: Path) -> None:
    complaints: list[str] = []
    into = folder(tmp_path, complaints, call_limit=4000)
    decided = converse(into, CALL * 5)
    converse(into, CALL)
    first, second = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    assert 4000 <= first.stat().st_size < 5000
    assert complaints == [f"{first}: the trace has 4000 bytes and ends there"]
    replayed = [event for event in replay(read_trace(first)).outputs if isinstance(event, TurnCompleted)]
    assert replayed == [event for event in decided if isinstance(event, TurnCompleted)][: len(replayed)]
    assert replayed
    assert len(second.read_text().splitlines()) == len(CALL) + 2


def test_the_oldest_traces_make_room(tmp_path: Path) -> None:
    into = folder(tmp_path, limit=8000)
    other = tmp_path / "mine.jsonl"
    other.write_text("x" * 9000)
    for number in range(8):
        converse(into, CALL)
        newest = max((path for path in tmp_path.iterdir() if path != other), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    left = sorted(path.stat().st_mtime for path in tmp_path.iterdir() if path != other)
    size = newest.stat().st_size
    assert left == [float(number) for number in range(8)][-(8000 // size + 1) :]
    assert other.exists(), "files of others stay"


def test_traces_that_make_room_are_as_many_as_must(tmp_path: Path) -> None:
    """More than are looked at in one go; of those that are written, none."""
    into = folder(tmp_path, limit=5000)
    going_on = into.call(Header("results"))
    into.settle()
    for number in range(200):
        old = tmp_path / f"20260101T000000-{number:08x}.jsonl"
        old.write_text("x" * 100)
        os.utime(old, (number, number))
    os.utime(going_on.path, (0, 0))
    size = going_on.path.stat().st_size
    into.call(Header("results")).close()
    going_on.close()
    into.settle()
    left = sorted(tmp_path.glob("20260101*"))
    assert [path.name[16:24] for path in left] == [f"{number:08x}" for number in range(200 - (5000 - size) // 100, 200)]
    assert going_on.path.exists()


def test_a_trace_that_another_shadow_writes_stays(tmp_path: Path) -> None:
    """Each Pipecat worker has a shadow of its own, and all may write into one folder."""
    mine, other = folder(tmp_path, limit=100), folder(tmp_path, limit=100)
    header = Header("results", source="a call that goes on")
    going_on = mine.call(header)
    mine.settle()
    over = mine.call(header)
    over.close()
    mine.settle()
    other.call(header).close()
    other.settle()
    assert (going_on.path.exists(), over.path.exists()) == (True, False)
    going_on.write({"t": 1.0, "end": True})
    going_on.close()
    mine.settle()
    assert len(read_trace(going_on.path).records) == 1
    other.call(header).close()
    other.settle()
    assert not going_on.path.exists()


def test_a_long_call_goes_on_in_another_trace(tmp_path: Path) -> None:
    """When the bot begins to speak; each is replayed for itself, and none has another's words."""
    into = folder(tmp_path, call_limit=12_000)
    decided: list[Output] = []

    async def conversation() -> None:
        beside = Beside(preset("balanced"), into, "made here", "Ann", decided.append)
        beside.start()
        for pause, step in CALL * 20:
            await asyncio.sleep(pause)
            into.settle()  # virtual time is faster than any disk
            with beside.safely():
                step(beside)
                beside = beside.continued() if beside.bot_speaking else beside
        beside.finish()

    run_virtually(conversation())
    into.settle()
    paths = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(paths) > 2
    assert all(path.stat().st_size < 12_000 and stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    traces = [read_trace(path) for path in paths]
    assert {trace.header.caller for trace in traces} == {"Ann"}
    assert sum(isinstance(record, BotTurn) for trace in traces for record in trace.records) == 20
    assert [
        output for trace in traces for output in replay(trace).outputs if output.at <= trace.records[-1].t
    ] == decided
    assert [event.text for event in decided if isinstance(event, TurnCompleted)] == ["Yes, please."] * 20
    for before, after in itertools.pairwise(traces):
        assert isinstance(before.records[-2], AgentChange)
        assert isinstance(after.records[0], AgentChange)


def test_who_calls_is_in_the_header(tmp_path: Path) -> None:
    converse(folder(tmp_path, redact=True), CALL, caller="Ann")
    (written,) = tmp_path.iterdir()
    assert read_trace(written).header.caller == "Ann"


def test_what_cannot_be_written_is_told_once_and_harms_nobody(tmp_path: Path) -> None:
    complaints: list[str] = []
    occupied = tmp_path / "calls"
    occupied.write_text("not a folder")
    into = folder(occupied, complaints)
    converse(into, CALL)
    decided = converse(into, CALL)
    assert decided == []  # it has stopped
    (complaint,) = complaints
    assert complaint.startswith("the shadow has stopped, the bot goes on: FileExistsError: ")


def test_a_full_disk(tmp_path: Path) -> None:
    """What stands in for it is a limit of the size of files."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    complaints: list[str] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        converse(folder(tmp_path, complaints), CALL * 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(complaints) == 1
    assert "cannot write the trace: File too large" in complaints[0]
    (written,) = tmp_path.iterdir()
    trace = read_trace(written)  # it ends with a whole line
    assert next(event.text for event in replay(trace).outputs if isinstance(event, TurnCompleted)) == "Yes, please."


def test_a_failure_of_the_machine_ends_the_shadow_alone(tmp_path: Path) -> None:
    complaints: list[str] = []

    def fails(beside: Beside) -> None:
        raise RuntimeError("{broken}\n")

    decided = converse(folder(tmp_path, complaints), [*CALL, (0.1, fails), *CALL])
    assert len([event for event in decided if isinstance(event, TurnCompleted)]) == 1
    assert complaints == ["the shadow has stopped, the bot goes on: RuntimeError: {broken} "]
    (written,) = tmp_path.iterdir()
    assert json.loads(written.read_text().splitlines()[-1])["bot"] == "committed"


def test_a_disk_that_does_not_keep_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(Folder, "make_room", lambda self: hangs.wait())
    complaints: list[str] = []
    into = folder(tmp_path, complaints)
    file = into.call(Header("results"))
    for number in range(11_000):
        file.write({"t": number})
    assert complaints == [f"the shadow has stopped, the bot goes on: {file.path}: the disk does not keep up"]
    hangs.set()
    file.close()
    into.settle()
    assert complaints == complaints[:1]


@pytest.mark.parametrize("limit", [0, -1, "1 GB"])
def test_a_limit_is_a_number_of_bytes(tmp_path: Path, limit: float) -> None:
    with pytest.raises(UsageError, match="call_limit is a number of bytes above 0, not"):
        folder(tmp_path, call_limit=limit)


def test_words_are_laid_over_the_voice(tmp_path: Path) -> None:
    converse(folder(tmp_path), CALL)
    (written,) = tmp_path.iterdir()
    finals = [
        r.message for r in read_trace(written).records if isinstance(r, Received) and r.message["type"] == "final"
    ]
    assert [(w["text"], round(w["start"], 3), round(w["end"], 3)) for w in finals[0]["words"]] == [
        ("Yes,", 2.2, 2.5),
        ("please.", 2.5, 2.8),
    ]
