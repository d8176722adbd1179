"""Soniox's start message: which fields this server knows, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hearout.audio import AudioFormat, Encoding
from hearout.serving import one_line

__all__ = ["SLUGS", "SonioxError", "SonioxOptions", "parse_start"]

SLUGS = {
    400: "invalid_request",
    401: "unauthenticated",
    402: "organization_balance_exhausted",
    403: "permission_denied",
    429: "limit_exceeded",
    500: "internal_error",
    503: "service_unavailable",
}
"""What an error is called, by its number."""

_FORMATS: Mapping[str, Encoding] = {"pcm_s16le": "linear16", "mulaw": "mulaw", "alaw": "alaw"}


class SonioxError(Exception):
    """Told to the client in an error frame.

    Attributes:
        code, kind: the number and the slug of the error.
    """

    def __init__(self, code: int, kind: str, detail: str) -> None:
        super().__init__(one_line(detail))
        self.code = code
        self.kind = kind


@dataclass(frozen=True, slots=True)
class SonioxOptions:
    """What the client asked for.

    Attributes:
        key: from the start message, where it used to stand.
        endpoint_after: seconds of silence after which ``<end>`` is due; None: never.
        tells_language: words have a ``language``.
    """

    audio: AudioFormat
    key: str | None = None
    endpoint_after: float | None = None
    tells_language: bool = False


def parse_start(text: str) -> SonioxOptions:
    """Read the first message of a connection. Fields it does not know change nothing.

    Raises:
        SonioxError: 400, naming the field.
    """
    try:
        start = json.loads(text)
    except (ValueError, RecursionError):
        start = None
    if not isinstance(start, dict):
        raise _bad("Start request is malformed.")
    # Pipecat's service, which works with Soniox, sends null for whatever its user did not set.
    start = {name: value for name, value in start.items() if value is not None}
    if not isinstance(start.get("model"), str):
        raise _bad("model is missing.")
    if not start["model"].startswith("stt-rt"):
        raise SonioxError(400, "model_not_available", "Invalid model specified.")
    encoding = _FORMATS.get(str(start.get("audio_format")))
    if encoding is None:
        raise _bad(f"audio_format {start.get('audio_format')!r}: this server takes {', '.join(_FORMATS)}.")
    rate = _number(start, "sample_rate", None, 8_000, 48_000)
    channels = _number(start, "num_channels", None, 1, 8)
    key = start.get("api_key")
    if key is not None and not isinstance(key, str):
        raise _bad("api_key must be a string.")
    return SonioxOptions(
        AudioFormat(encoding, int(rate), int(channels)),
        key,
        _endpoint_after(start),
        tells_language=_boolean(start, "enable_language_identification"),
    )


def _endpoint_after(start: dict[str, Any]) -> float | None:
    most = _number(start, "max_endpoint_delay_ms", 2000, 500, 3000) / 1000
    sensitivity = _number(start, "endpoint_sensitivity", 0, -1, 1)
    level = _number(start, "endpoint_latency_adjustment_level", 0, 0, 3)
    enabled = _boolean(start, "enable_endpoint_detection")
    # Soniox weighs words and voice; here silence alone must do, and the knobs turn in their direction.
    return min(most, 0.8 - 0.1 * level - 0.2 * sensitivity) if enabled else None


def _boolean(start: dict[str, Any], name: str) -> bool:
    value = start.get(name, False)
    if not isinstance(value, bool):
        raise _bad(f"{name} must be true or false.")
    return value


def _number(start: dict[str, Any], name: str, default: float | None, low: float, high: float) -> float:
    value = start.get(name, default)
    if value is None:
        raise _bad(f"{name} is missing: raw audio needs it.")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise _bad(f"{name} must be a number from {low:g} to {high:g}.")
    return value


def _bad(detail: str) -> SonioxError:
    return SonioxError(400, "invalid_request", detail)
