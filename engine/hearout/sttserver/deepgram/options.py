"""The query of ``/v1/listen``: which options this server knows, and what it refuses.

Parameters it does not know are ignored, as Deepgram ignores them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl

from hearout.audio import AudioFormat, Encoding
from hearout.sttserver.recogniser.pcm import ENCODINGS
from hearout.sttserver.steps import Refused

__all__ = ["V1Options", "parse_options"]

_DEFAULT_ENDPOINTING = 0.01
_MAX_CHANNELS = 20  # Deepgram's own limit
_MAX_RECOGNISERS = 8  # each is a process of about 100 MB


@dataclass(frozen=True, slots=True)
class V1Options:
    """What the client asked for. Times in seconds.

    Attributes:
        recognisers: number of channels transcribed apart.
        endpointing: silence after which ``speech_final`` is due; None: never, and no such key in the results.
        utterance_end: gap between words after which ``UtteranceEnd`` is due; None: never.
        punctuated: words also come as ``punctuated_word``.
    """

    audio: AudioFormat
    recognisers: int = 1
    interim_results: bool = False
    endpointing: float | None = _DEFAULT_ENDPOINTING
    utterance_end: float | None = None
    vad_events: bool = False
    punctuated: bool = False


def parse_options(query: str) -> V1Options:
    """Read the query string of the handshake.

    Raises:
        Refused: with status 400 and one line that names the parameter.
    """
    params = dict(parse_qsl(query, keep_blank_values=True))

    encoding = params.get("encoding")
    if encoding is None:
        raise _bad("encoding is missing: this server takes raw audio only, one of " + ", ".join(ENCODINGS))
    if encoding not in ENCODINGS:
        raise _bad(f"encoding {encoding!r} is not one of " + ", ".join(ENCODINGS))
    if "sample_rate" not in params:
        raise _bad("sample_rate is missing: it is required with encoding")
    sample_rate = _integer(params, "sample_rate", 16_000, 8_000, 48_000)

    model, language = params.get("model", "nova-3"), params.get("language", "en")
    if model.startswith("flux"):
        raise _bad(f"model {model!r} is not served under /v1/listen")
    if language.split("-")[0].lower() not in ("en", "multi"):
        raise _bad(f"language {language!r}: this server knows English only")

    channels = _integer(params, "channels", 1, 1, _MAX_CHANNELS)
    multichannel = _boolean(params, "multichannel")
    if multichannel and channels > _MAX_RECOGNISERS:
        raise _bad(f"channels={channels}: this server transcribes at most {_MAX_RECOGNISERS} channels apart")

    return V1Options(
        audio=AudioFormat(cast("Encoding", encoding), sample_rate, channels),
        recognisers=channels if multichannel else 1,
        interim_results=_boolean(params, "interim_results"),
        endpointing=_endpointing(params),
        utterance_end=_integer(params, "utterance_end_ms", 0, 1000, 5000) / 1000
        if "utterance_end_ms" in params
        else None,
        vad_events=_boolean(params, "vad_events"),
        punctuated=_boolean(params, "punctuate") | _boolean(params, "smart_format"),
    )


def _endpointing(params: dict[str, str]) -> float | None:
    match params.get("endpointing", "true"):
        case "false":
            return None
        case "true":
            return _DEFAULT_ENDPOINTING
        case _:
            return _integer(params, "endpointing", 0, 0, 60_000) / 1000


def _integer(params: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10) or not low <= int(text) <= high:
        raise _bad(f"{name}={text!r} is not a whole number from {low} to {high}")
    return int(text)


def _boolean(params: dict[str, str], name: str) -> bool:
    match params.get(name, "false"):
        case "true":
            return True
        case "false":
            return False
        case other:
            raise _bad(f"{name}={other!r} is neither true nor false")


def _bad(detail: str) -> Refused:
    return Refused(400, "INVALID_QUERY_PARAMETER", detail)
