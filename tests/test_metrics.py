"""Metrics for Prometheus, and that the library keeps quiet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hearout.errors import UsageError
from hearout.link.settings import LinkStats
from hearout.metrics import ServerMetrics, SessionMetrics
from hearout.serving import Peer, WebSocketServer
from hearout.session.notices import AudioLost, LinkDown, LinkUp, SessionWarning
from hearout.session.session import SessionEvent, open_session
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.events import (
    Finalize,
    Timings,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
)
from tests.kit.callers import calling
from tests.kit.paths import DATA, DOCS
from tests.kit.provider import Plan, Provider, Source

prometheus = pytest.importorskip("prometheus_client")

KEY = "dg-secret-key"
SPEECH = [("hello", 1.0, 1.4), ("there.", 1.5, 1.9), ("yes", 5.0, 5.4), ("please.", 5.5, 6.0)]
PAGE = DOCS / "operations.md"


def completed(turn: int, *, answered: float | None = 2.55, **values: Any) -> TurnCompleted:
    timings = Timings(speech_end=2.0, noticed=2.2, finalize_sent=2.3, answered=answered, decided=2.6)
    usual: dict[str, Any] = {
        "turn": turn,
        "channel": 0,
        "at": 2.6,
        "audio_start": 0.5,
        "audio_end": 2.0,
        "text": "yes",
        "words": (),
        "reason": "silence",
        "confirmed": True,
        "timings": timings,
    }
    return TurnCompleted(**(usual | values))


EVENTS: list[SessionEvent] = [
    TurnStarted(1, 0, 0.6, 0.5),
    TurnUpdated(1, 0, 1.0, "yes", transcription_latency=0.25),
    TurnUpdated(1, 0, 1.2, "yes please"),
    Finalize(0, 2.3),
    TurnPredicted(1, 0, 2.4, "yes"),
    TurnResumed(1, 0, 2.45),
    completed(1),
    TurnStarted(2, 0, 2.9, 2.8, continues=1),
    completed(2, reason="endpointing", confirmed=False, answered=None, agent_speaking=True),
    TurnAmended(2, 0, 3.0, "yes", (), True),
    TurnStarted(3, 0, 4.0, 3.9),
    completed(3, agent_speaking=True, backchannel=True),
    TurnStarted(4, 0, 5.0, 4.9),
    TurnAbandoned(4, 0, 6.0, "no_words"),
    LinkDown(7.0, "gone"),
    LinkUp(8.5, 6.0, 1.5),
    AudioLost(8.5, 4.0, 6.25),
    SessionWarning(9.0, "odd"),
]

EXPECTED = {
    "hearout_turns_started_total": 4,
    "hearout_turns_completed_total": 3,
    "hearout_turns_abandoned_total": 1,
    "hearout_turns_amended_total": 1,
    "hearout_turns_continued_total": 1,
    "hearout_turns_predicted_total": 1,
    "hearout_turns_resumed_total": 1,
    "hearout_barge_ins_total": 1,
    "hearout_backchannels_total": 1,
    "hearout_finalizes_total": 1,
    "hearout_link_losses_total": 1,
    "hearout_link_restored_total": 1,
    "hearout_audio_lost_seconds_total": 2.25,
    "hearout_warnings_total": 1,
    "hearout_sessions_total": 1,
    "hearout_link_connections_total": 2,
    "hearout_audio_replayed_seconds_total": 0.75,
    "hearout_messages_not_understood_total": 4,
    "hearout_turn_latency_seconds_count": 3,
    "hearout_turn_latency_seconds_sum": 1.8,
    "hearout_transcription_latency_seconds_count": 1,
    "hearout_transcription_latency_seconds_sum": 0.25,
    "hearout_turn_duration_seconds_count": 3,
    "hearout_turn_duration_seconds_sum": 4.5,
    "hearout_finalize_round_trip_seconds_count": 2,
    "hearout_finalize_round_trip_seconds_sum": 0.5,
    "hearout_link_outage_seconds_count": 1,
    "hearout_link_outage_seconds_sum": 1.5,
}


def totals(registry: Any, **labels: str) -> dict[str, float]:
    """Sums over all labels but ``labels``, without the buckets."""
    sums: dict[str, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")) and labels.items() <= sample.labels.items():
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


@pytest.mark.parametrize("labels", [{}, {"bot": "orders", "tenant": "x"}])
def test_every_event_is_counted(labels: dict[str, str]) -> None:
    registry = prometheus.CollectorRegistry()
    metrics = SessionMetrics(registry, list(labels))
    for event in EVENTS:
        metrics.observe(event, **labels)
    metrics.finish(LinkStats(connections=2, losses=1, replayed=0.75, lost=2.25, not_understood=4), **labels)
    lag = {} if labels else {f"hearout_loop_lag_seconds_{part}": 0 for part in ("count", "sum")}  # of the process
    assert totals(registry, **labels) == pytest.approx(EXPECTED | lag)
    reasons = {"reason": "endpointing", "confirmed": "false"} | labels
    assert registry.get_sample_value("hearout_turns_completed_total", reasons) == 1
    assert registry.get_sample_value("hearout_turn_latency_seconds_bucket", {"le": "0.8"} | labels) == 3


def test_the_lag_of_the_loop_is_measured_while_there_is_a_session() -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    registry = prometheus.CollectorRegistry()
    metrics = SessionMetrics(registry, ["bot"])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [SPEECH], [Plan()])
            async with open_session(Source(9.0), Deepgram(KEY), vad=None, connect=provider.connect) as session:
                await trio.sleep(3.1)
                clock.jump(0.65)  # something blocks
                async for event in session:
                    metrics.observe(event, bot="orders")

    trio.run(main, clock=clock)
    count, late = (registry.get_sample_value(f"hearout_loop_lag_seconds_{part}") for part in ("count", "sum"))
    assert count is not None
    assert count >= 30
    assert late == pytest.approx(0.5, abs=0.01)


def test_labels_must_be_those_that_were_declared() -> None:
    metrics = SessionMetrics(prometheus.CollectorRegistry(), ["bot"])
    with pytest.raises(ValueError, match="label"):
        metrics.observe(EVENTS[0])
    with pytest.raises(ValueError, match="label"):
        metrics.observe(EVENTS[0], tenant="x")


def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'hearout[metrics]'")):
        SessionMetrics()


async def _listen(peer: Peer) -> None:
    while await peer.receive() is not None:
        pass


def test_a_server_is_read_off(run_virtual: Callable[..., Any]) -> None:
    registry = prometheus.CollectorRegistry()

    async def main() -> None:
        server = WebSocketServer(_listen, name="bot")
        metrics = ServerMetrics(server, registry)
        metrics.update()
        assert registry.get_sample_value("hearout_ready") == 1
        assert registry.get_sample_value("hearout_calls_refused_total", {"reason": "forbidden"}) == 0
        async with calling(server):
            for _ in range(8):
                server._look(0.0, 1.0)
            server.refused["full"] += 3
            metrics.update()
            server.refused["full"] += 1
            server.refused["draining"] += 1
            metrics.update()

    run_virtual(main)
    assert registry.get_sample_value("hearout_ready") == 0
    assert registry.get_sample_value("hearout_calls") == 1
    assert registry.get_sample_value("hearout_loop_busy") == pytest.approx(0.865, abs=0.01)
    assert registry.get_sample_value("hearout_calls_refused_total", {"reason": "full"}) == 4
    assert registry.get_sample_value("hearout_calls_refused_total", {"reason": "draining"}) == 1


WORKERS = """
import os
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from hearout.metrics import ServerMetrics
from hearout.serving import WebSocketServer
for busy in (0.5, 0.25):
    if os.fork() == 0:
        server = WebSocketServer(None, name="bot")
        server.pressure.busy = busy
        ServerMetrics(server).update()
        os._exit(0)
    os.wait()
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no workers")
def test_of_several_workers_all_calls_and_the_busiest_loop(tmp_path: Path) -> None:
    """Not the sum of their shares, which is above what one may have while none is."""
    done = subprocess.run(
        [sys.executable, "-c", WORKERS],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
    )
    assert "\nhearout_ready 2.0\n" in done.stdout
    assert "\nhearout_loop_busy 0.5\n" in done.stdout


def test_the_documentation_lists_all_names_and_no_others() -> None:
    registry = prometheus.CollectorRegistry()
    SessionMetrics(registry)
    ServerMetrics(WebSocketServer(_listen, name="bot"), registry)
    # prometheus_client tells the name of a counter without its suffix.
    names = {family.name + "_total" * (family.type == "counter") for family in registry.collect()}
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `hearout_")]
    assert {re.sub(r"\{.*", "", name) for row in rows for name in re.findall("`(.*?)`", row)} == names


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Any:
    registry = prometheus.CollectorRegistry()
    monkeypatch.setattr(prometheus, "REGISTRY", registry)
    return registry


def test_the_example_in_the_documentation(own_registry: Any, run_virtual: Callable[..., Any]) -> None:
    (snippet,) = re.findall(r"<!-- tests/test_metrics.py .*? -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, (SPEECH,), (Plan(drop_at=3.0), Plan()))
            namespace["open_session"] = partial(open_session, vad=None, connect=provider.connect)
            await namespace["converse"](Source(9.0), Deepgram(KEY), lambda event: None)
            nursery.cancel_scope.cancel()

    run_virtual(main)
    counted = totals(own_registry, bot="orders")
    assert counted["hearout_turns_completed_total"] == 2
    assert counted["hearout_turn_latency_seconds_count"] == 2
    assert 0 < counted["hearout_turn_latency_seconds_sum"] < 4
    assert counted["hearout_link_losses_total"] == counted["hearout_link_restored_total"] == 1
    assert counted["hearout_link_connections_total"] == 2
    assert counted["hearout_sessions_total"] == 1
    assert KEY not in prometheus.generate_latest(own_registry).decode()


LOGS_A_WARNING = """
import logging, sys, trio
from hearout import FileSource
async def main():
    async for chunk in FileSource(sys.argv[1]):
        pass
trio.run(main)
assert logging.getLogger("hearout.sources.file").getEffectiveLevel() == logging.WARNING
"""


def test_the_library_prints_nothing_by_itself(tmp_path: Path) -> None:
    """Not even when it logs a warning, and nobody has configured logging."""
    whole = (DATA / "two_sentences.flac").read_bytes()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole[: len(whole) // 2])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOGS_A_WARNING, str(cut)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
