"""Run a trace through the turn machines in virtual time.

No clock, no network, no task: records are delivered in order of time, machines are ticked at their deadlines
between them, and every Finalize of *this* replay is answered by the next answer the trace holds, so another
policy meets a transcriber that reacts to it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hearout.channels import Arrivals, Channels
from hearout.errors import UsageError
from hearout.traces.records import (
    AgentChange,
    AgentText,
    AppCall,
    AudioEnd,
    AudioStall,
    EarAnswer,
    Expecting,
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
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, least_silence
from hearout.transcribers.foreign import code_of_others
from hearout.transcribers.hearing import Hearing
from hearout.transcribers.own import provider_of
from hearout_policies import events, signals
from hearout_policies.language import Language
from hearout_policies.policy import Policy

__all__ = ["Replayed", "recorded_language", "recorded_policy", "replay"]


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


def recorded_language(trace: Trace) -> str | Language | None:
    """What language the policies of the trace judge in: the first that one of them names."""
    used = [record.policy for record in trace.records if isinstance(record, PolicyUse)]
    with suppress(UsageError):  # a header that only another policy can stand in for
        used.insert(0, recorded_policy(trace))
    return next((policy.language for policy in used if policy.language is not None), None)


def replay(trace: Trace, policy: Policy | None = None) -> Replayed:
    """Replay a trace.

    Args:
        policy: instead of all that the trace was recorded under, in the trace's language if it names none; None: the
            one in its header, and each that it was changed to.

    Raises:
        UsageError: as `recorded_policy`, or messages of this transcriber cannot be read.
    """
    return _Replay(trace, policy).run()


class _Replay:
    def __init__(self, trace: Trace, policy: Policy | None) -> None:
        self._trace = trace
        self._own_policy = policy is not None
        if policy is None:
            policy = recorded_policy(trace)
        elif policy.language is None:
            policy = dataclasses.replace(policy, language=recorded_language(trace))
        dialect = _dialect(trace)
        self._hearing = Hearing(dialect)
        self._hearing.begin(0.0)
        after = least_silence(dialect)
        self._channels = Channels(policy, trace.header.channels, self._take, finalize_after=after)
        self._answers = iter(trace.answers)
        # A record of the trace goes before an answer that is due with it.
        self._arrivals: Arrivals[Record | Reply] = Arrivals((record.t, record) for record in trace.records)
        self._connected = True
        self._outputs: list[events.Output] = []
        self._heard: list[Heard] = []
        self._warnings: list[str] = []

    def run(self) -> Replayed:
        unended = self._channels.play(self._arrivals, self._deliver)
        return Replayed(tuple(self._outputs), tuple(self._heard), tuple(self._warnings), unended)

    def _deliver(self, at: float, item: Record | Reply) -> None:
        match item:
            case Received(message=message) | Reply(message=message):
                self._receive(at, message, item.line)
            case VoiceChange():
                self._tell(item.channel, signals.VOICE[item.kind](at, item.audio, item.heard))
            case EarAnswer():
                self._tell(item.channel, signals.EarHeard(at, item.audio, item.odds))
            case LinkChange(state="lost"):
                self._arrivals.lose_answers()
                self._connected = False
                self._tell(None, signals.LinkLost(at))
            case LinkChange():
                self._connected = True
                origin = item.audio or 0.0
                self._hearing.begin(origin)
                self._tell(None, signals.LinkRestored(at, origin, item.speed))
            case AudioStall():
                self._tell(item.channel, signals.AudioStalled(at, item.heard))
            case AgentChange():
                self._tell(item.channel, signals.AgentSpeech(at, item.kind))
            case AgentText(text=text):
                self._tell(None, signals.AgentSaid(at, text))
            case Expecting():
                self._tell(item.channel, signals.Asked(at, item.expectations, item.keep))
            case KeyPress():
                self._tell(item.channel, signals.KeyPressed(at, item.key))
            case PolicyUse() if not self._own_policy:
                self._tell(item.channel, signals.PolicyChanged(at, item.policy))
            case AppCall():
                self._tell(item.channel, signals.AppCommand(at, item.kind))
            case AudioEnd():
                self._tell(None, signals.EndOfAudio(at))
            case Sent(message=message):
                self._sent(message, item.line)

    def _sent(self, message: Mapping[str, Any], line: int) -> None:
        try:
            self._hearing.sent(message)
        except ValueError as error:
            raise UsageError(f"{self._trace.name}:{line}: {error}") from None

    def _receive(self, at: float, message: Mapping[str, Any], line: int) -> None:
        where = f"{self._trace.name}:{line}"
        try:
            # How much audio was sent by now a trace does not say; not more than there was.
            news = self._hearing.hear(json.dumps(message), at, sent=at)
        except ValueError as error:
            # A live session drops such a message too.
            self._warnings.append(f"{where}: message refused: {error}")
            return
        for item in news:
            if isinstance(item, ProviderFailed):
                self._warnings.append(f"{where}: the transcriber failed: {item.detail}")
            elif isinstance(item, Heard):
                self._tell(item.channel, item.signal)

    def _tell(self, channel: int | None, signal: signals.Signal) -> None:
        numbers = range(self._trace.header.channels) if channel is None else (channel,)
        self._heard += [Heard(number, signal) for number in numbers]
        self._channels.tell(channel, signal)

    def _take(self, output: events.Output) -> None:
        self._outputs.append(output)
        # A Finalize that cannot be sent is none: the first one that goes out takes the first answer.
        if (
            isinstance(output, events.Finalize)
            and self._connected
            and (answer := next(self._answers, None)) is not None
        ):
            self._arrivals.answer(output.at + answer.after, answer)


def _dialect(trace: Trace) -> Dialect:
    try:
        provider = provider_of(trace.transcriber)
        with code_of_others(f"{provider.owner}: it cannot be made"):
            return provider.reader(trace.header.channels)
    except UsageError as error:
        raise UsageError(f"{trace.name}:1: {error}") from None
