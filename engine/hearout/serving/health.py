"""What those who watch a server ask it: may calls come here, and does it live?"""

from __future__ import annotations

import json
from typing import Literal, Protocol

from hearout.serving.authorise import Upgrade
from hearout.serving.plain import Pages, PlainAnswer

__all__ = ["RETRY_AFTER", "Status", "health_pages"]

#: Seconds after which who was refused with 503 may come again, in its ``Retry-After``.
RETRY_AFTER = 2

Status = Literal["ready", "full", "draining"]


class _Server(Protocol):
    @property
    def status(self) -> Status: ...

    @property
    def calls(self) -> int: ...


def health_pages(server: _Server) -> Pages:
    """``/healthz``: 200 when a call that comes now is taken, else 503. ``/livez``: 200, as long as the loop runs."""

    def ready(request: Upgrade) -> PlainAnswer:
        status = server.status
        if status == "ready":
            return _told(200, status, server.calls)
        return _told(503, status, server.calls, ("retry-after", str(RETRY_AFTER)))

    def live(request: Upgrade) -> PlainAnswer:
        return _told(200, server.status, server.calls)

    return {"/healthz": ready, "/livez": live}


def _told(code: int, status: Status, calls: int, *headers: tuple[str, str]) -> PlainAnswer:
    body = json.dumps({"status": status, "calls": calls}) + "\n"
    return PlainAnswer(body.encode(), "application/json", code, (("cache-control", "no-store"), *headers))
