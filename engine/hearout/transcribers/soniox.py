"""Soniox's real-time transcription: tokens, final and non-final, with ``<end>`` and ``<fin>`` among them.

Options are fields of the start message and cannot change while the connection is open. They have Soniox's names.
What the tokens mean is in `hearout.transcribers.soniox_tokens`.
Reference: https://soniox.com/docs/api-reference/stt/websocket-api
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar, Literal

from hearout.errors import UsageError
from hearout.fields import field_of, object_in
from hearout.transcribers.base import Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
from hearout.transcribers.options import check_extra, check_key, check_range, check_types, check_url
from hearout.transcribers.soniox_context import check_context, check_translation
from hearout.transcribers.soniox_tokens import TokenReader
from hearout.writing import shown

__all__ = ["Soniox"]

_NAME = "Soniox"
_VARIABLE = "SONIOX_API_KEY"
# A key works in the region of its project only.
_ADDRESSES = {
    "us": "wss://stt-rt.soniox.com/transcribe-websocket",
    "eu": "wss://stt-rt.eu.soniox.com/transcribe-websocket",
    "jp": "wss://stt-rt.jp.soniox.com/transcribe-websocket",
}
_TUNABLE = ("max_endpoint_delay_ms", "endpoint_sensitivity", "endpoint_latency_adjustment_level")
_UNTUNABLE_MODELS = ("stt-rt-preview", "stt-rt-v3")  # they know max_endpoint_delay_ms only
_NOT_SENT = ("key", "url", "region", "channels", "trailing_silence_ms", "extra")

# What to make of an error: by its slug, or else (older servers, new slugs) by its number.
_TRANSIENT = (
    "request_timeout",
    "limit_exceeded",
    "internal_error",
    "service_unavailable",
    "max_duration_reached",  # of one stream, 300 minutes: another one goes on from there
)
_PERMANENT = ("invalid_request", "model_not_available", "unauthenticated", "permission_denied")
_PERMANENT_CODES = (400, 401, 402, 403, 404)


@dataclass(eq=False)
class Soniox:
    """How Soniox speaks.

    The key goes into the handshake, as ``Authorization: Bearer``. It must not stand in the start message as
    well, as it used to: Soniox refuses both together, and from 15 January 2027 also the start message alone.

    The defaults are meant for voicebots: ``<end>`` as evidence, and finalize on local silence; see
    ``docs/providers.md`` for which of the two to choose.

    Attributes:
        key: an API key, or a temporary one. Never shown.
        url: address of the endpoint; None: that of ``region``.
        sample_rate: of the linear16 audio, Hz.
        channels: 1. Soniox mixes channels; speakers on channels of their own need a session each.
        region: where the key's project is: "us", "eu" or "jp".
        enable_endpoint_detection: Soniox sends ``<end>`` when the speaker seems to have finished.
        max_endpoint_delay_ms: most time from the end of speech to ``<end>``, 500 to 3000; Soniox's default: 2000.
        endpoint_sensitivity: -1 to 1; higher: more endpoints, sooner. From stt-rt-v5 on.
        endpoint_latency_adjustment_level: 0 to 3; higher: endpoints sooner, more splits, slightly worse words.
            From stt-rt-v5 on; what to tune first.
        trailing_silence_ms: told with every finalize: so much silence was sent before it, and Soniox need not
            add it. The policy's ``finalize_after`` at most.
        context: a text, or an object with general, text, terms, translation_terms; at most 10000 characters.
        translation: as Soniox has it. Translated tokens are left out: turns are about what was said.
        extra: further fields of the start message, passed as they are.
        ignored: messages that mean nothing to us so far.

    Raises:
        UsageError: an option that cannot work.
    """

    key: str = field(repr=False)
    url: str | None = field(default=None, repr=False)
    sample_rate: int = 16000
    channels: int = 1
    _: KW_ONLY
    region: Literal["us", "eu", "jp"] = "us"
    model: str = "stt-rt-v5"
    language_hints: Sequence[str] = ()
    language_hints_strict: bool = False
    enable_endpoint_detection: bool = True
    max_endpoint_delay_ms: int | None = None
    endpoint_sensitivity: float | None = None
    endpoint_latency_adjustment_level: int | None = None
    enable_speaker_diarization: bool = False
    enable_language_identification: bool = False
    context: str | Mapping[str, Any] | None = None
    translation: Mapping[str, Any] | None = None
    client_reference_id: str | None = None
    trailing_silence_ms: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    diarization: ClassVar[str] = "enable_speaker_diarization"
    name: str = field(default="soniox", init=False, repr=False)
    #: Finalize "only after about 200 ms of silence following speech", or words get worse (Soniox's page on it).
    finalize_after: ClassVar[float] = 0.2
    # Soniox hangs up after 20 s without a message.
    keepalive_after: float | None = field(default=10.0, init=False, repr=False)
    longest: float | None = field(default=300 * 60.0, init=False, repr=False)  # then: max_duration_reached
    silence_after: float | None = field(default=None, init=False, repr=False)
    ignored: int = field(default=0, init=False, repr=False)
    # Of this connection; `opening` makes a new one.
    _tokens: TokenReader = field(default_factory=TokenReader, init=False, repr=False)

    def __post_init__(self) -> None:
        check_key(_NAME, self.key, _VARIABLE)
        if self.region not in _ADDRESSES:
            raise UsageError(f"Soniox: region must be {', '.join(_ADDRESSES)}, not {shown(self.region)}")
        check_types(_NAME, self)
        check_url(_NAME, self.address(), _VARIABLE)
        check_range(_NAME, "sample_rate", self.sample_rate, 8000, 192000)
        if self.channels != 1:
            raise UsageError("Soniox: it transcribes one channel, and mixes more; open a session for each channel")
        check_range(_NAME, "max_endpoint_delay_ms", self.max_endpoint_delay_ms, 500, 3000)
        check_range(_NAME, "endpoint_sensitivity", self.endpoint_sensitivity, -1, 1)
        level = self.endpoint_latency_adjustment_level
        check_range(_NAME, "endpoint_latency_adjustment_level", level, 0, 3)
        check_range(_NAME, "trailing_silence_ms", self.trailing_silence_ms, 0, 10000)
        for name in _TUNABLE:
            if getattr(self, name) is None:
                continue
            if not self.enable_endpoint_detection:
                raise UsageError(f"Soniox: {name} needs enable_endpoint_detection")
            if name != _TUNABLE[0] and self.model.startswith(_UNTUNABLE_MODELS):
                raise UsageError(f"Soniox: {name} needs stt-rt-v5, not {self.model}")
        if level and (self.endpoint_sensitivity or 0) < 0:
            raise UsageError("Soniox: endpoint_latency_adjustment_level above 0 and a negative endpoint_sensitivity")
        if len(self.client_reference_id or "") > 256:
            raise UsageError("Soniox: client_reference_id has more than 256 characters")
        self._check_languages()
        check_context(self.context)
        check_translation(self.translation)
        check_extra(_NAME, self, "audio_format", "num_channels", "api_key")

    def _check_languages(self) -> None:
        for code in self.language_hints:
            if not re.fullmatch("[a-z]{2,3}", code):
                raise UsageError(f"Soniox: language_hints are codes such as en, de; not {shown(code)}")
        if len(set(self.language_hints)) < len(self.language_hints):
            raise UsageError("Soniox: language_hints names a language twice")
        if self.language_hints_strict and not self.language_hints:
            raise UsageError("Soniox: language_hints_strict needs language_hints")

    def address(self) -> str:
        return _ADDRESSES[self.region] if self.url is None else self.url

    @property
    def remedies(self) -> Mapping[int, str]:
        """What to do about an error, by its number."""
        here = next((region for region, url in _ADDRESSES.items() if url == self.address()), None)
        where = f"; this is {here}" if here else ""
        return {
            401: f"check the key in {_VARIABLE}; it works in the region of its project only (us, eu or jp{where})",
            402: "the account has no credit left",
            403: f"get a new key into {_VARIABLE}",
        }

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {self.key}")]

    def opening(self) -> Sequence[WireMessage]:
        """The start message. A connection begins, and what was known of the tokens of the last one is over."""
        self._tokens = TokenReader()
        start: dict[str, Any] = {"audio_format": "pcm_s16le", "num_channels": 1}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "language_hints":
                value = list(value) or None
            if f.init and f.name not in _NOT_SENT and value is not None and value is not False:  # 0 is a value
                start[f.name] = value
        return (json.dumps(start | dict(self.extra)),)

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio: an empty message would end the stream")
        return pcm

    def finalize(self, channel: int | None = None) -> WireMessage:
        if self.trailing_silence_ms is None:
            return '{"type":"finalize"}'
        return f'{{"type":"finalize","trailing_silence_ms":{self.trailing_silence_ms}}}'

    def keepalive(self) -> WireMessage:
        return '{"type":"keepalive"}'

    def closing(self) -> WireMessage:
        return b""

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `Dialect.decode`.

        Final tokens are handed on at once, so that nothing is held back that an error, with or without tokens
        of its own, could take away. After an error Soniox closes with code 1000, as after success.
        """
        try:
            return self._decode(message, at, offset)
        except ValueError:
            self._tokens.missed = True
            raise

    def _decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        data = object_in(message, _NAME)
        failure = self._failure(data)
        news: list[ProviderNews] = []
        try:
            if data.get("tokens") or not failure:  # an error without tokens does not take back what was heard
                news += [Heard(0, signal) for signal in self._tokens.read(data, at, offset)]
            finished = field_of(data, "finished", bool, False)
        except ValueError:
            if failure is None:
                raise
            finished = False
        if failure:
            news.append(failure)
        if finished:
            news.append(StreamFinished())
        if not news and not {"tokens", "final_audio_proc_ms", "total_audio_proc_ms"} & data.keys():
            self.ignored += 1
        return news

    def _failure(self, data: dict[str, Any]) -> ProviderFailed | None:
        code, slug, text = (data.get(key) for key in ("error_code", "error_type", "error_message"))
        if code is None and slug is None and text is None:
            return None
        permanent = slug in _PERMANENT or (slug not in _TRANSIENT and code in _PERMANENT_CODES)
        if "no audio received" in str(text).lower():
            permanent = False  # the session ended before it began; nothing is wrong with the settings
        said = " ".join(str(part)[:150] for part in (code, slug) if part is not None)
        detail = f"{said}: {str(text)[:150]}" if text is not None else said
        remedy = self.remedies.get(code) if isinstance(code, int) else None
        return ProviderFailed(f"{detail}; {remedy}" if remedy and permanent else detail, permanent)
