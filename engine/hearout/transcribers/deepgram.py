"""Deepgram's live transcription, version 1 (``/v1/listen``): Nova and older models.

Options are query parameters of the connection and cannot change while it is open. They have Deepgram's names;
those that are milliseconds end in ``_ms``. Reference: https://developers.deepgram.com/reference/listen-live
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal

from hearout.errors import UsageError
from hearout.fields import field_of, object_in, objects_of, span_of, speaker_of, time_of
from hearout.transcribers.base import Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
from hearout.transcribers.options import check_extra, check_key, check_range, check_types, check_url, given, with_query
from hearout.writing import printable, shown
from hearout_policies.signals import ProviderSpeechStarted, Transcript, UtteranceEnd, Word
from hearout_policies.words import spread

__all__ = ["Deepgram"]

_NAME = "Deepgram"
_VARIABLE = "DEEPGRAM_API_KEY"
_NOT_IN_QUERY = ("key", "url", "sample_rate", "channels", "auth", "endpointing_ms", "extra")


@dataclass(eq=False)
class Deepgram:
    """How Deepgram v1 speaks.

    The defaults are meant for voicebots: interim results, an endpoint after 300 ms of silence, UtteranceEnd
    after a word gap of 1 s (the least Deepgram allows). ``smart_format`` is off: it withholds the final
    result of a number that looks unfinished, for up to 3 s. ``callback`` is left out on purpose: with it the
    results go elsewhere.

    Attributes:
        key: an API key, or a temporary token when ``auth`` is "bearer". Never shown.
        url: address of the endpoint; the query is added to it.
        sample_rate: of the linear16 audio, Hz.
        channels: 1 to 20; more than one are transcribed apart.
        endpointing_ms: silence before ``speech_final``; None: never, segments end where Deepgram likes.
        utterance_end_ms: word gap before UtteranceEnd, 1000 to 5000; needs ``interim_results``. None: never.
        keyterm, keywords: words to listen for; the first for nova-3, the second for the models before it.
        extra: further parameters, passed as they are, for what this class does not know (yet).
        ignored: messages of unknown type so far.

    Raises:
        UsageError: an option that cannot work.
    """

    key: str = field(repr=False)
    url: str = field(default="wss://api.deepgram.com/v1/listen", repr=False)
    sample_rate: int = 16000
    channels: int = 1
    _: KW_ONLY
    auth: Literal["token", "bearer"] = "token"
    model: str = "nova-3"
    version: str | None = None
    language: str | None = None
    language_hint: Sequence[str] = ()
    interim_results: bool = True
    endpointing_ms: int | None = 300
    utterance_end_ms: int | None = 1000
    vad_events: bool = True
    punctuate: bool = True
    smart_format: bool = False
    no_delay: bool = False
    filler_words: bool = False
    numerals: bool = False
    profanity_filter: bool = False
    dictation: bool = False
    detect_entities: bool = False
    diarize: bool = False
    diarize_model: str | None = None
    keyterm: Sequence[str] = ()
    keywords: Sequence[str] = ()
    search: Sequence[str] = ()
    replace: Sequence[str] = ()
    redact: Sequence[str] = ()
    tag: Sequence[str] = ()
    mip_opt_out: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    shareable: ClassVar[bool] = True  # it remembers nothing of a connection
    diarization: ClassVar[str] = "diarize"
    remedies: ClassVar[Mapping[int, str]] = {401: f"check the key in {_VARIABLE}"}

    name: str = field(default="deepgram", init=False, repr=False)
    # Deepgram hangs up after 10 s without a message; it advises one every 3 to 5 s.
    keepalive_after: float | None = field(default=4.0, init=False, repr=False)
    longest: float | None = field(default=None, init=False, repr=False)
    silence_after: float | None = field(default=None, init=False, repr=False)
    ignored: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_key(_NAME, self.key, _VARIABLE)
        check_types(_NAME, self)
        check_url(_NAME, self.url, _VARIABLE)
        if self.auth not in ("token", "bearer"):
            raise UsageError(f'Deepgram: auth must be "token" or "bearer", not {shown(self.auth)}')
        check_range(_NAME, "sample_rate", self.sample_rate, 8000, 192000)
        check_range(_NAME, "channels", self.channels, 1, 20)
        check_range(_NAME, "endpointing_ms", self.endpointing_ms, 1, 60000)
        check_range(_NAME, "utterance_end_ms", self.utterance_end_ms, 1000, 5000)
        if self.utterance_end_ms is not None and not self.interim_results:
            raise UsageError("Deepgram: utterance_end_ms needs interim_results; pass utterance_end_ms=None")
        if self.keywords and self.model.startswith("nova-3"):
            raise UsageError("Deepgram: keywords are for models before nova-3; use keyterm")
        if self.keyterm and self.model.startswith(("nova-2", "enhanced", "base")):
            raise UsageError(f"Deepgram: keyterm needs nova-3, not {self.model}; use keywords")
        check_extra(_NAME, self, "encoding", "multichannel", "endpointing")

    def address(self) -> str:
        """The url with the query; no key in it."""
        query = given(self, *_NOT_IN_QUERY)
        query["endpointing"] = False if self.endpointing_ms is None else self.endpointing_ms
        query |= {"encoding": "linear16", "sample_rate": self.sample_rate, "channels": self.channels}
        if self.channels > 1:
            query["multichannel"] = True
        return with_query(self.url, query | dict(self.extra))

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"{self.auth.capitalize()} {self.key}")]

    def opening(self) -> Sequence[WireMessage]:
        return ()

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio: an empty message would end the stream")
        return pcm

    def finalize(self, channel: int | None = None) -> WireMessage:
        if channel is None or self.channels == 1:
            return '{"type":"Finalize"}'
        return f'{{"type":"Finalize","channel":{channel}}}'

    def configure(self, *, keyterm: Sequence[str] | None = None, numerals: bool | None = None) -> str:
        """The message that changes these options on an open connection, for `Session.send` (nova-3 only).

        All other options are fixed once there is a connection. Later connections start with the new ones; when
        Deepgram refuses them, the session tells so in a `SessionWarning`.
        """
        message: dict[str, Any] = {"type": "Configure"}
        if keyterm is not None:
            self.keyterm = message["keyterms"] = list(keyterm)
        if numerals is not None:
            self.numerals = numerals
            message["features"] = {"numerals": numerals}
        return json.dumps(message, ensure_ascii=False)

    def keepalive(self) -> WireMessage:
        return '{"type":"KeepAlive"}'  # in a text frame: in a binary one it would be heard as audio

    def closing(self) -> WireMessage:
        return '{"type":"CloseStream"}'

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `Dialect.decode`. Messages of unknown type are counted in ``ignored``, as Deepgram asks."""
        data = object_in(message, _NAME)
        # Models from before 2022 sent results without a type.
        match data.get("type", "Results" if "channel_index" in data else None):
            case "Results":
                return [Heard(self._channel(data), _transcript(data, at, offset))]
            case "UtteranceEnd":
                last = data.get("last_word_end")
                end = None if last == -1 else time_of(data, "last_word_end") + offset
                return [Heard(self._channel(data), UtteranceEnd(at, end))]
            case "SpeechStarted":
                audio = time_of(data, "timestamp") + offset
                return [Heard(self._channel(data), ProviderSpeechStarted(at, audio))]
            case "Metadata":
                return [StreamFinished()]
            case "Error":
                text = str(data.get("description") or data.get("message") or data.get("variant") or "").strip()
                return [ProviderFailed(text[:200] or "no details", permanent=False)]
            case "ConfigureFailure":
                return [ProviderFailed(f"Configure failed: {str(data.get('code'))[:100]}", permanent=False)]
            case str() | None:
                self.ignored += 1
                return []
            case other:
                raise ValueError(f'"type" must be a string, not {shown(other)}')

    def _channel(self, data: dict[str, Any]) -> int:
        # Results say [index, count] in channel_index and have an object in channel; the others have only
        # channel, which is [index, count] there.
        where = data.get("channel_index", data.get("channel"))
        if where is None or isinstance(where, dict):
            return 0
        index = where[0] if isinstance(where, list) and where else where
        if type(index) is not int or not 0 <= index < self.channels:
            raise ValueError(f"channel {shown(where)} does not exist; there are {self.channels}")
        return index


def _transcript(data: dict[str, Any], at: float, offset: float) -> Transcript:
    start = time_of(data, "start") + offset
    end = start + time_of(data, "duration")
    alternatives = field_of(field_of(data, "channel", dict, {}), "alternatives", list, [])
    best = alternatives[0] if alternatives else {}
    if not isinstance(best, dict):
        raise ValueError(f'"alternatives" must hold objects, not {shown(best)}')
    words = tuple(word for item in objects_of(best, "words") if (word := _word(item, offset)).text)
    timed = True
    if not words:
        words = spread(_text(best, "transcript").split(), start, end)
        timed = not words
    is_final = field_of(data, "is_final", bool, False)
    return Transcript(
        at=at,
        words=words,
        start=start,
        end=end,
        is_final=is_final,
        endpoint=is_final and field_of(data, "speech_final", bool, False),
        finalized=is_final and field_of(data, "from_finalize", bool, False),
        timed=timed,
    )


def _word(item: dict[str, Any], offset: float) -> Word:
    start, end = span_of(item)
    text = _text(item, "punctuated_word") or _text(item, "word")
    return Word(text, start + offset, end + offset, speaker=speaker_of(item))


def _text(data: dict[str, Any], key: str) -> str:
    return printable(field_of(data, key, str, "")).strip()
