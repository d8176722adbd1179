"""The query of ``/v2/listen`` and the thresholds of Configure: what this server knows, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

from hearout.audio import AudioFormat, Encoding
from hearout.fields import Fields
from hearout.sttserver.steps import Refused

__all__ = ["FluxOptions", "FluxThresholds", "changed", "parse_flux_options"]

_ENCODINGS: Mapping[str, Encoding] = {"linear16": "linear16", "mulaw": "mulaw", "alaw": "alaw"}
_RANGES = {"eot_threshold": (0.5, 1.0), "eager_eot_threshold": (0.3, 0.9), "eot_timeout_ms": (500, 60_000)}
# Options of v1 that v2 does not have: a client that sends them would wait in vain for what they ask for.
_NOT_HERE = ("channels", "multichannel", "language", "interim_results", "endpointing", "utterance_end_ms", "vad_events")


@dataclass(frozen=True, slots=True)
class FluxThresholds:
    """When a turn is over.

    Attributes:
        eot_threshold: confidence that ends it; 1: none does.
        eager_eot_threshold: confidence that makes an eager end; None: no such events.
        eot_timeout_ms: silence that ends it whatever the confidence.
    """

    eot_threshold: float = 0.7
    eager_eot_threshold: float | None = None
    eot_timeout_ms: float = 5000

    def as_dict(self) -> dict[str, float]:
        """The JSON form, without what is not set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class FluxOptions:
    """What the client asked for; the keyterms only to be told again."""

    audio: AudioFormat
    thresholds: FluxThresholds
    keyterms: tuple[str, ...] = ()


def parse_flux_options(query: str) -> FluxOptions:
    """Read the query string of the handshake.

    Raises:
        Refused: with status 400 and one line that names the parameter.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    params = dict(pairs)
    if not params.get("model", "").startswith("flux"):
        raise _bad(f"model {params.get('model')!r} is not served under /v2/listen, flux-general-en is")
    for name in _NOT_HERE:
        if name in params:
            raise _bad(f"{name} is no parameter of /v2/listen")
    encoding = _ENCODINGS.get(params.get("encoding", ""))
    if encoding is None:
        raise _bad(f"encoding {params.get('encoding')!r}: this server takes raw audio, {', '.join(_ENCODINGS)}")
    rate = params.get("sample_rate", "")
    if not (rate.isascii() and rate.isdigit() and len(rate) < 6 and 8_000 <= int(rate) <= 48_000):
        raise _bad(f"sample_rate={rate!r} is not a whole number from 8000 to 48000")
    given = {}
    for name in _RANGES:
        if name in params:
            try:
                given[name] = float(params[name])
            except ValueError:
                raise _bad(f"{name}={params[name]!r} is not a number") from None
    keyterms = tuple(value for name, value in pairs if name == "keyterm")
    return FluxOptions(AudioFormat(encoding, int(rate)), changed(FluxThresholds(), given), keyterms)


def changed(thresholds: FluxThresholds, given: Any) -> FluxThresholds:
    """The thresholds with those that are ``given``; None: not given.

    Raises:
        Refused: one is out of range.
    """
    if not isinstance(given, dict):
        raise _bad("thresholds must be an object")
    # Pipecat sends null when its user takes a threshold back, for which the schema has no word.
    fields = Fields({name: value for name, value in given.items() if value is not None})
    values = asdict(thresholds)
    try:
        for name, (low, high) in _RANGES.items():
            values[name] = fields.number(name, values[name], low, high)
        fields.done("thresholds")
    except ValueError as error:
        raise _bad(str(error)) from None
    if (eager := values["eager_eot_threshold"]) is not None and eager > values["eot_threshold"]:
        raise _bad("eager_eot_threshold must not be higher than eot_threshold")
    return FluxThresholds(**values)


def _bad(detail: str) -> Refused:
    return Refused(400, "INVALID_QUERY_PARAMETER", detail)
