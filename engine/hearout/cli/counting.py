"""``/metrics`` of `hearout serve`."""

from __future__ import annotations

import os

import trio

from hearout.metrics import ServerMetrics, SessionMetrics
from hearout.serving import Authorise, PlainAnswer, Upgrade, WebSocketServer

__all__ = ["Counting"]

_EVERY = 1.0  # seconds between two looks at the server; who scrapes comes every 15 s or so


class Counting:
    """Counts what happens in this process, and shows it on a page: with `WORKERS_VARIABLE` that of all workers.

    Attributes:
        sessions: is told every event; None: prometheus_client is not installed, and nothing is counted.
    """

    #: Names the folder in which the workers of prometheus_client's multiprocess mode share what they count.
    WORKERS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

    def __init__(self, authorise: Authorise | None) -> None:
        self._authorise = authorise
        self.sessions: SessionMetrics | None = None
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector
        except ImportError:
            return
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # processor, memory, open files
        self.sessions = SessionMetrics(self._registry)

    def page(self, request: Upgrade) -> PlainAnswer:
        """For those who have the token, if there is one."""
        if self.sessions is None:
            return PlainAnswer(b"nothing is counted here: pip install 'hearout[metrics]'\n", status=404)
        if self._authorise is not None and not self._authorise(request):
            return PlainAnswer(b"send the token: Authorization: Bearer TOKEN\n", status=403)
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if self.WORKERS_VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return PlainAnswer(generate_latest(registry), CONTENT_TYPE_LATEST)

    async def watch(self, server: WebSocketServer) -> None:
        """Read the server off, until cancelled."""
        if self.sessions is None:
            return
        metrics = ServerMetrics(server, self._registry)
        while True:
            metrics.update()
            await trio.sleep(_EVERY)


def forget_worker(pid: int, folder: str) -> None:
    """A worker has ended: what it had open is not there any more; what it counted is."""
    try:
        from prometheus_client.multiprocess import mark_process_dead
    except ImportError:
        return
    mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
