"""deploy/grafana.json: it asks for metrics that there are, by labels that they have."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from hearout.metrics import ServerMetrics, SessionMetrics
from hearout.serving import Peer, WebSocketServer
from tests.kit.paths import ROOT
from tests.test_metrics import EVENTS

prometheus = pytest.importorskip("prometheus_client")

DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [query["expr"] for panel in PANELS for query in panel["targets"]]


async def nobody(peer: Peer) -> None:
    raise NotImplementedError


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Of every series that a session of many events leaves, and a server, by its name."""
    registry = prometheus.CollectorRegistry()
    metrics = SessionMetrics(registry)
    for event in EVENTS:
        metrics.observe(event)
    server = WebSocketServer(nobody, name="bot")
    server.refused["full"] += 1
    ServerMetrics(server, registry).update()
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_there_is(query: str, labels: dict[str, set[str]]) -> None:
    names = re.findall(r"hearout_\w+", query)
    assert names
    assert set(names) <= labels.keys()
    for name, label in re.findall(r"(hearout_\w+)\{(\w+)=", query):
        assert label in labels[name]
    for label in re.findall(r"by \((\w+)\)", query):
        assert all(label in labels[name] for name in names)
    # What grows is never shown as it is, but by how much it grew.
    growing = [name for name in names if name.endswith(("_total", "_bucket", "_count"))]
    assert len(re.findall(r"(?:rate|increase)\(hearout_\w+(?:\{[^}]*\})?\[", query)) == len(growing)


def test_every_metric_is_on_it(labels: dict[str, set[str]]) -> None:
    def family(name: str) -> str:
        return re.sub("_(bucket|sum|count|created)$", "", name)

    asked = {family(name) for query in QUERIES for name in re.findall(r"hearout_\w+", query)}
    there = {family(name) for name in labels if not name.endswith("_created")}
    unasked = {"hearout_finalizes_total", "hearout_sessions_total", "hearout_link_connections_total"}
    assert there - asked == unasked | {"hearout_audio_replayed_seconds_total"}


def test_panels_have_a_place_and_a_source_of_data() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
