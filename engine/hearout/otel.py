"""The turns of a session as spans of OpenTelemetry. Needs the ``otel`` extra.

Spans come from the events a session gives anyway, with the times that stand in them, so it does not matter when an
event is read, and the same works behind a queue, on asyncio and on the events of a replay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hearout.extras import needs_extra
from hearout.session.core import SessionEvent
from hearout.session.notices import AudioLost, LinkDown, LinkUp, Notice, SessionWarning
from hearout.version import __version__
from hearout_policies.events import (
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
)

with needs_extra("otel", "tracing"):
    from opentelemetry import trace
    from opentelemetry.context import get_current

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["TurnSpans"]

_Value = str | bool | int | float
_Key = tuple[int, int]  # channel, number of the turn

_REMEMBERED = 64  # turns that are over; late words come for one of the last 32 of a channel, and mostly for the last
_OUTCOMES_AT_FAULT = ("unheard", "unfinished")


@dataclass(slots=True)
class _OpenTurn:
    """A turn without an end so far: told at ``at``; what happened in it, and whether audio was lost."""

    at: float
    continues: int | None = None
    agent_speaking: bool = False
    happened: list[tuple[str, float, dict[str, _Value]]] = field(default_factory=list)
    lost: bool = False


class TurnSpans:
    """The spans of one session; make it where the session is opened, and tell it every event::

        spans = TurnSpans(conversation=call_id)
        async for event in session:
            spans.observe(event)
        spans.finish()

    A turn is one span, ``user_turn``, with the children ``speech``, ``finalize`` and ``hold``; they are given to the
    exporter when the turn is over. The names are listed in ``docs/operations.md``.

    Args:
        conversation: a name for this conversation, ``gen_ai.conversation.id``.
        attributes: more of your own, for each ``user_turn``.
        context: what the turns are children of; None: the span that is current where this is called.
        provider: of tracers; None: the one set by ``opentelemetry.trace.set_tracer_provider``.
        began: when the session clock was 0, in seconds as of `time.time`; None: told by the first event, so read that
            as it comes.
        text: the spans have what was said, too, and the details of warnings and losses, which may quote it.

    Raises:
        UsageError: opentelemetry-api is not installed; the import of this module raises it.
    """

    def __init__(
        self,
        *,
        conversation: str | None = None,
        attributes: Mapping[str, _Value] | None = None,
        context: Context | None = None,
        provider: trace.TracerProvider | None = None,
        began: float | None = None,
        text: bool = False,
    ) -> None:
        self._context = get_current() if context is None else context
        self._tracer = trace.get_tracer("hearout", __version__, provider)
        self._attributes = dict(attributes or {})
        if conversation is not None:
            self._attributes["gen_ai.conversation.id"] = conversation
        self._began = None if began is None else round(began * 1e9)
        self._text = text
        self._open: dict[_Key, _OpenTurn] = {}
        self._over: dict[_Key, tuple[trace.SpanContext, float]] = {}  # the latest, and when each was decided
        self._now = 0.0

    def observe(self, event: SessionEvent, /) -> None:
        """Take in one event."""
        if self._began is None:
            self._began = time.time_ns() - round(event.at * 1e9)
        self._now = event.at
        match event:
            case TurnStarted():
                turn = _OpenTurn(event.at, event.continues, event.agent_speaking)
                self._open[event.channel, event.turn] = turn
            case TurnPredicted() | TurnResumed():
                if (open_turn := self._open.get((event.channel, event.turn))) is not None:
                    open_turn.happened.append((event.type, event.at, {}))
            case TurnCompleted():
                self._completed(event)
            case TurnAbandoned():
                self._ended(event.channel, event.turn, event.at, event.reason)
            case TurnAmended():
                self._amended(event)
            case LinkDown() | LinkUp() | AudioLost() | SessionWarning():
                self._noticed(event)

    def finish(self) -> None:
        """The session is over: end the turns that it left open, since it failed, or its block was left."""
        for channel, turn in list(self._open):
            self._ended(channel, turn, self._now, "unfinished")

    def _completed(self, event: TurnCompleted) -> None:
        key = event.channel, event.turn
        turn = self._open.pop(key, None) or _OpenTurn(event.at, event.continues, event.agent_speaking)
        timings = event.timings
        spoken = timings.speech_end
        # The onset was noticed a little after it was; the two clocks differ by as much as at the end of speech.
        start = turn.at if spoken is None else min(turn.at, spoken - (event.audio_end - event.audio_start))
        more: dict[str, _Value | None] = {
            "hearout.outcome": "completed",
            "hearout.reason": event.reason,
            "hearout.confirmed": event.confirmed,
            "hearout.backchannel": event.backchannel,
            "hearout.latency": timings.latency,
            "hearout.odds": event.odds,
            "hearout.words": len(event.words),
            "hearout.answer": None if event.answer is None else event.answer.kind,
        }
        span = self._span(key, turn, start, more | self._said(event.text))
        within = trace.set_span_in_context(span, self._context)
        if spoken is not None:
            self._child("speech", within, start, spoken)
        if (sent := timings.finalize_sent) is not None:
            answered = timings.answered
            end = event.at if answered is None else answered
            self._child("finalize", within, sent, end, {"hearout.answered": answered is not None})
        if timings.noticed is not None:
            self._child("hold", within, timings.noticed, event.at)
        self._close(key, span, event.at)

    def _ended(self, channel: int, number: int, at: float, reason: str) -> None:
        """Without having been completed."""
        key = channel, number
        turn = self._open.pop(key, None) or _OpenTurn(at)
        outcome = "unfinished" if reason == "unfinished" else "abandoned"
        span = self._span(key, turn, turn.at, {"hearout.outcome": outcome, "hearout.reason": reason})
        if reason in _OUTCOMES_AT_FAULT:
            span.set_status(trace.Status(trace.StatusCode.ERROR, reason))
        self._close(key, span, at)

    def _amended(self, event: TurnAmended) -> None:
        """A span that has ended cannot be changed: late words are a child of it that comes behind."""
        known = self._over.get((event.channel, event.turn))
        parent = trace.set_span_in_context(trace.NonRecordingSpan(known[0]), self._context) if known else self._context
        more: dict[str, _Value | None] = {
            "hearout.turn": event.turn,
            "hearout.channel": event.channel,
            "hearout.confirmed": event.confirmed,
            "hearout.words": len(event.words),
        }
        self._child("amended", parent, known[1] if known else event.at, event.at, more | self._said(event.text))

    def _noticed(self, notice: Notice) -> None:
        """On the turns that are open; without any, on the span of the caller."""
        told: dict[str, _Value] = {}
        match notice:
            case LinkUp():
                told["hearout.outage"] = notice.outage
            case AudioLost():
                told["hearout.lost"] = notice.audio_end - notice.audio_start
            case LinkDown() | SessionWarning() if self._text:
                told["hearout.detail"] = notice.detail
        for turn in self._open.values():
            turn.happened.append((notice.type, notice.at, told))
            turn.lost = turn.lost or isinstance(notice, AudioLost)
        if not self._open and (caller := trace.get_current_span(self._context)).is_recording():
            caller.add_event(notice.type, told, self._nanoseconds(notice.at))

    def _span(self, key: _Key, turn: _OpenTurn, start: float, more: Mapping[str, _Value | None]) -> trace.Span:
        channel, number = key
        before = None if turn.continues is None else self._over.get((channel, turn.continues))
        attributes = {
            **self._attributes,
            "hearout.turn": number,
            "hearout.channel": channel,
            "hearout.agent_speaking": turn.agent_speaking,
            "hearout.continues": turn.continues,
            **more,
        }
        span = self._tracer.start_span(
            "user_turn",
            self._context,
            attributes=_there(attributes),
            links=[trace.Link(before[0])] if before else [],
            start_time=self._nanoseconds(start),
        )
        for name, at, told in turn.happened:
            span.add_event(name, told, self._nanoseconds(at))
        if turn.lost:
            span.set_status(trace.Status(trace.StatusCode.ERROR, "audio lost"))
        return span

    def _close(self, key: _Key, span: trace.Span, at: float) -> None:
        span.end(self._nanoseconds(at))
        self._over[key] = span.get_span_context(), at
        if len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]

    def _child(
        self, name: str, within: Context, start: float, end: float, more: Mapping[str, _Value | None] | None = None
    ) -> None:
        attributes = _there(more or {})
        span = self._tracer.start_span(name, within, attributes=attributes, start_time=self._nanoseconds(start))
        span.end(self._nanoseconds(end))

    def _said(self, text: str) -> dict[str, _Value]:
        """As the conventions want messages on a span: JSON."""
        if not self._text:
            return {}
        messages = [{"role": "user", "parts": [{"type": "text", "content": text}]}]
        return {"gen_ai.input.messages": json.dumps(messages, ensure_ascii=False)}

    def _nanoseconds(self, at: float) -> int:
        """The time of day of a moment of the session clock."""
        assert self._began is not None
        return self._began + round(at * 1e9)


def _there(attributes: Mapping[str, _Value | None]) -> dict[str, _Value]:
    return {name: value for name, value in attributes.items() if value is not None}
