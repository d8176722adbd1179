"""Sessions as text: one JSON object a line, written while a session runs or by hand.

Line 1 is the header, then records in order of ``t`` (session clock, seconds; audio time is the same unless
``audio`` says otherwise)::

    {"hearout_trace": 1, "stt": "deepgram", "channels": 1, "vad": true, "policy": {...}, "source": "..."}
    {"t": 0.52, "vad": "start", "audio": 0.44, "channel": 0}   the local VAD; "stop", "maybe", "pause" likewise
    {"t": 0.95, "ear": 0.31, "audio": 0.86, "channel": 0}      what an ear makes of a silence, by its sound
    {"t": 1.02, "stt": {...}}                                  a provider message, exactly as received
    {"t": 2.30, "sent": {"type": "Finalize"}}                  what the engine sent; read: Silence, Options, Audio
    {"on": "finalize", "after": 0.25, "stt": {...}}            the n-th of these answers the n-th Finalize
    {"t": 5.0, "link": "lost"}                                 the provider's clock starts again at 0 ...
    {"t": 6.1, "link": "restored", "audio": 4.2}               ... which is this audio time of the session
    {"t": 6.2, "audio": "stalled"}                             no audio arrives; a later VAD record ends it
    {"t": 7.0, "agent": "started"}                             or "stopped"
    {"t": 7.0, "agent": "said", "text": "Your number?"}        what it says
    {"t": 7.2, "bot": "committed", "text": "yes"}              a turn detection that is not ours ended the user's turn
    {"t": 7.3, "bot": "interrupted"}                           and made the voicebot stop for the user
    {"t": 7.5, "expected": [{"type": "digits", ...}], "keep": false}   what the application says it asked for
    {"t": 7.9, "key": "5"}                                     of a telephone
    {"t": 8.0, "policy": {...}}                                another policy judges from here on
    {"t": 8.0, "app": "force_end"}                             or "hold", "release", "clear"
    {"t": 12.0, "end": true}                                   end of audio
    {"expect": [{"type": "turn_completed", "text": "yes please", "after": 1.9, "before": 2.6}]}
    {"expect_commands": {"finalize": {"min": 1, "max": 1}}}
    {"forbid": ["turn_amended"]}

Optional keys which live sessions write, because their replay is not exact without them: ``heard`` on ``vad``
and ``stalled`` records (seconds of audio heard when that was noticed; absent: ``t``), ``speed`` on ``restored``
records (times real time at which the new connection is fed what it missed, null: as fast as it takes it; absent:
1.25), and ``channel`` on ``stalled``, ``agent``, ``expected``, ``key``, ``policy`` and ``app`` records (absent: all
channels) and on ``bot`` records (absent: 0); ``at`` on ``committed`` records (when that was, if it was told of later;
absent: ``t``). Blank lines are skipped; there are no comments.

A trace holds no audio and no keys. With ``redact`` it holds no words either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import IO, Any, cast

from hearout.errors import UsageError
from hearout.fields import Fields, object_of, refuse, shown
from hearout.traces.broken import whole_lines
from hearout.traces.records import (
    VERSION,
    AgentChange,
    AgentText,
    AppCall,
    AudioEnd,
    AudioStall,
    BotInterrupted,
    BotTurn,
    Bounds,
    EarAnswer,
    Expected,
    Expecting,
    Header,
    KeyPress,
    LinkChange,
    PolicyUse,
    Received,
    Record,
    Reply,
    Sent,
    Trace,
    VoiceChange,
)
from hearout.transcribers.base import Dialect
from hearout.transcribers.own import named, provider_of
from hearout.transcribers.provider import Provider
from hearout.transcribers.results import Results
from hearout_policies import events
from hearout_policies.expect import expectation
from hearout_policies.policy import Policy
from hearout_policies.signals import KEYS, REPLAY_SPEED

__all__ = ["parse_trace", "read_trace"]

_FASTEST = 1e9  # times real time; what is faster has no limit
_LONGEST_LINE = 10_000_000  # characters; a message of a provider has 1 MB at most, and JSON may spell a byte with six
EVENTS: Mapping[str, type] = {
    cls.type: cls
    for cls in (
        events.TurnStarted,
        events.TurnUpdated,
        events.TurnPredicted,
        events.TurnResumed,
        events.TurnCompleted,
        events.TurnAmended,
        events.TurnAbandoned,
        events.UserIdle,
    )
}
"""Event classes by the ``type`` that traces and ``--json`` use."""


def read_trace(
    path: str | Path, transcriber: type[Dialect] | None = None, broken_off: Callable[[str], object] | None = None
) -> Trace:
    """Read a trace from a file.

    Args:
        transcriber: the class whose messages are in traces with its name; None: those that hearout or an installed
            package brings are known.
        broken_off: is told where the last line is not whole, which then is left out; None: that is an error.

    Raises:
        UsageError: the file cannot be read, or a line is not what it must be (``FILE:LINE: ...``).
    """
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            lines = _lines(file)
            if broken_off is not None:
                lines = whole_lines(lines, str(path), broken_off)
            return parse_trace(lines, str(path), transcriber)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the trace: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a trace: a trace is JSON Lines in UTF-8") from None


def _lines(file: IO[str]) -> Iterator[str]:
    """The lines of a file, and of none that is endless (/dev/zero) more than fits into memory."""
    while line := file.readline(_LONGEST_LINE):
        yield line


def parse_trace(lines: Iterable[str], name: str = "trace", transcriber: type[Dialect] | None = None) -> Trace:
    """Read a trace from its lines; ``name`` stands for the file in errors, ``transcriber`` is as in `read_trace`.

    Raises:
        UsageError: as `read_trace`.
    """
    own = None if transcriber is None else provider_of(transcriber)
    header: Header | None = None
    dialect: type[Dialect] | None = None
    records: list[Record] = []
    answers: list[Reply] = []
    expect: list[Expected] | None = None
    commands: dict[str, Bounds] = {}
    forbid: set[str] = set()
    now = 0.0
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            if len(text) >= _LONGEST_LINE:
                refuse(f"a line of more than {_LONGEST_LINE} characters; no record is so long")
            line = _TraceLine(object_of(text), number)
            if header is None:
                header = _header(line)
                dialect = _dialect(header.stt, own)
            elif "expect" in line:
                expect = (expect or []) + _expect(line, header)
            elif "expect_commands" in line:
                commands.update(_expect_commands(line))
            elif "forbid" in line:
                forbid.update(_forbid(line))
            elif "on" in line:
                answers.append(_answer(line))
            else:
                t, record = _record(line, header)
                if t < now:
                    refuse(f"t goes backwards: {t:g} after {now:g}; records stand in order of t")
                now = t
                records.append(record)
        except (ValueError, UsageError) as error:
            raise UsageError(f"{name}:{number}: {error}") from None
    if header is None or dialect is None:
        raise UsageError(f"{name}:1: the trace is empty; {_HEADER_FORM}")
    return Trace(
        name,
        header,
        dialect,
        tuple(sorted(records, key=lambda record: record.t)),  # a bot's turn may be told of late
        tuple(answers),
        None if expect is None else tuple(expect),
        commands,
        frozenset(forbid),
    )


# One line. Everything below says what is wrong with it by a ValueError; `parse_trace` adds file and line.

_HEADER_FORM = 'line 1 must be the header, {"hearout_trace": 1, "stt": "deepgram", "channels": 1, ...}'


class _TraceLine(Fields):
    """The object on one line."""

    def __init__(self, data: Mapping[str, Any], line: int) -> None:
        super().__init__(data)
        self.line = line

    def speed(self, key: str, default: float) -> float | None:
        wanted = "a number above 0, or null: no limit"
        value = self._take(key, default, wanted, (int, float, NoneType))
        if value is not None and not 0 < value <= _FASTEST:
            refuse(f'"{key}" must be {wanted}, not {shown(value)}')
        return None if value is None else float(value)

    def moment(self, key: str) -> str:
        """By the clock; empty when it is absent."""
        value: str = self.string(key, "")
        try:
            return value and datetime.fromisoformat(value).isoformat()
        except ValueError:
            refuse(f'"{key}" must be a date and time such as "2026-11-27T14:03:00+01:00", not {shown(value)}')

    def channel(self, header: Header, default: int | None) -> Any:
        value = self.whole("channel", default)
        if value is not None and value >= header.channels:
            refuse(f'"channel" {shown(value)} does not exist; the header says "channels": {header.channels}')
        return value


def _header(line: _TraceLine) -> Header:
    if "hearout_trace" not in line:
        refuse(f"not a hearout trace: {_HEADER_FORM}")
    version = line.whole("hearout_trace")
    if version != VERSION:
        refuse(f"trace of version {version}; this hearout reads version {VERSION}")
    header = Header(
        stt=line.string("stt"),
        channels=line.whole("channels", 1, least=1),
        vad=line.boolean("vad", True),
        policy=line.mapping("policy", None),
        source=line.string("source", ""),
        started=line.moment("started"),
        caller=line.string("caller", ""),
    )
    line.done("the header")
    return header


def _dialect(stt: str, own: Provider | None) -> type[Dialect]:
    """Whose messages they are."""
    if stt == Results.name:
        return Results
    provider = own if own is not None and own.name == stt else named(stt)
    if provider is None:
        refuse(
            f'"stt" is {shown(stt)}, a transcriber that is not known here: install the package that brings it, or name '
            "its class: --stt package.module:Class" + (f" (not one that is named {own.name})" if own else "")
        )
    return provider.dialect


def _record(line: _TraceLine, header: Header) -> tuple[float, Record]:
    """A record, behind the time at which it was told: a bot's turn may have been before that."""
    kinds = ("vad", "ear", "stt", "sent", "link", "audio", "agent", "bot", "expected", "key", "policy", "app", "end")
    kind = next((kind for kind in kinds if kind in line), None)
    if kind is None:
        refuse(
            'unknown kind of record; a record has "t" and one of ' + ", ".join(f'"{kind}"' for kind in kinds)
            + '; or is one of "on", "expect", "expect_commands", "forbid"'
        )  # fmt: skip
    t: float = line.seconds("t")
    record: Record
    match kind:
        case "vad":
            if not header.vad:
                refuse('a "vad" record, but the header says "vad": false')
            record = VoiceChange(
                t,
                line.word("vad", "start", "stop", "maybe", "pause"),
                line.seconds("audio", t),
                line.seconds("heard", t),
                line.channel(header, 0),
                line.line,
            )
        case "ear":
            odds = line.number("ear", ..., 0, 1)
            record = EarAnswer(t, odds, line.seconds("audio", t), line.channel(header, 0), line.line)
        case "stt":
            record = Received(t, line.mapping("stt"), line.line)
        case "sent":
            record = Sent(t, line.mapping("sent"), line.line)
        case "link":
            state = line.word("link", "lost", "restored")
            if state == "restored":
                record = LinkChange(t, state, line.seconds("audio", t), line.speed("speed", REPLAY_SPEED), line.line)
            else:
                record = LinkChange(t, state, line=line.line)
        case "audio":
            line.word("audio", "stalled")
            record = AudioStall(t, line.seconds("heard", t), line.channel(header, None), line.line)
        case "agent":
            kind_ = line.word("agent", "started", "stopped", "said")
            if kind_ == "said":
                record = AgentText(t, line.string("text"), line.line)
            else:
                record = AgentChange(t, kind_, line.channel(header, None), line.line)
        case "bot":
            if line.word("bot", "committed", "interrupted") == "committed":
                record = BotTurn(line.number("at", t, 0, t), line.string("text"), line.channel(header, 0), line.line)
            else:
                record = BotInterrupted(t, line.channel(header, 0), line.line)
        case "expected":
            asked = tuple(expectation(one) for one in line.sequence("expected"))
            record = Expecting(t, asked, line.boolean("keep", False), line.channel(header, None), line.line)
        case "key":
            record = KeyPress(t, line.word("key", *sorted(KEYS)), line.channel(header, None), line.line)
        case "policy":
            used = Policy.from_dict(line.mapping("policy"))
            record = PolicyUse(t, used, line.channel(header, None), line.line)
        case "app":
            call = line.word("app", "force_end", "hold", "release", "clear")
            record = AppCall(t, call, line.channel(header, None), line.line)
        case _:
            if not line.boolean("end"):
                refuse('"end" must be true')
            record = AudioEnd(t, line.line)
    line.done(f'a record of kind "{kind}"')
    return t, record


def _answer(line: _TraceLine) -> Reply:
    line.word("on", "finalize")
    answer = Reply(line.seconds("after"), line.mapping("stt"), line.line)
    line.done('a record of kind "on"')
    return answer


def _expect(line: _TraceLine, header: Header) -> list[Expected]:
    entries = line.sequence("expect")
    line.done('a record of kind "expect"')
    out = []
    for position, entry in enumerate(entries, 1):
        try:
            if not isinstance(entry, dict):
                refuse(f"{shown(entry)} is not an object")
            out.append(_expected(_TraceLine(entry, line.line), entry, header))
        except ValueError as error:
            raise ValueError(f"expect, entry {position}: {error}") from None
    return out


def _expected(entry: _TraceLine, data: Mapping[str, Any], header: Header) -> Expected:
    kind = entry.word("type", *EVENTS) if "type" in entry else "turn_completed"
    after, before = entry.seconds("after", None), entry.seconds("before", None)
    if after is not None and before is not None and before < after:
        refuse(f'"before" {before:g} lies before "after" {after:g}')
    values: dict[str, Any] = {}
    keys = [f.name for f in fields(EVENTS[kind])]
    for key in keys:
        if key not in data:
            continue
        match key:
            case "channel":
                values[key] = entry.channel(header, 0)
            case "text" | "reason":
                values[key] = entry.string(key)
            case "confirmed" | "agent_speaking" | "backchannel":
                values[key] = entry.boolean(key)
            case "at" | "audio_start" | "audio_end":
                values[key] = entry.seconds(key)
            case "turn" | "continues":
                values[key] = None if data[key] is None else entry.whole(key)
            case "timings":
                values[key] = entry.mapping(key)
                _known_keys(values[key], events.Timings, "timings")
            case _:
                values[key] = data[key]
    known = ["type", "after", "before", *keys]
    for key in data:
        if key not in known:
            refuse(f'unknown key "{key}"; an expected {kind} has {", ".join(known)}')
    return Expected(kind, after, before, values, entry.line)


def _known_keys(data: Mapping[str, Any], cls: Any, what: str) -> None:
    known = [f.name for f in fields(cls)]
    for key in data:
        if key not in known:
            refuse(f'unknown key "{key}"; {what} has {", ".join(known)}')


def _expect_commands(line: _TraceLine) -> dict[str, Bounds]:
    commands = _TraceLine(line.mapping("expect_commands"), line.line)
    line.done('a record of kind "expect_commands"')
    limits = _TraceLine(commands.mapping("finalize"), line.line)
    commands.done('"expect_commands"')
    bounds = Bounds(limits.whole("min", 0), limits.whole("max", None))
    limits.done('"finalize"')
    if bounds.most is not None and bounds.most < bounds.least:
        refuse(f'"max" {bounds.most} is less than "min" {bounds.least}')
    return {"finalize": bounds}


def _forbid(line: _TraceLine) -> list[str]:
    names = line.sequence("forbid")
    line.done('a record of kind "forbid"')
    allowed = (*EVENTS, "command")
    for name in names:
        if name not in allowed:
            refuse(f'"forbid" names {shown(name)}; events are {", ".join(allowed)}')
    return cast("list[str]", names)
