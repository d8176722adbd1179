"""AssemblyAI's streaming protocol ``/v3/ws``, the server's side of it. Pure: messages in, steps out.

AssemblyAI decides itself when a turn is over. Here silence stands for its model: the longer it lasts, the surer the
end. A turn is an utterance of the recogniser, whose words may change until it ends.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.fields import Fields, object_in
from hearout.sttserver.assemblyai.options import AssemblyAIOptions, changed
from hearout.sttserver.flux.stream import confidence
from hearout.sttserver.recogniser.listener import Listener
from hearout.sttserver.recogniser.pcm import PcmReader
from hearout.sttserver.script import Script
from hearout.sttserver.steps import Ask, Close, Drop, HeardWord, Refused, Send, Step

__all__ = ["AssemblyAIScript", "AssemblyAIStream"]

_IDLE_TIMEOUT = 600.0  # seconds; AssemblyAI ends no session for that, but a server wants its sockets back
_ROUNDING = 1e-6
_EVERY = 0.3  # seconds of audio between results
_HEARTBEAT = 5.0  # seconds of audio
_SHORTEST, _LONGEST = 0.05, 1.0  # seconds of audio in a message
_ERRORS = {
    3005: "Server error",
    3006: "Input validation error",
    3007: "Audio chunk duration violation: 50 to 1000 ms in a message",
    3008: "Session expired",
}


class AssemblyAIConnection(ABC):
    """Commands, errors and the end, whoever hears the audio.

    Args:
        options: from the query of the handshake.
        session: what it is called.
        idle_timeout: seconds without a message; None: as the client asked.
    """

    authorised = True  # or it would have been refused
    channels: int

    def __init__(self, options: AssemblyAIOptions, session: str, *, idle_timeout: float | None = None) -> None:
        self._options = options
        self._ends = options.ends
        self._session = session
        self._idle_timeout = idle_timeout or options.inactivity or _IDLE_TIMEOUT
        self._quiet = 0.0  # seconds since the last message of the client
        self._bytes = 0

    @property
    def idle_timeout(self) -> float:
        return max(0.0, self._idle_timeout - self._quiet)

    @property
    def _received(self) -> float:
        """Seconds of audio."""
        return self._bytes / self._options.audio.frame_bytes / self._options.audio.sample_rate

    @abstractmethod
    def _hear(self, audio: bytes) -> list[Step]: ...

    @abstractmethod
    def _force_end(self) -> list[Step]: ...

    @abstractmethod
    def _tail(self) -> list[Step]:
        """The last turn."""

    @abstractmethod
    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]: ...

    def opening(self) -> list[Step]:
        configuration = {"model": self._options.model, "api_version": "1.0.0"}
        return [_send("Begin", id=self._session, expires_at=4_102_444_800, configuration=configuration)]

    def receive(self, message: str | bytes) -> list[Step]:
        self._quiet = 0.0
        if isinstance(message, str):
            return self._command(message)
        before = self._received
        self._bytes += len(message)
        if not _SHORTEST - _ROUNDING <= self._received - before <= _LONGEST + _ROUNDING:
            return _fail(3007)
        return self._hear(message)

    def _command(self, text: str) -> list[Step]:
        try:
            message = object_in(text, "a client")
            match message.get("type"):
                case "Terminate":
                    steps = self._tail()
                    if any(isinstance(step, Drop) for step in steps):
                        return steps
                    seconds = round(self._received)
                    end = _send("Termination", audio_duration_seconds=seconds, session_duration_seconds=seconds)
                    return [*steps, end, Close(1000)]
                case "ForceEndpoint":
                    return self._force_end()
                case "UpdateConfiguration":
                    self._ends = changed(self._ends, Fields(message))
                    return []
                case "KeepAlive":
                    return []
        except ValueError:
            pass
        return _fail(3006)

    def wait(self, seconds: float) -> list[Step]:
        self._quiet += seconds
        return [] if self._quiet < self._idle_timeout - _ROUNDING else _fail(3008)

    def alive(self) -> None:
        return  # AssemblyAI counts messages

    def refuse(self, refused: Refused) -> list[Step]:
        return _fail(3005)

    def failed(self) -> Close:
        return Close(3005, "the recogniser of this server stopped; connect again")


def _send(kind: str, **fields: Any) -> Send:
    return Send(json.dumps({"type": kind, **fields}))


def _fail(code: int) -> list[Step]:
    return [_send("Error", error_code=code, error=_ERRORS[code]), Close(code, "See Error message for details")]


@dataclass(frozen=True)
class TurnAsk(Ask):
    """Look at the words, and say what has become of the turn.

    Attributes:
        confidence: that the turn is over.
    """

    confidence: float


class AssemblyAIStream(AssemblyAIConnection):
    """One connection that a recogniser hears. The arguments are those of `AssemblyAIConnection`."""

    channels = 1

    def __init__(self, options: AssemblyAIOptions, session: str, *, idle_timeout: float | None = None) -> None:
        super().__init__(options, session, idle_timeout=idle_timeout)
        self._reader = PcmReader(options.audio)
        self._listener = Listener(self._due)
        self._told = 0.0  # audio time of the last look
        self._beat = 0.0  # audio time of the last heartbeat
        # What was reported, which lags behind what is planned:
        self._turn = 0
        self._text = ""

    def _hear(self, audio: bytes) -> list[Step]:
        (pcm,) = self._reader.feed(audio)
        steps = list(self._listener.hear(pcm))
        if self._options.heartbeat and self._received - self._beat >= _HEARTBEAT - _ROUNDING:
            self._beat = self._received
            steps.append(Send(self._heartbeat(), 0))
        return steps

    def _heartbeat(self) -> str:
        received = round(1000 * self._received)
        voice = 0.0 if self._listener.segmenter.silence >= _HEARTBEAT else 1.0
        fields = {"total_audio_received_ms": received, "total_duration_ms": received, "realtime_factor": 1.0}
        return json.dumps({"type": "Heartbeat", **fields, "max_speech_probability": voice})

    def _due(self) -> TurnAsk | None:
        segmenter, ends = self._listener.segmenter, self._ends
        if segmenter.utterance is None:
            return None
        silence = round(segmenter.silence, 6)
        sure = confidence(silence) if silence else 0.0
        if silence >= ends.max_silence or (silence >= ends.min_silence and sure >= ends.threshold):
            return self._look(sure, ends=True)
        return self._look(sure) if round(segmenter.time - self._told, 6) >= _EVERY else None

    def _look(self, sure: float, *, ends: bool = False) -> TurnAsk:
        segmenter = self._listener.segmenter
        look = TurnAsk(0, segmenter.utterance, ends, sure)
        if ends:
            segmenter.end_utterance()
        self._told = segmenter.time
        return look

    def _force_end(self) -> list[Step]:
        return list(self._finish())

    def _tail(self) -> list[Step]:
        return list(self._finish())

    def _finish(self) -> Iterator[Step]:
        (pcm,) = self._reader.flush()
        yield from self._listener.hear(pcm)
        yield from self._listener.flush()
        if self._listener.segmenter.utterance is not None:
            yield self._look(0.0, ends=True)

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        assert isinstance(ask, TurnAsk)
        text = " ".join(word.text for word in words)
        if not text or (text == self._text and not ask.ends):
            return []
        begins, self._text = not self._text, "" if ask.ends else text
        out = [self._info(ask, words)]
        if begins and not self._options.plain:
            out.insert(0, json.dumps({"type": "SpeechStarted", "timestamp": self._word(ask, words[0], True)["start"]}))
        if ask.ends:
            if self._options.formats:
                out.append(self._info(ask, words, formatted=True))
            self._turn += 1
        return out

    def _info(self, look: TurnAsk, words: Sequence[HeardWord], *, formatted: bool = False) -> str:
        written = formatted or not self._options.plain
        told = [self._word(look, word, written) for word in words]
        text = " ".join(word["text"] for word in told)
        message = {
            "type": "Turn",
            "turn_order": self._turn,
            "turn_is_formatted": formatted,
            "end_of_turn": look.ends,
            "transcript": text if look.ends else "",
            "end_of_turn_confidence": look.confidence,
            "words": told,
            "utterance": text if look.ends else "",
        }
        return json.dumps(message)

    def _word(self, look: TurnAsk, word: HeardWord, written: bool) -> dict[str, Any]:
        assert look.utterance is not None
        return {
            "start": max(0, round(1000 * (look.utterance + word.start))),
            "end": max(0, round(1000 * (look.utterance + word.end))),
            "text": word.text if written else word.plain,
            "confidence": round(word.confidence, 6),
            "word_is_final": look.ends,
        }


class AssemblyAIScript(AssemblyAIConnection):
    """One connection that a script answers."""

    channels = 0

    def __init__(
        self, script: Script, options: AssemblyAIOptions, session: str, *, idle_timeout: float | None = None
    ) -> None:
        super().__init__(options, session, idle_timeout=idle_timeout)
        self._play = script.open()
        self._own_greeting = script.has("Begin")

    def opening(self) -> list[Step]:
        return [] if self._own_greeting else super().opening()

    @property
    def idle_timeout(self) -> float:
        return min(self._play.patience, super().idle_timeout)

    def wait(self, seconds: float) -> list[Step]:
        return self._play.wait(seconds) + super().wait(seconds)

    def _hear(self, audio: bytes) -> list[Step]:
        return self._play.hear(self._received)

    def _force_end(self) -> list[Step]:
        return self._play.finalize()

    def _tail(self) -> list[Step]:
        return self._play.tail()

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("a script asks no recogniser")
