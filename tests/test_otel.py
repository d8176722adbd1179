"""Turns as spans of OpenTelemetry: what they say, when they were, whose children they are, and a collector's view."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import trio

from hearout import Deepgram, TurnCompleted, open_session
from hearout.errors import UsageError
from hearout.session.core import SessionEvent
from hearout.session.notices import AudioLost, LinkDown, LinkUp, SessionWarning
from hearout_policies.events import (
    Answer,
    Finalize,
    Timings,
    TurnAbandoned,
    TurnAmended,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
    UserIdle,
)
from hearout_policies.signals import Word
from tests.kit.asyncio_runs import open_on, provider, run_asyncio, virtual_time
from tests.kit.paths import DOCS
from tests.kit.provider import Plan, Provider, Source

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from hearout.otel import TurnSpans

KEY = "dg-secret-key"
PAGE = DOCS / "operations.md"
BEGAN = 1_700_000_000.0  # the time of day when the session clock was 0

TIMINGS = Timings(speech_end=2.0, noticed=2.2, finalize_sent=2.25, answered=2.55, decided=2.6)
COMPLETED = TurnCompleted(
    turn=1,
    channel=0,
    at=2.6,
    audio_start=0.4,
    audio_end=1.9,
    text="my number is seven",
    words=tuple(Word(text, 0.5, 1.9) for text in ("my", "number", "is", "seven")),
    reason="silence",
    confirmed=True,
    timings=TIMINGS,
    odds=0.9,
    answer=Answer("digits", "7", False),
)


class Collected:
    """A tracer provider, and the spans that its exporter got."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("application")

    def told(self, *events: SessionEvent, **options: Any) -> TurnSpans:
        spans = TurnSpans(provider=self.provider, began=BEGAN, **options)
        for event in events:
            spans.observe(event)
        return spans

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def one(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    @property
    def written(self) -> str:
        return "\n".join(span.to_json() for span in self.spans)


@pytest.fixture
def collected() -> Collected:
    return Collected()


def seconds(nanoseconds: int | None) -> float:
    """On the session clock."""
    assert nanoseconds is not None
    return nanoseconds / 1e9 - BEGAN


def times(span: ReadableSpan) -> Any:
    return pytest.approx((seconds(span.start_time), seconds(span.end_time)), abs=1e-6)


def events_of(span: ReadableSpan) -> list[tuple[str, Any, dict[str, Any]]]:
    return [(e.name, pytest.approx(seconds(e.timestamp), abs=1e-6), dict(e.attributes or {})) for e in span.events]


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def test_a_turn_and_its_children(collected: Collected) -> None:
    events: list[SessionEvent] = [
        TurnStarted(1, 0, 0.6, 0.4),
        TurnUpdated(1, 0, 1.0, "my"),
        Finalize(0, 2.25),
        COMPLETED,
    ]
    collected.told(*events, conversation="call 7", attributes={"bot": "orders"}).finish()
    turn = collected.one("user_turn")
    # Audio time and session clock differ by 0.1 s: the first speech, at 0.4 s of audio, was at 0.5 s.
    assert times(turn) == (0.5, 2.6)
    assert times(collected.one("speech")) == (0.5, 2.0)
    assert times(collected.one("finalize")) == (2.25, 2.55)
    assert times(collected.one("hold")) == (2.2, 2.6)
    assert len(collected.spans) == 4
    for name in ("speech", "finalize", "hold"):
        assert parent_of(collected.one(name)) == id_of(turn)
    assert turn.attributes == {
        "gen_ai.conversation.id": "call 7",
        "bot": "orders",
        "hearout.turn": 1,
        "hearout.channel": 0,
        "hearout.outcome": "completed",
        "hearout.reason": "silence",
        "hearout.confirmed": True,
        "hearout.agent_speaking": False,
        "hearout.backchannel": False,
        "hearout.latency": pytest.approx(0.6),
        "hearout.odds": 0.9,
        "hearout.words": 4,
        "hearout.answer": "digits",
    }
    assert dict(collected.one("finalize").attributes or {}) == {"hearout.answered": True}
    assert turn.status.status_code is StatusCode.UNSET


def test_what_did_not_happen_has_no_span(collected: Collected) -> None:
    unknown = Timings(speech_end=None, noticed=None, finalize_sent=2.3, answered=None, decided=2.6)
    collected.told(TurnStarted(1, 0, 0.6, 0.4), TurnCompleted(**(fields(COMPLETED) | {"timings": unknown})))
    assert [span.name for span in collected.spans] == ["finalize", "user_turn"]
    assert times(collected.one("user_turn")) == (0.6, 2.6)
    assert times(collected.one("finalize")) == (2.3, 2.6)
    assert dict(collected.one("finalize").attributes or {}) == {"hearout.answered": False}


def test_a_turn_never_begins_before_its_speech_was_told_late(collected: Collected) -> None:
    """Muted for a while amid the turn: audio time stood still, and says too little of when it began."""
    muted = Timings(speech_end=62.0, noticed=62.2, finalize_sent=None, answered=None, decided=62.6)
    collected.told(TurnStarted(1, 0, 0.6, 0.4), TurnCompleted(**(fields(COMPLETED) | {"timings": muted, "at": 62.6})))
    assert times(collected.one("user_turn")) == (0.6, 62.6)


def fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "type"}


@pytest.mark.parametrize("text", [False, True])
def test_what_was_said_is_told_only_when_asked_for(collected: Collected, text: bool) -> None:
    collected.told(
        TurnStarted(1, 0, 0.6, 0.4),
        TurnPredicted(1, 0, 2.4, COMPLETED.text),
        SessionWarning(2.45, "makes no sense: 'my number'"),
        LinkDown(2.46, "closed with 1011: seven"),
        COMPLETED,
        TurnAmended(1, 0, 3.0, "my number is seven one", COMPLETED.words, True),
        text=text,
    )
    said = re.findall("number|seven", collected.written)
    assert bool(said) is text
    if text:
        (message,) = json.loads(str((collected.one("amended").attributes or {})["gen_ai.input.messages"]))
        assert message == {"role": "user", "parts": [{"type": "text", "content": "my number is seven one"}]}


def test_taken_back_then_gone_on(collected: Collected) -> None:
    collected.told(
        TurnStarted(1, 0, 0.6, 0.4),
        TurnPredicted(1, 0, 1.4, "my"),
        TurnResumed(1, 0, 1.5),
        COMPLETED,
        TurnStarted(2, 0, 3.0, 2.8, continues=1),
        TurnAbandoned(2, 0, 4.0, "no_words"),
    )
    first, second = [span for span in collected.spans if span.name == "user_turn"]
    assert events_of(first) == [("turn_predicted", 1.4, {}), ("turn_resumed", 1.5, {})]
    assert [link.context for link in second.links] == [first.context]
    attributes = second.attributes or {}
    assert (attributes["hearout.outcome"], attributes["hearout.reason"]) == ("abandoned", "no_words")
    assert attributes["hearout.continues"] == 1
    assert second.status.status_code is StatusCode.UNSET
    assert times(second) == (3.0, 4.0)


def test_late_words_are_a_child_that_comes_behind(collected: Collected) -> None:
    amended = TurnAmended(1, 0, 3.25, "my number is seven one", COMPLETED.words, True)
    collected.told(COMPLETED, amended, TurnAmended(99, 0, 4.0, "", (), True))
    late, unknown = [span for span in collected.spans if span.name == "amended"]
    assert parent_of(late) == id_of(collected.one("user_turn"))
    assert times(late) == (2.6, 3.25)
    assert (parent_of(unknown), (unknown.attributes or {})["hearout.turn"]) == (None, 99)


def test_turns_of_two_channels(collected: Collected) -> None:
    other = TurnCompleted(**(fields(COMPLETED) | {"channel": 1, "reason": "endpointing"}))
    late = TurnAmended(1, 0, 3.0, "", (), True)
    collected.told(TurnStarted(1, 0, 0.6, 0.4), TurnStarted(1, 1, 0.7, 0.4), COMPLETED, other, late)
    turns = {(span.attributes or {})["hearout.channel"]: span for span in collected.spans if span.name == "user_turn"}
    assert [(turns[channel].attributes or {})["hearout.reason"] for channel in (0, 1)] == ["silence", "endpointing"]
    assert parent_of(collected.one("amended")) == id_of(turns[0])


def test_a_connection_that_fails(collected: Collected) -> None:
    trouble: list[SessionEvent] = [LinkDown(1.0, "gone"), LinkUp(1.9, 1.0, 0.9), AudioLost(1.9, 0.5, 0.75)]
    with collected.tracer.start_as_current_span("call"):
        collected.told(
            LinkDown(0.1, "gone"),
            UserIdle(0, 0.2, 0.0),
            TurnStarted(1, 0, 0.6, 0.4),
            *trouble[:2],
            COMPLETED,
            TurnStarted(2, 0, 3.0, 2.8),
            *trouble,
            TurnAbandoned(2, 0, 4.0, "cleared"),
            TurnStarted(3, 0, 5.0, 4.8),
            TurnAbandoned(3, 0, 6.0, "unheard"),
        )
    told = [
        ("link_down", 1.0, {}),
        ("link_up", 1.9, {"hearout.outage": 0.9}),
        ("audio_lost", 1.9, {"hearout.lost": 0.25}),
    ]
    restored, lost, unheard = [span for span in collected.spans if span.name == "user_turn"]
    assert events_of(restored) == told[:2]
    assert restored.status.status_code is StatusCode.UNSET  # no word was lost
    assert events_of(lost) == told
    assert (lost.status.status_code, lost.status.description) == (StatusCode.ERROR, "audio lost")
    assert (unheard.status.status_code, unheard.status.description) == (StatusCode.ERROR, "unheard")
    assert events_of(collected.one("call")) == [("link_down", 0.1, {})]


def test_a_session_that_is_left_amid_a_turn(collected: Collected) -> None:
    spans = collected.told(TurnStarted(1, 0, 0.6, 0.4), TurnUpdated(1, 0, 1.5, "my"))
    assert collected.spans == []
    spans.finish()
    spans.finish()
    turn = collected.one("user_turn")
    assert times(turn) == (0.6, 1.5)
    assert (turn.attributes or {})["hearout.outcome"] == "unfinished"
    assert turn.status.status_code is StatusCode.ERROR


def test_whose_children_turns_are(collected: Collected) -> None:
    with collected.tracer.start_as_current_span("call") as call:
        spans = collected.told(attributes={"made": "within"})
    with collected.tracer.start_as_current_span("something else"):
        spans.observe(COMPLETED)
        collected.told(COMPLETED, context=trace.set_span_in_context(call), attributes={"made": "given"})
    collected.told(COMPLETED, attributes={"made": "alone"})
    parents = {(span.attributes or {})["made"]: parent_of(span) for span in collected.spans if span.name == "user_turn"}
    within = call.get_span_context().span_id
    assert parents == {"within": within, "given": within, "alone": None}


def test_a_trace_that_began_elsewhere_goes_on(collected: Collected) -> None:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    collected.told(COMPLETED, context=extract(headers))
    assert parent_of(collected.one("user_turn")) == 0xB7AD6B7169203331
    assert {span.context.trace_id for span in collected.spans if span.context} == {0x0AF7651916CD43DD8448EB211C80319C}


def test_nothing_grows_with_the_session(collected: Collected) -> None:
    spans = collected.told()
    for turn in range(1000):
        spans.observe(TurnStarted(turn, 0, turn, turn))
        spans.observe(TurnAbandoned(turn, 0, turn + 0.5, "no_words"))
    assert len(spans._over) < 100
    assert not spans._open


def test_without_a_provider_nothing_happens() -> None:
    spans = TurnSpans()
    spans.observe(COMPLETED)
    spans.finish()


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "hearout.otel")
    with pytest.raises(UsageError, match=r"^tracing needs opentelemetry: pip install 'hearout\[otel\]'$"):
        import hearout.otel  # noqa: F401


SPEECH = [("hello", 1.0, 1.4), ("there.", 1.5, 1.9), ("yes", 5.0, 5.4), ("please.", 5.5, 6.0)]


def turns_with_parents(spans: Iterable[ReadableSpan]) -> dict[Any, int | None]:
    return {(s.attributes or {})["gen_ai.conversation.id"]: parent_of(s) for s in spans if s.name == "user_turn"}


def test_the_example_in_the_documentation(
    collected: Collected, run_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls at once on trio, each in a span of its own; the connection of both fails once."""
    (snippet,) = re.findall(r"<!-- tests/test_otel.py .*? -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: collected.provider)
    completed: dict[str, list[TurnCompleted]] = {"a": [], "b": []}

    async def call(name: str) -> None:
        def reply(event: SessionEvent) -> None:
            if isinstance(event, TurnCompleted):
                completed[name].append(event)

        async with trio.open_nursery() as nursery:
            server = Provider(nursery, (SPEECH,), (Plan(drop_at=3.0), Plan()))
            namespace: dict[str, Any] = {}
            exec(snippet, namespace)
            namespace["open_session"] = partial(open_session, vad=None, connect=server.connect)
            await namespace["converse"](Source(9.0), Deepgram(KEY), reply, name)
            nursery.cancel_scope.cancel()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "a")
            nursery.start_soon(call, "b")

    run_virtual(main)
    calls = {id_of(span): span for span in collected.spans if span.name == "call"}
    assert len(calls) == 2
    for name, turns in completed.items():
        spans = [s for s in collected.spans if (s.attributes or {}).get("gen_ai.conversation.id") == name]
        assert len(spans) == len(turns) == 2
        assert len({parent_of(span) for span in spans}) == 1
        assert parent_of(spans[0]) in calls
        for span, turn in zip(spans, turns, strict=True):
            assert span.end_time is not None
            assert span.start_time is not None
            assert turn.timings.speech_end is not None
            lasted = turn.at - turn.timings.speech_end + turn.audio_end - turn.audio_start
            assert (span.end_time - span.start_time) / 1e9 == pytest.approx(lasted, abs=1e-3)
            children = {child.name: child for child in collected.spans if parent_of(child) == id_of(span)}
            assert {"speech", "hold"} <= children.keys() <= {"speech", "finalize", "hold"}
            assert ("finalize" in children) is (turn.timings.finalize_sent is not None)
    noticed = [event.name for span in collected.spans for event in span.events if event.name.startswith("link")]
    assert sorted(noticed) == ["link_down", "link_down", "link_up", "link_up"]
    assert KEY not in collected.written


def test_sessions_of_asyncio(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    virtual_time(monkeypatch)
    calls: dict[str, int] = {}

    async def call(name: str) -> None:
        with collected.tracer.start_as_current_span(name) as span:
            calls[name] = span.get_span_context().span_id
            spans = TurnSpans(conversation=name, provider=collected.provider)
            async with provider() as server, open_on(server) as session:
                async for event in session:
                    spans.observe(event)
            spans.finish()

    async def main() -> None:
        await asyncio.gather(call("a"), call("b"))

    run_asyncio(main)
    assert turns_with_parents(collected.spans) == calls


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An address that takes spans by OTLP over HTTP, and the requests that came."""
    requests: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            requests.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", requests
        finally:
            server.shutdown()
            thread.join()


def test_a_collector_gets_them(
    collector: tuple[str, list[ExportTraceServiceRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address, requests = collector
    exporting = TracerProvider()
    exporting.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(address, timeout=20)))
    spans = TurnSpans(provider=exporting, began=BEGAN, conversation="call 7")
    for event in (TurnStarted(1, 0, 0.6, 0.4), LinkDown(1.0, "gone"), COMPLETED):
        spans.observe(event)
    exporting.shutdown()
    got = {
        span.name: span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if scope.scope.name == "hearout"
    }
    assert got.keys() == {"user_turn", "speech", "finalize", "hold"}
    turn = got["user_turn"]
    values = {pair.key: pair.value for pair in turn.attributes}
    assert values["gen_ai.conversation.id"].string_value == "call 7"
    assert values["hearout.latency"].double_value == pytest.approx(0.6)
    assert seconds(turn.start_time_unix_nano) == pytest.approx(0.5, abs=1e-6)
    assert seconds(turn.end_time_unix_nano) == pytest.approx(2.6, abs=1e-6)
    assert [event.name for event in turn.events] == ["link_down"]
    assert {got[name].parent_span_id for name in ("speech", "finalize", "hold")} == {turn.span_id}
    assert len({span.trace_id for span in got.values()}) == 1


def test_the_documentation_lists_all_attributes_and_spans(collected: Collected) -> None:
    collected.told(
        SessionWarning(0.1, "odd"),
        TurnStarted(1, 0, 0.6, 0.4, continues=1),
        LinkDown(1.0, "gone"),
        LinkUp(1.9, 1.0, 0.9),
        AudioLost(1.9, 0.5, 0.75),
        COMPLETED,
        TurnAmended(1, 0, 3.0, "", (), True),
        text=True,
        conversation="x",
    )
    used = {name for span in collected.spans for name in span.attributes or {}}
    used |= {name for span in collected.spans for event in span.events for name in event.attributes or {}}
    section = PAGE.read_text().partition("## Spans for OpenTelemetry")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?:hearout|gen_ai)\.[a-z_.]+)`", section)) - {"gen_ai.operation.name"} == used
    rows = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    assert set(rows) == {span.name for span in collected.spans}
