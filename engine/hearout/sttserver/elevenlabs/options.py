"""The query of ``/v1/speech-to-text/realtime``: what this server knows, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from hearout.audio import AudioFormat
from hearout.fields import Fields
from hearout.sttserver.steps import Refused

__all__ = ["ElevenLabsOptions", "parse_elevenlabs_options"]

_FORMATS: Mapping[str, AudioFormat] = {
    **{f"pcm_{rate}": AudioFormat("linear16", rate) for rate in (8000, 16000, 22050, 24000, 44100, 48000)},
    "ulaw_8000": AudioFormat("mulaw", 8000),
}
_TRUTH = {"true": True, "false": False}
_MOST_KEYTERMS = 50


@dataclass(frozen=True, slots=True)
class ElevenLabsOptions:
    """What the client asked for.

    Attributes:
        config: as the server tells it when the session has started.
        vad: seconds of silence after which the server commits; None: the client does.
        times: each commit is told again, with the times of its words.
    """

    audio: AudioFormat
    config: Mapping[str, Any]
    vad: float | None
    times: bool


def parse_elevenlabs_options(query: str) -> ElevenLabsOptions:
    """Read the query string of the handshake. Parameters it does not know change nothing.

    Raises:
        Refused: with status 400 and one line that names the parameter.
    """
    given = parse_qs(query, keep_blank_values=True)
    params = Fields({name: _value(values[-1]) for name, values in given.items()})
    try:
        model = params.string("model_id")
        audio = params.word("audio_format", *_FORMATS) if "audio_format" in params else "pcm_16000"
        strategy = params.word("commit_strategy", "manual", "vad") if "commit_strategy" in params else "manual"
        vad = {
            "vad_silence_threshold_secs": params.number("vad_silence_threshold_secs", 1.5, 0.3, 3.0),
            "vad_threshold": params.number("vad_threshold", 0.4, 0.1, 0.9),
            "min_speech_duration_ms": params.number("min_speech_duration_ms", 100, 50, 2000),
            "min_silence_duration_ms": params.number("min_silence_duration_ms", 100, 50, 2000),
        }
        times = params.boolean("include_timestamps", False)
        language = params.boolean("include_language_detection", False)
        if len(keyterms := given.get("keyterms", [])) > _MOST_KEYTERMS:
            raise ValueError(f'"keyterms" must be {_MOST_KEYTERMS} at most, not {len(keyterms)}')
    except ValueError as error:
        raise Refused(400, "INVALID_QUERY_PARAMETER", str(error)) from None
    config = {
        "sample_rate": _FORMATS[audio].sample_rate,
        "audio_format": audio,
        "language_code": given.get("language_code", [None])[-1],
        "vad_commit_strategy": strategy == "vad",
        **vad,
        "model_id": model,
        "include_timestamps": times,
        "include_language_detection": language,
        "keyterms": keyterms,
    }
    silence = vad["vad_silence_threshold_secs"] if strategy == "vad" else None
    return ElevenLabsOptions(_FORMATS[audio], config, silence, times or language)


def _value(text: str) -> Any:
    if text in _TRUTH:
        return _TRUTH[text]
    try:
        return float(text) if text.isascii() and text[:1].isdigit() else text
    except ValueError:
        return text
