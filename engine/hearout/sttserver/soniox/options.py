"""Soniox's start message: which fields this server knows, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hearout.audio import AudioFormat, Encoding
from hearout.fields import Fields, object_in
from hearout.writing import printable

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
        super().__init__(printable(detail, 300))  # a client's own words may be in it
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
        start = object_in(text, "a client")
    except ValueError:
        raise _bad("Start request is malformed.") from None
    # Pipecat's service, which works with Soniox, sends null for whatever its user did not set.
    fields = Fields({name: value for name, value in start.items() if value is not None})
    try:
        if not fields.string("model").startswith("stt-rt"):
            raise SonioxError(400, "model_not_available", "Invalid model specified.")
        encoding = _FORMATS[fields.word("audio_format", *_FORMATS)]
        rate = fields.number("sample_rate", ..., 8_000, 48_000)
        channels = fields.number("num_channels", ..., 1, 8)
        return SonioxOptions(
            AudioFormat(encoding, int(rate), int(channels)),
            fields.string("api_key", None),
            _endpoint_after(fields),
            tells_language=fields.boolean("enable_language_identification", False),
        )
    except ValueError as error:
        raise _bad(str(error)) from None


def _endpoint_after(fields: Fields) -> float | None:
    most = fields.number("max_endpoint_delay_ms", 2000, 500, 3000) / 1000
    sensitivity = fields.number("endpoint_sensitivity", 0, -1, 1)
    level = fields.number("endpoint_latency_adjustment_level", 0, 0, 3)
    enabled = fields.boolean("enable_endpoint_detection", False)
    # Soniox weighs words and voice; here silence alone must do, and the knobs turn in their direction.
    return min(most, 0.8 - 0.1 * level - 0.2 * sensitivity) if enabled else None


def _bad(detail: str) -> SonioxError:
    return SonioxError(400, "invalid_request", detail)
