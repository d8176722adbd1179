"""Soniox's live protocol ``/transcribe-websocket``, the server's side of it. Pure: messages in, steps out.

The recogniser's words become final when their utterance ends, all at once; up to then they are non-final tokens
in every frame. Tokens carry their own spaces.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.fields import object_in
from hearout.sttserver.recogniser.listener import Listener
from hearout.sttserver.recogniser.pcm import PcmReader
from hearout.sttserver.script import Play, Script
from hearout.sttserver.soniox.options import SLUGS, SonioxError, SonioxOptions, parse_start
from hearout.sttserver.steps import Ask, Close, Drop, HeardWord, Refused, Send, Step

__all__ = ["SonioxScript", "SonioxStream"]

_IDLE_TIMEOUT = 20.0  # seconds without audio or keepalive
_EVERY, _QUIET_EVERY = 0.3, 1.0  # seconds of audio between frames, in speech and in silence
# An utterance ends after so much silence, endpoint detection or not; a very long one anywhere, as Deepgram's here.
_PAUSE, _TOO_LONG = 1.0, 20.0
_ROUNDING = 1e-6


class SonioxConnection(ABC):
    """Start message, control messages, errors and the end, whoever hears the audio.

    Args:
        request_id: as in the error frames.
        authorised: the handshake had a key.
        accepts: is this key good?
        idle_timeout: seconds; None: Soniox's 20.
    """

    channels: int

    def __init__(
        self, request_id: str, authorised: bool, accepts: Callable[[str], bool], *, idle_timeout: float | None = None
    ) -> None:
        self._request_id = request_id
        self.authorised = authorised
        self._accepts = accepts
        self._idle_timeout = _IDLE_TIMEOUT if idle_timeout is None else idle_timeout
        self._quiet = 0.0  # seconds since the last message of the client
        self._options: SonioxOptions | None = None
        self._bytes = 0

    @property
    def idle_timeout(self) -> float:
        return max(0.0, self._idle_timeout - self._quiet)

    @abstractmethod
    def _begin(self, options: SonioxOptions) -> None: ...

    @abstractmethod
    def _hear(self, audio: bytes) -> list[Step]: ...

    @abstractmethod
    def _finalize(self) -> list[Step]: ...

    @abstractmethod
    def _tail(self) -> list[Step]:
        """All that is left, with the frame that says ``finished``."""

    @abstractmethod
    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]: ...

    def opening(self) -> list[Step]:
        return []

    def receive(self, message: str | bytes) -> list[Step]:
        self._quiet = 0.0
        try:
            if self._options is None:
                self._start(message)
                return []
            if not message:
                steps = self._tail()
                return steps if any(isinstance(step, Drop) for step in steps) else [*steps, Close(1000)]
            if isinstance(message, bytes):
                self._bytes += len(message)
                return self._hear(message)
            return self._control(message)
        except SonioxError as error:
            return self._fail(error)
        except Refused as refused:
            return self.refuse(refused)

    def _start(self, message: str | bytes) -> None:
        if not isinstance(message, str):
            raise SonioxError(400, "invalid_request", "Start request must be a text message.")
        options = parse_start(message)
        if options.key is not None and self.authorised:
            raise SonioxError(400, "invalid_request", "The key stands in the handshake and in the start request.")
        if not self.authorised and (options.key is None or not self._accepts(options.key)):
            detail = "Missing API key." if options.key is None else "Incorrect API key provided."
            raise SonioxError(401, "unauthenticated", detail)
        self.authorised = True
        self._begin(options)
        self._options = options

    def _control(self, text: str) -> list[Step]:
        try:
            message = object_in(text, "a client")
        except ValueError:
            raise SonioxError(400, "invalid_request", "Control request is malformed.") from None
        match message.get("type"):
            case "keepalive":
                return []
            case "finalize":
                return self._finalize()
        raise SonioxError(400, "invalid_request", "Control request invalid type.")

    def wait(self, seconds: float) -> list[Step]:
        self._quiet += seconds
        if self._quiet < self._idle_timeout - _ROUNDING:
            return []
        what = "Start request timeout." if self._options is None else "Request timeout."
        return self._fail(SonioxError(408, "request_timeout", what))

    def alive(self) -> None:
        return  # Soniox wants a keepalive

    def refuse(self, refused: Refused) -> list[Step]:
        kind = SLUGS.get(refused.status, refused.code.lower())
        return self._fail(SonioxError(refused.status, kind, refused.detail))

    def failed(self) -> Close:
        return Close(1011, "the recogniser of this server stopped; connect again")

    def _fail(self, error: SonioxError) -> list[Step]:
        frame = {
            "tokens": [],
            "error_code": error.code,
            "error_type": error.kind,
            "error_message": str(error),
            "request_id": self._request_id,
        }
        return [Send(json.dumps(frame)), Close(1000)]  # 1000, as Soniox does even then


@dataclass(frozen=True)
class Frame(Ask):
    """A frame that waits for its words.

    Attributes:
        end: audio time heard.
        marker: ``<end>`` or ``<fin>`` behind the tokens; ``<end>`` only if there were any since the last one.
        finished: it is the last one.
    """

    end: float
    marker: str = ""
    finished: bool = False


class SonioxStream(SonioxConnection):
    """One connection that a recogniser hears. The arguments are those of `SonioxConnection`; channels are mixed."""

    channels = 1

    def _begin(self, options: SonioxOptions) -> None:
        self._reader = PcmReader(options.audio, mix=True)
        self._listener = Listener(self._due)
        self._endpoint_after = options.endpoint_after
        self._language = {"language": "en"} if options.tells_language else {}  # the recogniser knows no other
        self._told = 0.0  # audio time of the last frame
        self._endpoint_owed = False  # for speech whose utterance is over
        self._final = 0.0  # audio time up to which tokens are final
        self._words = False  # there were final words since the last <end>
        self._first = True  # the first token has no space before it

    def _hear(self, audio: bytes) -> list[Step]:
        (pcm,) = self._reader.feed(audio)
        return list(self._listener.hear(pcm))

    def _due(self) -> Frame | None:
        segmenter = self._listener.segmenter
        silence, spoken = round(segmenter.silence, 6), segmenter.utterance is not None
        if self._endpoint_after is not None and silence >= self._endpoint_after and (spoken or self._endpoint_owed):
            self._endpoint_owed = False
            return self._frame(ends=True, marker="<end>")
        if segmenter.utterance is not None and (silence >= _PAUSE or segmenter.time - segmenter.utterance >= _TOO_LONG):
            self._endpoint_owed = True
            return self._frame(ends=True)
        if round(segmenter.time - self._told, 6) >= (_EVERY if spoken else _QUIET_EVERY):
            return self._frame()
        return None

    def _frame(self, *, ends: bool = False, marker: str = "", finished: bool = False) -> Frame:
        segmenter = self._listener.segmenter
        frame = Frame(0, segmenter.utterance, ends, segmenter.time, marker, finished)
        if ends:
            segmenter.end_utterance()
        self._told = segmenter.time
        return frame

    def _flush(self) -> Iterator[Step]:
        (pcm,) = self._reader.flush()
        yield from self._listener.hear(pcm)
        yield from self._listener.flush()

    def _finalize(self) -> list[Step]:
        steps = list(self._flush())
        self._endpoint_owed |= self._listener.segmenter.utterance is not None
        return [*steps, self._frame(ends=True, marker="<fin>")]

    def _tail(self) -> list[Step]:
        return [*self._flush(), self._frame(ends=True, finished=True)]

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        assert isinstance(ask, Frame)
        tokens = [self._token(ask, word, first=self._first and not number) for number, word in enumerate(words)]
        if ask.ends:
            self._first &= not words
            self._words |= bool(words)
            self._final = ask.end
        if ask.marker == "<fin>" or (ask.marker == "<end>" and self._words):
            tokens.append({"text": ask.marker, "is_final": True})
        if ask.marker == "<end>":
            self._words = False
        frame: dict[str, Any] = {
            "tokens": tokens,
            "final_audio_proc_ms": round(self._final * 1000),
            "total_audio_proc_ms": round(ask.end * 1000),
        }
        if ask.finished:
            frame["finished"] = True
        return [json.dumps(frame)]

    def _token(self, ask: Frame, word: HeardWord, *, first: bool) -> dict[str, Any]:
        assert ask.utterance is not None
        start = max(self._final, ask.utterance + word.start)
        return {
            "text": word.text if first else " " + word.text,
            "start_ms": round(start * 1000),
            "end_ms": round(max(start, ask.utterance + word.end) * 1000),
            "confidence": round(word.confidence, 4),
            "is_final": ask.ends,
        } | self._language


class SonioxScript(SonioxConnection):
    """One connection that a script answers. The other arguments are those of `SonioxConnection`."""

    channels = 0

    def __init__(
        self,
        script: Script,
        request_id: str,
        authorised: bool,
        accepts: Callable[[str], bool],
        *,
        idle_timeout: float | None = None,
    ) -> None:
        super().__init__(request_id, authorised, accepts, idle_timeout=idle_timeout)
        self._script = script
        # Strangers do not get the part of the script that waits for the next connection.
        self._play: Play | None = script.open() if authorised else None

    def _begin(self, options: SonioxOptions) -> None:
        self._audio = options.audio
        self._play = self._play or self._script.open()

    @property
    def idle_timeout(self) -> float:
        return super().idle_timeout if self._play is None else min(self._play.patience, super().idle_timeout)

    def wait(self, seconds: float) -> list[Step]:
        return (self._play.wait(seconds) if self._play is not None else []) + super().wait(seconds)

    def _hear(self, audio: bytes) -> list[Step]:
        assert self._play is not None
        return self._play.hear(self._bytes // self._audio.frame_bytes / self._audio.sample_rate)

    def _finalize(self) -> list[Step]:
        assert self._play is not None
        return self._play.finalize()

    def _tail(self) -> list[Step]:
        assert self._play is not None
        steps = self._play.tail()
        if any(isinstance(step, Drop) or (isinstance(step, Send) and _finished(step)) for step in steps):
            return steps
        total = round(self._bytes // self._audio.frame_bytes / self._audio.sample_rate * 1000)
        frame = {"tokens": [], "final_audio_proc_ms": total, "total_audio_proc_ms": total, "finished": True}
        return [*steps, Send(json.dumps(frame))]

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("a script asks no recogniser")


def _finished(step: Send) -> bool:
    return bool(json.loads(step.text).get("finished"))
