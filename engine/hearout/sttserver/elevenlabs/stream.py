"""ElevenLabs' realtime protocol ``/v1/speech-to-text/realtime``, the server's side of it. Pure: messages in, steps out.

A commit ends an utterance of the recogniser. As the service does, it repeats the text of a commit as a partial result,
hangs up after a commit with hardly any audio, and commits by itself what gets too long.
"""

from __future__ import annotations

import base64
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.fields import Fields, object_in
from hearout.sttserver.elevenlabs.options import ElevenLabsOptions
from hearout.sttserver.recogniser.listener import Listener
from hearout.sttserver.recogniser.pcm import PcmReader
from hearout.sttserver.script import Play, Script
from hearout.sttserver.steps import Ask, Close, HeardWord, Refused, Send, Step

__all__ = ["ElevenLabsScript", "ElevenLabsStream"]

_IDLE_TIMEOUT = 15.0  # seconds without a message after which the service hangs up, without a word
_ROUNDING = 1e-6
_EVERY = 0.3  # seconds of audio between partial results
_LEAST = 0.3  # seconds of audio between two commits
_MOST = 35.8  # seconds of audio after which the service commits by itself


class ElevenLabsConnection(ABC):
    """Chunks, errors and the end, whoever hears the audio.

    Args:
        options: from the query of the handshake.
        session: what it is called.
        authorised: the key is good. With another one the service connects, and says so then.
        idle_timeout: seconds without a message; None: as the service has it.
    """

    channels: int

    def __init__(
        self, options: ElevenLabsOptions, session: str, authorised: bool, *, idle_timeout: float | None = None
    ) -> None:
        self.authorised = authorised
        self._options = options
        self._session = session
        self._patience = idle_timeout or _IDLE_TIMEOUT
        self._quiet = 0.0  # seconds since the last message of the client
        self._bytes = 0
        self._committed = 0.0  # audio time of the last commit
        self._chunks = 0

    @property
    def idle_timeout(self) -> float:
        return max(0.0, self._patience - self._quiet) if self.authorised else 0.0

    @property
    def _received(self) -> float:
        """Seconds of audio."""
        return self._bytes / self._options.audio.frame_bytes / self._options.audio.sample_rate

    @abstractmethod
    def _hear(self, audio: bytes) -> list[Step]: ...

    @abstractmethod
    def _commit(self) -> list[Step]: ...

    @abstractmethod
    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]: ...

    def opening(self) -> list[Step]:
        return [_send("session_started", session_id=self._session, config=self._options.config)]

    def receive(self, message: str | bytes) -> list[Step]:
        self._quiet = 0.0
        try:
            data = object_in(message, "a client") if isinstance(message, str) else {}
            fields = Fields(data)
            fields.word("message_type", "input_audio_chunk")
            audio = base64.b64decode(fields.string("audio_base_64"), validate=True)
            commit = fields.boolean("commit", False)
            if data.get("previous_text") is not None and self._chunks:  # the service's own client sends null
                raise ValueError("previous_text can only be sent with the first chunk of audio")
        except ValueError as error:
            return _fail("input_error", str(error))
        self._chunks += 1
        self._bytes += len(audio)
        steps = self._hear(audio) if audio else []
        if commit:
            fresh = self._received - self._committed
            if fresh < _LEAST - _ROUNDING:
                said = f"only {fresh:.2f}s of uncommitted audio. You need at least {_LEAST}s of it"
                return [*steps, *_fail("commit_throttled", f"Commit request ignored: {said} before committing.")]
            self._committed = self._received
            steps += self._commit()
        return steps

    def wait(self, seconds: float) -> list[Step]:
        if not self.authorised:
            return _fail("auth_error", "You must be authenticated to use this endpoint.")
        self._quiet += seconds
        return [] if self._quiet < self._patience - _ROUNDING else [Close(1000)]

    def alive(self) -> None:
        return  # the service counts messages

    def refuse(self, refused: Refused) -> list[Step]:
        return _fail("resource_exhausted", refused.detail)

    def failed(self) -> Close:
        return Close(1011, "the recogniser of this server stopped; connect again")


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"message_type": kind, **fields}, ensure_ascii=False)


def _send(kind: str, **fields: Any) -> Send:
    return Send(_message(kind, **fields))


def _fail(kind: str, error: str) -> list[Step]:
    return [_send(kind, error=error), Close(1000, kind if kind == "commit_throttled" else "")]


@dataclass(frozen=True)
class Glance(Ask):
    """Read the words so far, or commit them."""


class ElevenLabsStream(ElevenLabsConnection):
    """One connection that a recogniser hears. The arguments are those of `ElevenLabsConnection`."""

    channels = 1

    def __init__(
        self, options: ElevenLabsOptions, session: str, authorised: bool, *, idle_timeout: float | None = None
    ) -> None:
        super().__init__(options, session, authorised, idle_timeout=idle_timeout)
        self._reader = PcmReader(options.audio)
        self._listener = Listener(self._due)
        self._told = 0.0  # audio time of the last look
        self._text = ""  # the last partial result that was reported; that lags behind what is planned

    def _hear(self, audio: bytes) -> list[Step]:
        (pcm,) = self._reader.feed(audio)
        return list(self._listener.hear(pcm))

    def _due(self) -> Glance | None:
        segmenter, silence = self._listener.segmenter, self._options.vad
        if segmenter.time - self._committed >= _MOST:
            self._committed = segmenter.time
            return self._look(ends=True)
        if segmenter.utterance is None:
            return None
        if silence is not None and round(segmenter.silence, 6) >= silence:
            self._committed = segmenter.time
            return self._look(ends=True)
        return self._look(ends=False) if round(segmenter.time - self._told, 6) >= _EVERY else None

    def _look(self, *, ends: bool) -> Glance:
        segmenter = self._listener.segmenter
        look = Glance(0, segmenter.utterance, ends)
        if ends:
            segmenter.end_utterance()
        self._told = segmenter.time
        return look

    def _commit(self) -> list[Step]:
        return list(self._finish())

    def _finish(self) -> Iterator[Step]:
        (pcm,) = self._reader.flush()
        yield from self._listener.hear(pcm)
        yield from self._listener.flush()
        yield self._look(ends=True)

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        text = " ".join(word.text for word in words)
        if not ask.ends:
            if not text or text == self._text:
                return []
            self._text = text
            return [_message("partial_transcript", text=text)]
        self._text = ""
        said = [_message("committed_transcript", text=text)]
        if text:
            said.append(_message("partial_transcript", text=text))
        if self._options.times:
            language, timed = self._options.config["language_code"] or "eng", None
            if self._options.config["include_timestamps"]:
                timed = list(_timed(ask.utterance or 0.0, words))
            said.append(
                _message("committed_transcript_with_timestamps", text=text, language_code=language, words=timed)
            )
        return said


def _timed(utterance: float, words: Sequence[HeardWord]) -> Iterator[dict[str, Any]]:
    """The words, and the blanks between them."""
    last: float | None = None
    for word in words:
        start, end = (round(max(0.0, utterance + time), 3) for time in (word.start, word.end))
        if last is not None:
            yield {"text": " ", "start": last, "end": max(last, start), "type": "spacing", "logprob": 0.0}
        last = end
        logprob = math.log(min(max(word.confidence, 1e-6), 1.0))
        yield {"text": word.text, "start": start, "end": end, "type": "word", "logprob": logprob}


class ElevenLabsScript(ElevenLabsConnection):
    """One connection that a script answers."""

    channels = 0

    def __init__(
        self,
        script: Script,
        options: ElevenLabsOptions,
        session: str,
        authorised: bool,
        *,
        idle_timeout: float | None = None,
    ) -> None:
        super().__init__(options, session, authorised, idle_timeout=idle_timeout)
        self._play: Play | None = script.open() if authorised else None
        self._own_greeting = script.has("session_started", "message_type")

    def opening(self) -> list[Step]:
        return [] if self._own_greeting else super().opening()

    @property
    def idle_timeout(self) -> float:
        return min(super().idle_timeout, self._play.patience if self._play else math.inf)

    def wait(self, seconds: float) -> list[Step]:
        return (self._play.wait(seconds) if self._play else []) + super().wait(seconds)

    def _hear(self, audio: bytes) -> list[Step]:
        assert self._play is not None
        return self._play.hear(self._received)

    def _commit(self) -> list[Step]:
        assert self._play is not None
        # A client that waits for the end has only this to wait for.
        return [_send("committed_transcript", text="")] if self._play.spent else self._play.finalize()

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("a script asks no recogniser")
