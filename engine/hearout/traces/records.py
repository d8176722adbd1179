"""What a trace is made of, typed: the header, the records, the expectations. `hearout.traces.reader` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hearout.transcribers.base import Dialect
from hearout_policies.expect import Expectation
from hearout_policies.policy import Policy
from hearout_policies.signals import REPLAY_SPEED

__all__ = [
    "VERSION",
    "AgentChange",
    "AgentText",
    "AppCall",
    "AudioEnd",
    "AudioStall",
    "BotInterrupted",
    "BotTurn",
    "Bounds",
    "EarAnswer",
    "Expected",
    "Expecting",
    "Header",
    "KeyPress",
    "LinkChange",
    "PolicyUse",
    "Received",
    "Record",
    "Reply",
    "Sent",
    "Trace",
    "VoiceChange",
]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Header:
    """Line 1.

    Attributes:
        stt: name of the dialect of all ``stt`` messages.
        channels: number of audio channels, each with a turn machine of its own.
        vad: a local VAD took part.
        policy: the settings the session ran under, or None: the default policy.
        source: where this comes from, for people.
        started: when the session began by the clock of its place, as ISO 8601 ("2026-11-27T14:03:00+01:00"); empty:
            not known.
        caller: whoever called, by a name that the application chose; empty: not known.
    """

    stt: str
    channels: int = 1
    vad: bool = True
    policy: Mapping[str, Any] | None = None
    source: str = ""
    started: str = ""
    caller: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        out: dict[str, Any] = {"hearout_trace": VERSION, "stt": self.stt, "channels": self.channels}
        out["vad"] = self.vad
        if self.policy is not None:
            out["policy"] = dict(self.policy)
        out["source"] = self.source
        return out | {key: value for key, value in (("started", self.started), ("caller", self.caller)) if value}


@dataclass(frozen=True, slots=True)
class VoiceChange:
    """The local VAD noticed at ``t`` that speech began or ended at ``audio``, or may have ("maybe", "pause").

    By then the first ``heard`` seconds of audio had been heard.
    """

    t: float
    kind: Literal["start", "stop", "maybe", "pause"]
    audio: float
    heard: float
    channel: int = 0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class EarAnswer:
    """An ear, which had heard the audio up to ``audio``, said how likely the turn is over."""

    t: float
    odds: float
    audio: float
    channel: int = 0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Received:
    """One message of the provider, as parsed JSON."""

    t: float
    message: Mapping[str, Any]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What the engine sent. Replay sends its own."""

    t: float
    message: Mapping[str, Any]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LinkChange:
    """The connection was lost, or is up again and fed from ``audio`` on (None when lost), at ``speed``."""

    t: float
    state: Literal["lost", "restored"]
    audio: float | None = None
    speed: float | None = REPLAY_SPEED
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AudioStall:
    """No audio arrives any more, after the first ``heard`` seconds. ``channel`` None: on all channels."""

    t: float
    heard: float
    channel: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AgentChange:
    """The voicebot began or ceased to speak."""

    t: float
    kind: Literal["started", "stopped"]
    channel: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AgentText:
    """What the voicebot said, or was about to."""

    t: float
    text: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class BotTurn:
    """A turn detection other than ours, which the voicebot obeyed, ended the user's turn and handed ``text`` on."""

    t: float
    text: str
    channel: int = 0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class BotInterrupted:
    """That turn detection took what the user said for an interruption: the voicebot was made to stop speaking."""

    t: float
    channel: int = 0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Expecting:
    """What the application said it asked for; ``keep``: until changed."""

    t: float
    expectations: tuple[Expectation, ...]
    keep: bool = False
    channel: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class KeyPress:
    """The user pressed a key of the telephone."""

    t: float
    key: str
    channel: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """From here on another policy judged."""

    t: float
    policy: Policy
    channel: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AppCall:
    """The application took a hand."""

    t: float
    kind: Literal["force_end", "hold", "release", "clear"]
    channel: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AudioEnd:
    """No audio will come any more."""

    t: float
    line: int = field(default=0, compare=False)


Record = (
    VoiceChange
    | EarAnswer
    | Received
    | Sent
    | LinkChange
    | AudioStall
    | AgentChange
    | AgentText
    | BotTurn
    | BotInterrupted
    | Expecting
    | KeyPress
    | PolicyUse
    | AppCall
    | AudioEnd
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider answers to a Finalize, ``after`` seconds later."""

    after: float
    message: Mapping[str, Any]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Expected:
    """One event that must occur.

    Attributes:
        type: the event's type.
        after, before: bounds of its ``at``, both included.
        values: other keys of the event's JSON form that must agree.
    """

    type: str
    after: float | None
    before: float | None
    values: Mapping[str, Any]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often a command may be given; ``most`` None: no limit."""

    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace.

    Attributes:
        name: the file, for messages.
        transcriber: the class whose messages are in it.
        records: what happened, in order of ``t``.
        answers: the n-th answers the n-th Finalize of a replay.
        expect: None when the trace expects nothing; an empty tuple when it expects that no turn completes.
        commands: bounds by command name.
        forbid: types that must not occur.
    """

    name: str
    header: Header
    transcriber: type[Dialect]
    records: tuple[Record, ...]
    answers: tuple[Reply, ...] = ()
    expect: tuple[Expected, ...] | None = None
    commands: Mapping[str, Bounds] = field(default_factory=dict)
    forbid: frozenset[str] = frozenset()
