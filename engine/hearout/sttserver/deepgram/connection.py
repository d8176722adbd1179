"""What every connection to ``/v1/listen`` has, whoever hears its audio: commands, errors, Metadata, the end."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hearout.sttserver.deepgram.options import V1Options
from hearout.sttserver.steps import Ask, Close, Drop, HeardWord, Refused, Send, Step

__all__ = ["MODEL_INFO", "MODEL_UUID", "V1Connection", "to_json"]

# Measured: the close comes 12 s after the last message, though the documentation says 10.
_IDLE_TIMEOUT = 12.0
_ROUNDING = 1e-6
_MOST_ECHO = 300  # characters of a message that is sent back as wrong

MODEL_UUID = "5f0c8d3e-6a51-5b0e-9d6f-2f6c1d6b7a10"  # any constant will do; clients print it
MODEL_INFO = {"name": "whisper-tiny-en", "version": "1", "arch": "whisper"}

_NO_MESSAGE = (
    "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
)


class V1Connection(ABC):
    """One connection. See `hearout.sttserver.steps.Stream` for the methods without an underscore.

    Args:
        options: from the query of the handshake.
        request_id: as in the ``dg-request-id`` header.
        created: time of the connection, RFC 3339.
        idle_timeout: seconds without a message of the client after which it is sent away; None: Deepgram's 12.
    """

    authorised = True  # or it would have been refused
    channels: int

    def __init__(self, options: V1Options, request_id: str, created: str, *, idle_timeout: float | None = None) -> None:
        self._options = options
        self._request_id = request_id
        self._created = created
        self._idle_timeout = _IDLE_TIMEOUT if idle_timeout is None else idle_timeout
        self._quiet = 0.0  # seconds since the last message of the client
        self._sha256 = hashlib.sha256()
        self._bytes = 0

    @property
    def idle_timeout(self) -> float:
        return max(0.0, self._idle_timeout - self._quiet)

    @property
    def _time(self) -> float:
        """Audio time of everything received, in seconds."""
        audio = self._options.audio
        return self._bytes // audio.frame_bytes / audio.sample_rate

    @abstractmethod
    def _hear(self, audio: bytes) -> list[Step]:
        """More audio; `_time` has moved on."""

    @abstractmethod
    def _finalize(self, indexes: Sequence[int]) -> list[Step]:
        """Finalize for these channels."""

    @abstractmethod
    def _tail(self) -> list[Step]:
        """The last results."""

    def opening(self) -> list[Step]:
        return []

    def receive(self, message: str | bytes) -> list[Step]:
        self._quiet = 0.0
        if isinstance(message, str):
            return self._command(message)
        if not message:  # the old way to say CloseStream
            return self._close_stream()
        self._sha256.update(message)
        self._bytes += len(message)
        return self._hear(message)

    def _command(self, text: str) -> list[Step]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return [_schema_error(text, "the message is not JSON")]
        kind = message.get("type") if isinstance(message, dict) else None
        match kind:
            case "KeepAlive":
                return []
            case "Finalize":
                channel, count = message.get("channel"), self._options.recognisers
                if channel is None:
                    return self._finalize(range(count))
                if type(channel) is int and 0 <= channel < count:
                    return self._finalize([channel])
                return [_schema_error(text, f"channel must be a number from 0 to {count - 1}")]
            case "CloseStream":
                return self._close_stream()
            case "Configure":
                failure = {
                    "type": "ConfigureFailure",
                    "request_id": self._request_id,
                    "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                    "description": "this server knows no keyterms",
                }
                return [Send(to_json(failure))]
        return [_schema_error(text, "type must be one of KeepAlive, Finalize, CloseStream, Configure")]

    def _close_stream(self) -> list[Step]:
        steps = self._tail()
        if any(isinstance(step, Drop) for step in steps):
            return steps
        return [*steps, self._metadata(self._sha256.hexdigest()), Close(1000)]

    def wait(self, seconds: float) -> list[Step]:
        self._quiet += seconds
        if self._quiet < self._idle_timeout - _ROUNDING:
            return []
        return [self._metadata("incomplete"), Close(1011, _NO_MESSAGE)]

    def alive(self) -> None:
        return  # Deepgram wants a KeepAlive

    def refuse(self, refused: Refused) -> list[Step]:
        return [Close(1011, refused.detail)]

    def failed(self) -> Close:
        return Close(1011, "the recogniser of this server stopped; connect again")

    @abstractmethod
    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]: ...

    def _metadata(self, sha256: str) -> Send:
        message: dict[str, Any] = {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._request_id,
            "sha256": sha256,
            "created": self._created,
            "duration": round(self._time, 6),
            "channels": self._options.audio.channels if self._bytes else 0,
        }
        if self._bytes:
            message |= {"models": [MODEL_UUID], "model_info": {MODEL_UUID: MODEL_INFO}}
        return Send(to_json(message))


def _schema_error(text: str, description: str) -> Send:
    error = {
        "type": "Error",
        "variant": "SchemaError",
        "description": description,
        "message": text[:_MOST_ECHO],
        "code": None,
    }
    return Send(to_json(error))


def to_json(message: dict[str, Any]) -> str:
    """Compact JSON, as the provider sends it."""
    return json.dumps(message, separators=(",", ":"))
