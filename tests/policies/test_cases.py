"""Every trace of ``cases/`` comes out as it expects, also when its messages come a little earlier or later."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from hearout.channels import asking_after
from hearout.traces.checker import check
from hearout.traces.reader import read_trace
from hearout.traces.records import AudioStall, LinkChange, Received, Record, Trace, VoiceChange
from hearout.traces.replayer import Replayed, recorded_policy, replay
from hearout.transcribers.base import least_silence
from hearout.transcribers.registry import PROVIDERS
from hearout_policies.testing import Promises
from tests.kit.effort import nightly
from tests.kit.paths import CASES

TRACES = sorted(CASES.glob("*.jsonl"))
JITTER_MS = 60  # what a network and a scheduler do to arrivals on a usual day

every_case = pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
read = cache(read_trace)


@every_case
def test_comes_out_as_expected(path: Path) -> None:
    trace = read(path)
    assert trace.header.source, "a case says where it comes from and why it expects what it does"
    assert trace.expect is not None
    replayed = replay(trace)
    assert check(trace, replayed) == []
    keeps_the_promises(trace, replayed)


@every_case
@settings(max_examples=20 if nightly() else 4, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_comes_out_the_same_with_other_arrival_times(path: Path, data: st.DataObject) -> None:
    trace = read(path)
    count = len(trace.records)
    shifts = data.draw(st.lists(st.integers(-JITTER_MS, JITTER_MS), min_size=count, max_size=count))
    jittered = dataclasses.replace(loosened(trace), records=moved(trace.records, shifts))
    note("\n".join(f"{record.t:.3f} {record}" for record in jittered.records))
    replayed = replay(jittered)
    assert check(jittered, replayed) == []
    keeps_the_promises(jittered, replayed)


def keeps_the_promises(trace: Trace, replayed: Replayed) -> None:
    """Give the signals of a replay to machines under watch; they must say what the replay's machines said."""
    after = least_silence(PROVIDERS[trace.header.stt].dialect)
    for channel in range(trace.header.channels):
        watched = Promises(asking_after(recorded_policy(trace), after))
        for heard in replayed.heard:
            if heard.channel == channel:
                watched.handle(heard.signal)
        watched.settle()
        watched.check_determinism()
        said = [output for output in replayed.outputs if output.channel == channel]
        assert [dataclasses.replace(output, channel=channel) for output in watched.outputs] == said


def moved(records: Sequence[Record], shifts_ms: Sequence[int]) -> tuple[Record, ...]:
    """The records with what comes from the VAD and the provider moved, in the same order.

    Nothing is noticed before its audio was heard. Where a record would overtake another, both come together.
    """
    out: list[Record] = []
    now = offset = 0.0
    for record, shift in zip(records, shifts_ms, strict=True):
        at = record.t
        if isinstance(record, (Received, VoiceChange)):
            heard = record.audio if isinstance(record, VoiceChange) else reach(record) + offset
            at = max(at + shift / 1000, min(heard, at))
        elif isinstance(record, LinkChange) and record.audio is not None:
            offset = record.audio
        now = max(now, at)
        if isinstance(record, (VoiceChange, AudioStall)) and record.heard == record.t:
            record = dataclasses.replace(record, heard=now)  # by hand: audio time is the session clock
        out.append(dataclasses.replace(record, t=now))
    return tuple(out)


def reach(record: Received) -> float:
    """Where the audio ends that a message speaks about; on the provider's clock."""
    message = record.message
    return float(message.get("start", message.get("timestamp", 0.0))) + float(message.get("duration", 0.0))


def loosened(trace: Trace) -> Trace:
    """The trace with what it expects reduced to the turns' texts, and their bounds widened by the jitter."""
    slack = JITTER_MS / 1000
    expect = tuple(
        dataclasses.replace(
            entry,
            after=None if entry.after is None else entry.after - slack,
            before=None if entry.before is None else entry.before + slack,
            values={key: value for key, value in entry.values.items() if key in ("text", "channel")},
        )
        for entry in trace.expect or ()
        if entry.type == "turn_completed"
    )
    return dataclasses.replace(trace, expect=expect, commands={}, forbid=frozenset())
