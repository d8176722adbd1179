"""ElevenLabs' Scribe v2 realtime (``/v1/speech-to-text/realtime``).

All audio is in JSON. Words may change until a commit, which is our Finalize: it is answered by a
``committed_transcript`` and, a little later, by the same text once more with the times of its words, which is the one
that counts. Commits are answered in order (`hearout.transcribers.elevenlabs_commits`). Options are query parameters and
have ElevenLabs' names.
Reference: https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar

from hearout.errors import UsageError
from hearout.fields import object_in
from hearout.transcribers.base import ProviderFailed, ProviderNews, WireMessage
from hearout.transcribers.elevenlabs_commits import CommitReader
from hearout.transcribers.options import check_key, check_one_channel, check_types, check_url, given, with_query
from hearout.writing import printable, shown

__all__ = ["ElevenLabs"]

_NAME = "ElevenLabs"
_VARIABLE = "ELEVENLABS_API_KEY"
_RATES = (8000, 16000, 22050, 24000, 44100, 48000)
_MOST_KEYTERMS, _LONGEST_KEYTERM = 50, 20
_NOT_IN_QUERY = ("key", "url", "sample_rate", "channels", "previous_text", "enable_logging", "extra")
_OURS = ("audio_format", "commit_strategy", "include_timestamps", "token", "filter_background_audio")
# Errors that another connection with the same settings would meet again.
_PERMANENT = ("auth_error", "quota_exceeded", "unaccepted_terms", "input_error", "invalid_request")
# A commit with hardly any audio behind it, or a session without a voice: nothing was left to be said. It ends, too.
_NOTHING_LEFT = ("commit_throttled", "insufficient_audio_activity")


@dataclass(eq=False)
class ElevenLabs:
    """How Scribe v2 realtime speaks.

    Our rules end the turns: ``commit_strategy`` is "manual". ElevenLabs commits by itself only what is longer than half
    a minute without a commit; to us that is an answer that nobody waited for.

    Attributes:
        key: an API key. Never shown.
        url: address of the endpoint; the query is added to it.
        sample_rate: of the linear16 audio: 8000, 16000, 22050, 24000, 44100 or 48000 Hz.
        channels: 1; ElevenLabs knows no other number. Speakers on channels of their own need a session each.
        language_code: ISO 639-1 or 639-3, without a region; None: it is recognised.
        secondary_languages: further ones that may be spoken.
        keyterms: words to listen for: 50 of 20 characters at most. They cost extra.
        no_verbatim: leave out filler words and false starts.
        enable_logging: False: ElevenLabs keeps nothing; of enterprise accounts only.
        previous_text: what was said before this session, for the first connection and those that follow a loss.
        extra: further parameters, passed as they are.
        ignored: messages of unknown type so far.

    Raises:
        UsageError: an option that cannot work.
    """

    key: str = field(repr=False)
    url: str = field(default="wss://api.elevenlabs.io/v1/speech-to-text/realtime", repr=False)
    sample_rate: int = 16000
    channels: int = 1
    _: KW_ONLY
    model_id: str = "scribe_v2_realtime"
    language_code: str | None = None
    secondary_languages: Sequence[str] = ()
    keyterms: Sequence[str] = ()
    no_verbatim: bool = False
    enable_logging: bool = True
    previous_text: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    remedies: ClassVar[Mapping[int, str]] = dict.fromkeys((401, 403), f"check the key in {_VARIABLE}")
    #: Each commit ends a segment, and its model begins anew. Pipecat's service sends it 0.2 s into a silence.
    finalize_after: ClassVar[float] = 0.2
    #: Seconds of audio that a commit must have behind the one before, or ElevenLabs hangs up (commit_throttled).
    least_segment: ClassVar[float] = 0.3
    #: It is silent as long as nobody speaks, and partial results have no times.
    tells_progress: ClassVar[bool] = False

    name: str = field(default="elevenlabs", init=False, repr=False)
    # It hangs up about 15 s after the last chunk; LiveKit's plugin sends an empty one every 10 s.
    keepalive_after: float | None = field(default=5.0, init=False, repr=False)
    longest: float | None = field(default=None, init=False, repr=False)  # there is a limit, but no page says which
    silence_after: float | None = field(default=None, init=False, repr=False)
    ignored: int = field(default=0, init=False, repr=False)
    # Of this connection; `opening` starts them anew.
    _commits: CommitReader = field(default_factory=CommitReader, init=False, repr=False)

    def __post_init__(self) -> None:
        check_key(_NAME, self.key, _VARIABLE)
        check_types(_NAME, self)
        check_url(_NAME, self.url, _VARIABLE)
        if self.sample_rate not in _RATES:
            raise UsageError(f"ElevenLabs: sample_rate must be {', '.join(map(str, _RATES))}; not {self.sample_rate}")
        check_one_channel(_NAME, self.channels)
        for code in (*self.secondary_languages, *([self.language_code] if self.language_code else ())):
            if not re.fullmatch("[a-z]{2,3}", code):
                raise UsageError(f"ElevenLabs: languages are codes such as en or deu, no regions; not {shown(code)}")
        if len(self.keyterms) > _MOST_KEYTERMS:
            raise UsageError(f"ElevenLabs: keyterms has {len(self.keyterms)} of them; {_MOST_KEYTERMS} at most")
        for term in self.keyterms:
            if len(term) > _LONGEST_KEYTERM:
                raise UsageError(f"ElevenLabs: keyterms are {_LONGEST_KEYTERM} characters at most; not {shown(term)}")
        for name in self.extra:
            if name in {*_OURS, *(f.name for f in fields(self))} - {"extra"}:
                raise UsageError(f"ElevenLabs: extra must not set {shown(name)}; {_why_not(name)}")

    @property
    def language(self) -> str | None:
        """What is heard; "multi": several."""
        return "multi" if self.secondary_languages else self.language_code

    def address(self) -> str:
        """The url with the query; no key in it."""
        query = given(self, *_NOT_IN_QUERY)
        query |= {"audio_format": f"pcm_{self.sample_rate}", "commit_strategy": "manual", "include_timestamps": True}
        if not self.enable_logging:
            query["enable_logging"] = False
        return with_query(self.url, query | dict(self.extra))

    def headers(self) -> list[tuple[str, str]]:
        return [("xi-api-key", self.key)]

    def opening(self) -> Sequence[WireMessage]:
        """The text before, which must come with the first chunk. A connection begins, and what was open is over."""
        self._commits = CommitReader()
        return () if self.previous_text is None else (self._chunk(b"", previous_text=self.previous_text),)

    def _chunk(self, pcm: bytes, **more: Any) -> str:
        audio = base64.b64encode(pcm).decode()
        chunk = {"message_type": "input_audio_chunk", "audio_base_64": audio, "commit": False}
        return json.dumps(chunk | {"sample_rate": self.sample_rate} | more)

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio: an empty chunk only keeps the connection open")
        return self._chunk(pcm)

    def finalize(self, channel: int | None = None) -> WireMessage:
        self._commits.asked += 1
        return self._chunk(b"", commit=True)

    def keepalive(self) -> WireMessage:
        return self._chunk(b"")

    def closing(self) -> WireMessage:
        """The last commit; ElevenLabs has no message for the end."""
        self._commits.closing = True
        return self.finalize()

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `Dialect.decode`. Messages of unknown type are counted in ``ignored``.

        Words without times have an empty span, at the earliest that they can be: `Hearing` lays them out.
        """
        data = object_in(message, _NAME)
        match data.get("message_type"):
            case "partial_transcript":
                return list(self._commits.partial(data, at, offset))
            case "committed_transcript":
                return list(self._commits.committed(data, at, offset))
            case "committed_transcript_with_timestamps":
                return list(self._commits.timed(data, at, offset))
            case "session_started":
                return []
            case str(kind) if kind in _NOTHING_LEFT:
                return list(self._commits.nothing_left(at, offset))
            case str(kind) if {"error", "warning"} & data.keys() or kind in _PERMANENT:
                said = data.get("error", data.get("warning"))
                detail = "no details" if said is None else printable(str(said), 150)
                return [ProviderFailed(f"{printable(kind, 50)}: {detail}", kind in _PERMANENT)]
            case str() | None:
                self.ignored += 1
                return []
            case other:
                raise ValueError(f'"message_type" must be a string, not {shown(other)}')


def _why_not(name: str) -> str:
    return "hearout sees to that" if name in _OURS else "it is an option of its own"
