"""The query of ``/v3/ws``: what this server knows, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from hearout.audio import AudioFormat, Encoding
from hearout.fields import Fields
from hearout.sttserver.steps import Refused

__all__ = ["AssemblyAIOptions", "EndOfTurn", "changed", "parse_query"]

_ENCODINGS: Mapping[str, Encoding] = {"pcm_s16le": "linear16", "pcm_mulaw": "mulaw"}
_TRUTH = {"true": True, "false": False, "True": True, "False": False}


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """When a turn is over; the defaults are AssemblyAI's.

    Attributes:
        threshold: confidence that ends it; 1: none does.
        min_silence: seconds of silence that a confident end needs.
        max_silence: seconds of silence that end it whatever the confidence.
    """

    threshold: float = 0.4
    min_silence: float = 0.4
    max_silence: float = 1.28


@dataclass(frozen=True, slots=True)
class AssemblyAIOptions:
    """What the client asked for.

    Attributes:
        inactivity: seconds without a message after which the session ends; None: it does not.
        formats: an ended turn comes again, formatted.
        heartbeat: tell from time to time how much was received.
    """

    audio: AudioFormat
    ends: EndOfTurn
    model: str
    inactivity: float | None = None
    formats: bool = False
    heartbeat: bool = False

    @property
    def plain(self) -> bool:
        """Universal-streaming models write small letters without punctuation, and tell no start of speech."""
        return self.model.startswith("universal-streaming-")


def parse_query(query: str) -> AssemblyAIOptions:
    """Read the query string of the handshake. Parameters it does not know change nothing, as at AssemblyAI.

    Raises:
        Refused: with status 400 and one line that names the parameter.
    """
    params = Fields({name: _value(text) for name, text in parse_qsl(query, keep_blank_values=True)})
    try:
        model = params.string("speech_model")
        rate = params.number("sample_rate", ..., 8000, 48_000)
        encoding = _ENCODINGS[params.word("encoding", *_ENCODINGS) if "encoding" in params else "pcm_s16le"]
        inactivity = params.number("inactivity_timeout", 0, 5, 3600) if "inactivity_timeout" in params else None
        return AssemblyAIOptions(
            AudioFormat(encoding, int(rate)),
            changed(EndOfTurn(), params),
            model,
            inactivity,
            params.boolean("format_turns", False),
            params.boolean("session_heartbeat", False),
        )
    except ValueError as error:
        raise Refused(400, "INVALID_QUERY_PARAMETER", str(error)) from None


def changed(ends: EndOfTurn, given: Fields) -> EndOfTurn:
    """``ends`` with what is ``given`` in a query or in an UpdateConfiguration.

    Raises:
        ValueError: one is out of range.
    """
    return EndOfTurn(
        given.number("end_of_turn_confidence_threshold", ends.threshold, 0, 1),
        given.number("min_turn_silence", 1000 * ends.min_silence, 0, 60_000) / 1000,
        given.number("max_turn_silence", 1000 * ends.max_silence, 0, 60_000) / 1000,
    )


def _value(text: str) -> Any:
    if text in _TRUTH:
        return _TRUTH[text]
    try:
        return float(text) if text.isascii() and text[:1].isdigit() else text
    except ValueError:
        return text
