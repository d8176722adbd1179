"""OpenAI's realtime transcription (``/v1/realtime?intent=transcription``), and the servers that speak as it does.

Audio goes as base64 in JSON. A commit ends a segment, an *item*, whose text comes when it is done, at times after later
commits. Words have no times; `hearout.transcribers.hearing.Hearing` lays them out. Turn detection is off: our rules end
the turns, and a commit is Finalize. `hearout.transcribers.openai_items` reads the messages about items.
Reference: https://developers.openai.com/api/docs/guides/realtime-transcription
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.fields import field_of, object_in
from hearout.transcribers.base import ProviderFailed, ProviderNews, WireMessage
from hearout.transcribers.openai_items import ItemReader
from hearout.transcribers.options import check_key, check_one_channel, check_types, check_url
from hearout.writing import printable, shown

__all__ = ["OpenAIRealtime"]

_NAME = "OpenAI"
_VARIABLE = "OPENAI_API_KEY"
_RATE = 24_000  # Hz; OpenAI takes no other
# Errors that another connection with the same settings would meet again.
_PERMANENT = ("invalid_api_key", "insufficient_quota", "invalid_model", "model_not_found")
_KNOWN = ("session.", "transcription_session.", "conversation.", "input_audio_buffer.", "rate_limits.")
_EMPTY = "input_audio_buffer_commit_empty"
_SEVERAL = ("gpt-transcribe", "gpt-live-transcribe")  # models that take ``languages`` and ``keywords``


@dataclass(eq=False)
class OpenAIRealtime:
    """How OpenAI's realtime transcription speaks.

    Attributes:
        key: an API key, or an ephemeral one. Never shown.
        url: address of the endpoint. Others speak so, too: Azure OpenAI, with ``auth="api-key"``; NIM, with ``older``.
        sample_rate: of the linear16 audio, Hz; brought to ``wire_rate`` (extra ``cli``, for soxr).
        channels: 1; it knows no other number. Speakers on channels of their own need a session each.
        auth: "bearer", or "api-key" for Azure's header of that name.
        wire_rate: Hz of what is sent: 24000 at OpenAI, and no other.
        older: the session is set up as in the API's beta, which NIM kept.
        model: which transcribes. The streaming ones show words while they are said, the others after a commit.
        language: an ISO 639-1 code; ``languages``, for the models that take several.
        keywords: words to listen for; for the models that take several languages.
        prompt: how to write, or what came before.
        noise_reduction: "near_field" or "far_field".
        extra: further fields of the session, as they are.
        ignored: messages of unknown type so far.

    Raises:
        UsageError: an option that cannot work.
    """

    key: str = field(repr=False)
    url: str = field(default="wss://api.openai.com/v1/realtime?intent=transcription", repr=False)
    sample_rate: int = 16000
    channels: int = 1
    _: KW_ONLY
    auth: Literal["bearer", "api-key"] = "bearer"
    wire_rate: int = _RATE
    older: bool = False
    model: str = "gpt-live-transcribe"
    language: str | None = None
    languages: Sequence[str] = ()
    keywords: Sequence[str] = ()
    prompt: str | None = None
    noise_reduction: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    remedies: ClassVar[Mapping[int, str]] = {401: f"check the key in {_VARIABLE}"}
    #: Seconds of audio that a commit needs, or an error follows: "Expected at least 100ms of audio".
    least_segment: ClassVar[float] = 0.1
    #: Each commit ends what the model hears at once. Pipecat's service commits 0.2 s into a silence, too.
    finalize_after: ClassVar[float] = 0.2
    tells_progress: ClassVar[bool] = False

    name: str = field(default="openai", init=False, repr=False)
    keepalive_after: float | None = field(default=None, init=False, repr=False)  # a session needs none
    longest: float | None = field(default=3600.0, init=False, repr=False)  # a realtime session lasts 60 minutes
    silence_after: float | None = field(default=None, init=False, repr=False)
    ignored: int = field(default=0, init=False, repr=False)
    # Of this connection; `opening` starts them anew.
    _items: ItemReader = field(default_factory=ItemReader, init=False, repr=False)
    _resampler: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_key(_NAME, self.key, _VARIABLE)
        check_types(_NAME, self)
        check_url(_NAME, self.url, _VARIABLE)
        if self.auth not in ("bearer", "api-key"):
            raise UsageError(f'OpenAI: auth must be "bearer" or "api-key", not {shown(self.auth)}')
        for name in ("sample_rate", "wire_rate"):
            if not 8000 <= getattr(self, name) <= 48000:
                raise UsageError(f"OpenAI: {name} must be 8000 to 48000, not {getattr(self, name)}")
        check_one_channel(_NAME, self.channels)
        if self.noise_reduction not in (None, "near_field", "far_field"):
            wrong = shown(self.noise_reduction)
            raise UsageError(f'OpenAI: noise_reduction is "near_field" or "far_field", not {wrong}')
        if (self.languages or self.keywords) and not self.model.startswith(_SEVERAL):
            raise UsageError(f"OpenAI: languages and keywords are for {' and '.join(_SEVERAL)}, not {self.model}")
        if self.language and self.languages:
            raise UsageError("OpenAI: give language or languages, not both")
        for name in self.extra:
            if name in ("type", "audio"):
                raise UsageError(f"OpenAI: extra must not set {name}; its fields are options of their own")

    def address(self) -> str:
        return self.url

    def headers(self) -> list[tuple[str, str]]:
        return [("api-key", self.key)] if self.auth == "api-key" else [("Authorization", f"Bearer {self.key}")]

    def opening(self) -> Sequence[WireMessage]:
        """What the session is to be. A connection has begun: what was open on the one before is over."""
        self._items = ItemReader()
        self._resampler = None
        if self.sample_rate != self.wire_rate:
            with needs_extra("cli", f"audio of {self.sample_rate} Hz, which {_NAME} takes at {self.wire_rate} Hz"):
                import soxr
            # Going up, cubic interpolation holds back next to nothing; down it would alias.
            quality = "QQ" if self.sample_rate < self.wire_rate else "LQ"
            self._resampler = soxr.ResampleStream(self.sample_rate, self.wire_rate, 1, dtype="float32", quality=quality)
        return (json.dumps(self._older_session() if self.older else self._session(), ensure_ascii=False),)

    def _transcription(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("language", "languages", "keywords", "prompt")}
        texts = {name: value if isinstance(value, str) else [*value] for name, value in given.items() if value}
        return {"model": self.model} | texts

    def _session(self) -> dict[str, Any]:
        format = {"type": "audio/pcm", "rate": self.wire_rate}
        sound: dict[str, Any] = {"format": format, "transcription": self._transcription(), "turn_detection": None}
        if self.noise_reduction is not None:
            sound["noise_reduction"] = {"type": self.noise_reduction}
        session = {"type": "transcription", "audio": {"input": sound}} | dict(self.extra)
        return {"type": "session.update", "session": session}

    def _older_session(self) -> dict[str, Any]:
        """https://docs.nvidia.com/nim/speech/26.10.0/reference/api-references/asr/realtime-asr.html"""
        session = {
            "input_audio_format": "pcm16",
            "input_audio_transcription": self._transcription(),
            "input_audio_params": {"sample_rate_hz": self.wire_rate, "num_channels": 1},
        }
        return {"type": "transcription_session.update", "session": session | dict(self.extra)}

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio: an empty piece is an error to OpenAI")
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(np.frombuffer(pcm, "<i2").astype(np.float32))
            pcm = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
        return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})

    def finalize(self, channel: int | None = None) -> WireMessage:
        return '{"type":"input_audio_buffer.commit"}'

    def keepalive(self) -> WireMessage | None:
        return None

    def closing(self) -> WireMessage:
        """The last commit; OpenAI has no message for the end."""
        return self.finalize()

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `Dialect.decode`. Messages of unknown type are counted in ``ignored``.

        Final results come in the order of their commits: a later item that is done first waits.
        """
        data = object_in(message, _NAME)
        match data.get("type"):
            case "input_audio_buffer.committed":
                return list(self._items.committed(data, at, offset))
            case "conversation.item.input_audio_transcription.delta":
                return list(self._items.delta(data, at, offset))
            case "conversation.item.input_audio_transcription.completed":
                return list(self._items.completed(data, field_of(data, "transcript", str, ""), at, offset))
            case "conversation.item.input_audio_transcription.failed":
                failed = [] if self._items.knows(data) else [_failure(data)]
                return [*failed, *self._items.completed(data, "", at, offset)]
            case "error":
                if _details(data).get("code") != _EMPTY:
                    return [_failure(data)]
                return list(self._items.nothing_left(at, offset))
            case str(kind) if kind.startswith(_KNOWN):
                return []
            case str() | None:
                self.ignored += 1
                return []
            case other:
                raise ValueError(f'"type" must be a string, not {shown(other)}')


def _details(data: dict[str, Any]) -> dict[str, Any]:
    """What a message says of an error, in whatever shape: one that is told must not go unseen."""
    error = data.get("error")
    return error if isinstance(error, dict) else {} if error is None else {"message": error}


def _failure(data: dict[str, Any]) -> ProviderFailed:
    failure = _details(data)
    code = failure.get("code") or failure.get("type") or "error"
    detail = printable(f"{code}: {failure.get('message', 'no details')}", 200)
    return ProviderFailed(detail, permanent=code in _PERMANENT)
