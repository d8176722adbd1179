"""Counters and histograms of sessions, and of a server, for Prometheus. Needs the ``metrics`` extra.

All but the lag of the event loop comes from the events a session gives anyway, so it works on a live session, on the
events of a replay, and behind a queue or a process boundary alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from hearout.extras import needs_extra
from hearout.lag import listen_to_lag
from hearout.link.settings import LinkStats
from hearout.serving import WebSocketServer
from hearout.session.core import SessionEvent
from hearout.session.notices import AudioLost, LinkDown, LinkUp, SessionWarning
from hearout_policies.events import (
    Finalize,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["ServerMetrics", "SessionMetrics"]

_Metric = TypeVar("_Metric", "Counter", "Histogram")

_LATENCY = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_ROUND_TRIP = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5)
_DURATION = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0)
_LAG = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_OUTAGE = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


class SessionMetrics:
    """The metrics of all sessions of a process; make one, and tell it every event::

        metrics = SessionMetrics()
        async for event in session:
            metrics.observe(event)

    The names are listed in ``docs/operations.md``.

    Args:
        registry: where the metrics are registered; None: prometheus_client's own, which `start_http_server` shows.
        labels: names of further labels, to tell bots or tenants apart. Each event then comes with their values.

    Raises:
        UsageError: prometheus_client is not installed.
        ValueError: the registry has these metrics already.
    """

    def __init__(self, registry: CollectorRegistry | None = None, labels: Sequence[str] = ()) -> None:
        with needs_extra("metrics", "counting"):
            import prometheus_client as prometheus
        registry = registry or prometheus.REGISTRY

        def count(name: str, text: str, *more: str) -> Counter:
            return prometheus.Counter(f"hearout_{name}", text, (*more, *labels), registry=registry)

        def measure(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return prometheus.Histogram(f"hearout_{name}", text, labels, registry=registry, buckets=buckets)

        self._started = count("turns_started_total", "Turns that began.")
        self._completed = count("turns_completed_total", "Turns that ended with words.", "reason", "confirmed")
        self._abandoned = count("turns_abandoned_total", "Turns without words, or cleared.", "reason")
        self._amended = count("turns_amended_total", "Late words for turns that were completed before.")
        self._continued = count("turns_continued_total", "Turns that go on from one just completed: false cutoffs.")
        self._predicted = count("turns_predicted_total", "Predictions that a turn is about to end.")
        self._resumed = count("turns_resumed_total", "Predictions that were taken back.")
        self._barge_ins = count("barge_ins_total", "Completed turns that interrupted the agent.")
        self._backchannels = count("backchannels_total", "Completed turns that were only a backchannel.")
        self._finalizes = count("finalizes_total", "Finalize commands.")
        self._losses = count("link_losses_total", "Outages of the connection to the transcriber.")
        self._restored = count("link_restored_total", "Outages that ended.")
        self._audio_lost = count("audio_lost_seconds_total", "Audio that was never transcribed.")
        self._warnings = count("warnings_total", "Warnings.")
        self._sessions = count("sessions_total", "Sessions that ended.")
        self._connections = count("link_connections_total", "Connections opened, at the end of each session.")
        self._replayed = count("audio_replayed_seconds_total", "Audio sent again, at the end of each session.")
        self._odd = count("messages_not_understood_total", "Odd messages, at the end of each session.")
        self._latency = measure("turn_latency_seconds", "From the end of speech to the completed turn.", _LATENCY)
        self._transcription = measure(
            "transcription_latency_seconds", "Audio heard, less where the newest interim result ends.", _LATENCY
        )
        self._duration = measure("turn_duration_seconds", "From the first to the last speech of a turn.", _DURATION)
        self._round_trip = measure("finalize_round_trip_seconds", "From Finalize to its answer.", _ROUND_TRIP)
        self._lag = prometheus.Histogram(
            "hearout_loop_lag_seconds", "How late the event loop wakes.", registry=registry, buckets=_LAG
        )
        listen_to_lag(self._lag)
        self._outage = measure("link_outage_seconds", "From a loss to the next connection.", _OUTAGE)

    def observe(self, event: SessionEvent, /, **labels: str) -> None:
        """Count one event. ``labels`` are values for those of the constructor.

        Raises:
            ValueError: other labels than the constructor's.
        """

        def add(counter: Counter, amount: float = 1.0, **more: str) -> None:
            _labelled(counter, more | labels).inc(amount)

        match event:
            case TurnStarted():
                add(self._started)
                if event.continues is not None:
                    add(self._continued)
            case TurnCompleted():
                add(self._completed, reason=event.reason, confirmed=str(event.confirmed).lower())
                if event.backchannel:
                    add(self._backchannels)
                elif event.agent_speaking:
                    add(self._barge_ins)
                self._time(event, labels)
            case TurnAbandoned():
                add(self._abandoned, reason=event.reason)
            case TurnAmended():
                add(self._amended)
            case TurnPredicted():
                add(self._predicted)
            case TurnResumed():
                add(self._resumed)
            case Finalize():
                add(self._finalizes)
            case LinkDown():
                add(self._losses)
            case LinkUp():
                add(self._restored)
                _labelled(self._outage, labels).observe(event.outage)
            case AudioLost():
                add(self._audio_lost, event.audio_end - event.audio_start)
            case SessionWarning():
                add(self._warnings)
            case TurnUpdated():
                if event.transcription_latency is not None:
                    _labelled(self._transcription, labels).observe(event.transcription_latency)

    def _time(self, turn: TurnCompleted, labels: dict[str, str]) -> None:
        _labelled(self._duration, labels).observe(turn.audio_end - turn.audio_start)
        timings = turn.timings
        if timings.latency is not None:
            _labelled(self._latency, labels).observe(timings.latency)
        if timings.finalize_sent is not None and timings.answered is not None:
            _labelled(self._round_trip, labels).observe(timings.answered - timings.finalize_sent)

    def finish(self, stats: LinkStats, /, **labels: str) -> None:
        """A session is over: add what its link counted (`hearout.Session.link_stats`). Once a session."""
        _labelled(self._sessions, labels).inc()
        _labelled(self._connections, labels).inc(stats.connections)
        _labelled(self._replayed, labels).inc(stats.replayed)
        _labelled(self._odd, labels).inc(stats.not_understood)


def _labelled(metric: _Metric, labels: dict[str, str]) -> _Metric:
    return metric.labels(**labels) if labels else metric


class ServerMetrics:
    """The metrics of a server of a process, read off it now and then (`update`).

    Args:
        registry: as for `SessionMetrics`.

    Raises:
        UsageError: prometheus_client is not installed.
        ValueError: the registry has these metrics already.
    """

    def __init__(self, server: WebSocketServer, registry: CollectorRegistry | None = None) -> None:
        with needs_extra("metrics", "counting"):
            import prometheus_client as prometheus
        registry = registry or prometheus.REGISTRY

        def show(name: str, text: str, of_several: Literal["livesum", "livemax"] = "livesum") -> Gauge:
            # Where several processes have one page, it is of all that live.
            return prometheus.Gauge(f"hearout_{name}", text, registry=registry, multiprocess_mode=of_several)

        self._server = server
        self._calls = show("calls", "Calls that are open.")
        self._ready = show("ready", "1: a call that comes now is taken.")
        self._busy = show("loop_busy", "The share of its time in which the event loop works.", "livemax")
        self._refused = prometheus.Counter(
            "hearout_calls_refused_total", "Connections that were refused.", ["reason"], registry=registry
        )
        for reason in ("full", "draining", "forbidden"):
            self._refused.labels(reason)  # from 0 on: from nothing to 1 Prometheus sees no increase
        self._told: dict[str, int] = {}

    def update(self) -> None:
        """Tell what is so now."""
        server = self._server
        self._calls.set(server.calls)
        self._ready.set(server.status == "ready")
        self._busy.set(server.pressure.busy)
        for reason, count in server.refused.items():
            self._refused.labels(reason).inc(count - self._told.get(reason, 0))
            self._told[reason] = count
