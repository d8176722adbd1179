"""Run a trace through the turn machines in virtual time, and check what came out.

No clock, no network, no task: records are delivered in order of time, machines are ticked at their deadlines
between them, and every Finalize of *this* replay is answered by the next answer the trace holds, so another
policy meets a transcriber that reacts to it.
"""

from __future__ import annotations

import heapq
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.errors import UsageError
from hearout.link.buffer import Coverage
from hearout.link.settings import silence_of
from hearout.traces.records import (
    AgentChange,
    Answer,
    AppCall,
    AudioEnd,
    AudioStall,
    Expected,
    LinkChange,
    Received,
    Record,
    Sent,
    Trace,
    VoiceChange,
)
from hearout.transcribers.base import Dialect, Heard, ProviderFailed
from hearout.transcribers.clock import ProviderClock
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.flux import Flux
from hearout.transcribers.soniox import Soniox
from hearout_policies import events, signals
from hearout_policies.machine import TurnMachine
from hearout_policies.policy import Policy

__all__ = ["Replayed", "check", "recorded_policy", "replay"]

_MARGIN = 60.0  # virtual seconds that a machine may wait beyond the bounds of its policy
_MOST_TICKS = 1000  # deadlines in a row with no signal between them; a turn needs a handful


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gave.

    Attributes:
        outputs: events and commands of all channels, in the order in which they were decided.
        heard: the signals that the machines were given, in order, without ticks.
        warnings: provider messages that were refused or reported a failure, by file and line.
        unended: why the replay had to be broken off, when a machine asked to be woken for ever.
    """

    outputs: tuple[events.Output, ...]
    heard: tuple[Heard, ...]
    warnings: tuple[str, ...] = ()
    unended: str | None = None

    def of_type(self, kind: str) -> list[events.Output]:
        """The outputs of one type, in order."""
        return [output for output in self.outputs if output.type == kind]


def recorded_policy(trace: Trace) -> Policy:
    """The policy that the trace was recorded under, or the default one.

    Raises:
        UsageError: the header names a preset or parameter that does not exist.
    """
    try:
        return Policy.from_dict(trace.header.policy or {})
    except ValueError as error:
        raise UsageError(f"{trace.name}:1: {error}") from None


def replay(trace: Trace, policy: Policy | None = None) -> Replayed:
    """Replay a trace.

    Args:
        policy: instead of the one in the trace's header.

    Raises:
        UsageError: as `recorded_policy`, or messages of this transcriber cannot be read.
    """
    return _Replay(trace, policy or recorded_policy(trace)).run()


class _Replay:
    def __init__(self, trace: Trace, policy: Policy) -> None:
        self._trace = trace
        self._dialect = _dialect(trace)
        self._patience = policy.max_turn + policy.max_silence + _MARGIN
        self._machines = [TurnMachine(policy, channel=channel) for channel in range(trace.header.channels)]
        self._answers = iter(trace.answers)
        # (time, order of arrival, what); a record of the trace goes before an answer that is due with it.
        self._queue: list[tuple[float, int, Record | Answer]] = [
            (record.t, order, record) for order, record in enumerate(trace.records)
        ]
        self._order = len(self._queue)
        self._connected = True
        self._offset = 0.0  # audio time at which the provider's clock of this connection began
        self._coverage = Coverage(trace.header.channels)
        self._clock = ProviderClock()
        self._outputs: list[events.Output] = []
        self._heard: list[Heard] = []
        self._warnings: list[str] = []

    def run(self) -> Replayed:
        ticks, last, unended = 0, 0.0, None
        while True:
            due = min((m.deadline for m in self._machines if m.deadline is not None), default=None)
            # What has arrived goes before a deadline of the same moment, as in a live session.
            if self._queue and (due is None or self._queue[0][0] <= due):
                last, _, item = heapq.heappop(self._queue)
                ticks = 0
                self._deliver(last, item)
                continue
            if due is None:
                break
            ticks += 1
            if due > last + self._patience or ticks > _MOST_TICKS:
                unended = f"still waiting for {due:.3f} s, when nothing more will come"
                break
            for machine in self._machines:
                if machine.deadline == due:
                    self._handle(machine, signals.Tick(at=due))
        return Replayed(tuple(self._outputs), tuple(self._heard), tuple(self._warnings), unended)

    def _deliver(self, at: float, item: Record | Answer) -> None:
        match item:
            case Received(message=message) | Answer(message=message):
                self._receive(at, message, item.line)
            case VoiceChange(kind="start"):
                self._tell(item.channel, signals.SpeechStarted(at, item.audio, item.heard))
            case VoiceChange(kind="maybe"):
                self._tell(item.channel, signals.SpeechSuspected(at, item.audio, item.heard))
            case VoiceChange():
                self._tell(item.channel, signals.SpeechStopped(at, item.audio, item.heard))
            case LinkChange(state="lost"):
                # Answers on their way are lost with it.
                self._queue = [entry for entry in self._queue if not isinstance(entry[2], Answer)]
                heapq.heapify(self._queue)
                self._connected = False
                self._tell(None, signals.LinkLost(at))
            case LinkChange():
                self._connected = True
                self._offset = item.audio or 0.0
                self._dialect.opening()
                self._coverage.restart(self._offset)
                self._clock.restart()
                self._tell(None, signals.LinkRestored(at, self._offset, item.speed))
            case AudioStall():
                self._tell(item.channel, signals.AudioStalled(at, item.heard))
            case AgentChange():
                self._tell(item.channel, signals.AgentSpeech(at, item.kind))
            case AppCall():
                self._tell(item.channel, signals.AppCommand(at, item.kind))
            case AudioEnd():
                self._tell(None, signals.EndOfAudio(at))
            case Sent(message=message):
                if (silence := silence_of(message)) is not None:
                    self._clock.insert(*silence)

    def _receive(self, at: float, message: Mapping[str, Any], line: int) -> None:
        where = f"{self._trace.name}:{line}"
        try:
            news = self._dialect.decode(json.dumps(message), at, self._offset)
        except ValueError as error:
            # A live session drops such a message too.
            self._warnings.append(f"{where}: message refused: {error}")
            return
        for item in news:
            if isinstance(item, ProviderFailed):
                self._warnings.append(f"{where}: the transcriber failed: {item.detail}")
            elif isinstance(item, Heard):
                # As in the link. How much audio was sent by now a trace does not say; not more than there was.
                new = self._coverage.admit(item.channel, self._clock.place(item.signal), sent=at)
                if new is not None:
                    self._tell(item.channel, new)

    def _tell(self, channel: int | None, signal: signals.Signal) -> None:
        for number, machine in enumerate(self._machines):
            if channel is None or number == channel:
                self._heard.append(Heard(number, signal))
                self._handle(machine, signal)

    def _handle(self, machine: TurnMachine, signal: signals.Signal) -> None:
        for output in machine.handle(signal):
            self._outputs.append(output)
            # A Finalize that cannot be sent is none: the first one that goes out takes the first answer.
            if (
                isinstance(output, events.Finalize)
                and self._connected
                and (answer := next(self._answers, None)) is not None
            ):
                heapq.heappush(self._queue, (output.at + answer.after, self._order, answer))
                self._order += 1


def _dialect(trace: Trace) -> Dialect:
    """Something that reads the trace's messages; it connects to nothing, so it needs no key."""
    dialects: Mapping[str, Callable[..., Dialect]] = {"deepgram": Deepgram, "soniox": Soniox, "flux": Flux}
    try:
        dialect = dialects[trace.header.stt]("unused", channels=trace.header.channels)
    except UsageError as error:
        raise UsageError(f"{trace.name}:1: {error}") from None
    dialect.opening()
    return dialect


# Checking


def check(trace: Trace, replayed: Replayed) -> list[str]:
    """What differs between a replay and the trace's ``expect``, ``expect_commands`` and ``forbid``.

    Turns completed must be those expected, all of them and in order. Events of other types must occur in the
    order in which they are expected; others of their type may come between.

    Returns:
        one line a difference; nothing when all holds.
    """
    out = []
    if replayed.unended is not None:
        out.append(replayed.unended)
    out += _check_all_ended(replayed)
    if trace.expect is not None:
        out += _check_completed(trace.expect, replayed)
        for kind in dict.fromkeys(entry.type for entry in trace.expect):
            if kind != "turn_completed":
                out += _check_others(kind, trace.expect, replayed)
    for name, bounds in trace.commands.items():
        given = [o for o in replayed.outputs if isinstance(o, events.Finalize) and o.command == name]
        times = " at " + ", ".join(f"{o.at:.2f}" for o in given) if given else ""
        if len(given) < bounds.least:
            out.append(f"{name} commanded {len(given)} times{times}, at least {bounds.least} expected")
        if bounds.most is not None and len(given) > bounds.most:
            out.append(f"{name} commanded {len(given)} times{times}, at most {bounds.most} expected")
    out += [f"forbidden: {_shown(o)}" for o in replayed.outputs if o.type in trace.forbid]
    return out


def _check_all_ended(replayed: Replayed) -> list[str]:
    """Nobody need expect this: it is promised."""
    ended = {
        (output.channel, output.turn)
        for output in replayed.outputs
        if isinstance(output, (events.TurnCompleted, events.TurnAbandoned))
    }
    return [
        f"turn {output.turn} of channel {output.channel} never ended"
        for output in replayed.outputs
        if isinstance(output, events.TurnStarted) and (output.channel, output.turn) not in ended
    ]


def _check_completed(expect: Sequence[Expected], replayed: Replayed) -> list[str]:
    wanted = [entry for entry in expect if entry.type == "turn_completed"]
    given = replayed.of_type("turn_completed")
    out = []
    for number, (entry, event) in enumerate(zip(wanted, given, strict=False), 1):
        out += [f"turn {number}: {difference}" for difference in _differences(entry, event)]
    out += [f"missing: {_wanted(entry)}" for entry in wanted[len(given) :]]
    out += [f"not expected: {_shown(event)}" for event in given[len(wanted) :]]
    return out


def _check_others(kind: str, expect: Sequence[Expected], replayed: Replayed) -> list[str]:
    given = replayed.of_type(kind)
    for entry in expect:
        if entry.type != kind:
            continue
        tried = [_differences(entry, event) for event in given]
        position = next((n for n, differences in enumerate(tried) if not differences), None)
        if position is None:
            # Name what is wrong with the candidate that comes nearest; later entries have no sure start.
            nearest = min(tried, key=len, default=None)
            return [f"missing: {_wanted(entry)}"] if nearest is None else [f"{kind}: {d}" for d in nearest]
        given = given[position + 1 :]
    return []


def _differences(entry: Expected, event: events.Output) -> list[str]:
    out = []
    if entry.after is not None and event.at < entry.after - 1e-6:
        out.append(f"at {event.at:.3f}, before {entry.after:g}")
    if entry.before is not None and event.at > entry.before + 1e-6:
        out.append(f"at {event.at:.3f}, after {entry.before:g}")
    given = events.as_dict(event)
    for key, value in entry.values.items():
        if not _same(value, given.get(key), key):
            out.append(f"{key} is {_json(given.get(key))}, expected {_json(value)}")
    return out


def _same(wanted: Any, given: Any, key: str = "") -> bool:
    """Numbers within 5 ms, objects by the keys that are wanted, texts as `_plain_text`."""
    if isinstance(wanted, Mapping):
        return isinstance(given, Mapping) and all(_same(v, given.get(k), k) for k, v in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(given, list)
            and len(wanted) == len(given)
            and all(_same(a, b) for a, b in zip(wanted, given, strict=True))
        )
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        return isinstance(given, (int, float)) and not isinstance(given, bool) and abs(wanted - given) <= 0.005
    if key == "text" and isinstance(wanted, str) and isinstance(given, str):
        return _plain_text(wanted) == _plain_text(given)
    return bool(wanted == given)


def _plain_text(text: str) -> str:
    """Without case and punctuation; a dash parts words, other punctuation does not."""
    chars = []
    for char in unicodedata.normalize("NFC", text).casefold():
        category = unicodedata.category(char)
        chars.append(" " if category == "Pd" else "" if category.startswith("P") else char)
    return " ".join("".join(chars).split())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _wanted(entry: Expected) -> str:
    bounds = [
        f"{name} {bound:g}" for name, bound in (("after", entry.after), ("before", entry.before)) if bound is not None
    ]
    values = [f"{key} {_json(value)}" for key, value in entry.values.items()]
    return " ".join([entry.type, *values, *bounds])


def _shown(event: events.Output) -> str:
    text = getattr(event, "text", None)
    return f"{event.type}{'' if text is None else ' ' + _json(text)} at {event.at:.3f}"
