"""The page's files, and its settings, as answers to plain requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from importlib import resources
from typing import Any

from hearout.serving import Pages, PlainAnswer, Upgrade

__all__ = ["pages"]

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "flac": "audio/flac",
}
# Nothing but this server's own files and websocket, whatever text may come to be shown; and no frame around it.
_GUARDED = (
    ("content-security-policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("permissions-policy", "microphone=(self)"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-cache"),
)


def pages(settings: Mapping[str, Any]) -> Pages:
    """The page at ``/``, what it loads, and ``settings.json``: what it may offer to its user."""
    found: dict[str, PlainAnswer] = {}
    for file in resources.files("hearout.page").iterdir():
        if kind := _KINDS.get(file.name.rpartition(".")[2]):
            found[f"/{file.name}"] = PlainAnswer(file.read_bytes(), kind, headers=_GUARDED)
    found["/"] = found.pop("/index.html")
    told = json.dumps(settings).encode()
    found["/settings.json"] = PlainAnswer(told, "application/json", headers=_GUARDED)
    return {path: partial(_given, answer) for path, answer in found.items()}


def _given(answer: PlainAnswer, request: Upgrade) -> PlainAnswer:
    return answer
