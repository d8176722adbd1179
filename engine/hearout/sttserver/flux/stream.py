"""Deepgram Flux, ``/v2/listen``, the server's side of it. Pure: messages in, steps out.

Flux decides itself when a turn is over. Here silence stands for its model: the longer it lasts, the surer the end
(`confidence`). All its times are on the audio clock, so a turn stays open when the audio stops.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.fields import object_in
from hearout.sttserver.flux.options import FluxOptions, changed
from hearout.sttserver.recogniser.listener import Listener
from hearout.sttserver.recogniser.pcm import PcmReader
from hearout.sttserver.script import Script
from hearout.sttserver.steps import Ask, Close, Drop, HeardWord, Refused, Send, Step

__all__ = ["FluxScript", "FluxStream", "confidence"]

# Seconds without a sign of life: https://github.com/deepgram/deepgram-python-sdk/issues/618
_IDLE_TIMEOUT = 60.0
_ROUNDING = 1e-6
_EVERY = 0.24  # seconds of audio between updates; Flux: about 0.25
_SURENESS = 0.5  # seconds of silence: 0.7, the usual threshold, is reached after 0.6 s


def confidence(silence: float) -> float:
    """How sure it is after so many seconds of silence that the turn is over; 0 to 1, never 1."""
    return round(min(0.99, 1 - math.exp(-silence / _SURENESS)), 4)


class FluxConnection(ABC):
    """Commands, errors and the end, whoever hears the audio.

    Args:
        options: from the query of the handshake.
        request_id: as in the ``dg-request-id`` header.
        idle_timeout: seconds without a message or a ping; None: Flux's 60.
    """

    authorised = True  # or it would have been refused
    channels: int

    def __init__(self, options: FluxOptions, request_id: str, *, idle_timeout: float | None = None) -> None:
        self._options = options
        self._thresholds = options.thresholds
        self._keyterms: Sequence[str] = options.keyterms
        self._request_id = request_id
        self._idle_timeout = _IDLE_TIMEOUT if idle_timeout is None else idle_timeout
        self._quiet = 0.0  # seconds since the client was last heard of
        self._sequence = 0
        self._bytes = 0

    @property
    def idle_timeout(self) -> float:
        return max(0.0, self._idle_timeout - self._quiet)

    def opening(self) -> list[Step]:
        return [self._send("Connected")]

    @abstractmethod
    def _hear(self, audio: bytes) -> list[Step]: ...

    @abstractmethod
    def _force_end(self) -> list[Step]: ...

    @abstractmethod
    def _tail(self) -> list[Step]:
        """The last messages; an open turn stays open."""

    @abstractmethod
    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]: ...

    def receive(self, message: str | bytes) -> list[Step]:
        self._quiet = 0.0
        if isinstance(message, str):
            return self._command(message)
        if not message:
            return self._close_stream()
        self._bytes += len(message)
        return self._hear(message)

    def _command(self, text: str) -> list[Step]:
        try:
            message = object_in(text, "a client")
        except ValueError:
            message = {}
        match message.get("type"):
            case "CloseStream":
                return self._close_stream()
            case "ForceEndTurn":
                return self._force_end()
            case "Configure":
                return [self._configure(message)]
        description = "type must be one of CloseStream, Configure, ForceEndTurn"
        return [self._send("Error", code="UNPARSABLE_CLIENT_MESSAGE", description=description), Close(1008)]

    def _configure(self, message: dict[str, Any]) -> Send:
        try:
            keyterms = _keyterms(message.get("keyterms", self._keyterms))
            self._thresholds = changed(self._thresholds, message.get("thresholds", {}))
        except Refused as refused:
            return self._send("ConfigureFailure", code=refused.code, description=refused.detail)
        self._keyterms = keyterms
        return self._send("ConfigureSuccess", thresholds=self._thresholds.as_dict(), keyterms=self._keyterms)

    def _close_stream(self) -> list[Step]:
        steps = self._tail()
        return steps if any(isinstance(step, Drop) for step in steps) else [*steps, Close(1000)]

    def wait(self, seconds: float) -> list[Step]:
        self._quiet += seconds
        if self._quiet < self._idle_timeout - _ROUNDING:
            return []
        return [self._send("Error", code="NET-0001", description="no audio, no message and no ping came"), Close(1011)]

    def alive(self) -> None:
        self._quiet = 0.0  # there is no KeepAlive here; Flux wants pings

    def refuse(self, refused: Refused) -> list[Step]:
        return [Close(1011, refused.detail)]

    def failed(self) -> Close:
        return Close(1011, "the recogniser of this server stopped; connect again")

    def _send(self, kind: str, **fields: Any) -> Send:
        return Send(self._text(kind, **fields))

    def _text(self, kind: str, **fields: Any) -> str:
        message = {"type": kind, "request_id": self._request_id, "sequence_id": self._sequence, **fields}
        self._sequence += 1
        return json.dumps(message)


def _keyterms(given: Any) -> Sequence[str]:
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(term, str) for term in given):
        raise Refused(400, "INVALID_KEYTERMS", "keyterms must be a list of texts")
    return given


@dataclass(frozen=True)
class Look(Ask):
    """Look at the words, and say what has become of the turn.

    Attributes:
        end: audio time heard.
        confidence: that the turn is over.
        trigger: what ends the turn; None: nothing yet.
        eager: the confidence is enough for an eager end of turn.
        forced: the client asked for the end.
    """

    end: float
    confidence: float
    trigger: str | None = None
    eager: bool = False
    forced: bool = False

    @property
    def pauses(self) -> bool:
        return self.eager


class FluxStream(FluxConnection):
    """One connection that a recogniser hears. The arguments are those of `FluxConnection`.

    A turn is an utterance of the recogniser.
    """

    channels = 1

    def __init__(self, options: FluxOptions, request_id: str, *, idle_timeout: float | None = None) -> None:
        super().__init__(options, request_id, idle_timeout=idle_timeout)
        self._reader = PcmReader(options.audio)
        self._listener = Listener(self._due)
        self._told = 0.0  # audio time of the last message
        # What was reported, which lags behind what is planned:
        self._turn = 0
        self._window = 0.0  # where its audio begins
        self._open = False
        self._text_told = ""
        self._eager_told = False

    def _hear(self, audio: bytes) -> list[Step]:
        (pcm,) = self._reader.feed(audio)
        return list(self._listener.hear(pcm))

    def _due(self) -> Look | None:
        segmenter, thresholds = self._listener.segmenter, self._thresholds
        silence = round(segmenter.silence, 6)
        sure = confidence(silence) if segmenter.utterance is not None else 0.0
        if segmenter.utterance is not None:
            if silence > 0 and sure >= thresholds.eot_threshold:
                return self._look(sure, trigger="model")
            if silence >= thresholds.eot_timeout_ms / 1000:
                return self._look(sure, trigger="timeout")
        if round(segmenter.time - self._told, 6) >= _EVERY:
            eager = thresholds.eager_eot_threshold
            return self._look(sure, eager=eager is not None and silence > 0 and sure >= eager)
        return None

    def _look(self, sure: float, *, trigger: str | None = None, eager: bool = False, forced: bool = False) -> Look:
        segmenter = self._listener.segmenter
        look = Look(0, segmenter.utterance, trigger is not None, segmenter.time, sure, trigger, eager, forced)
        if trigger is not None:
            segmenter.end_utterance()
        self._told = segmenter.time
        return look

    def _flush(self) -> Iterator[Step]:
        (pcm,) = self._reader.flush()
        yield from self._listener.hear(pcm)
        yield from self._listener.flush()

    def _force_end(self) -> list[Step]:
        steps = list(self._flush())
        segmenter = self._listener.segmenter
        sure = confidence(segmenter.silence) if segmenter.utterance is not None else 0.0
        return [*steps, self._look(sure, trigger="manual", forced=True)]

    def _tail(self) -> list[Step]:
        return [*self._flush(), self._look(0.0)]

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        assert isinstance(ask, Look)
        out: list[str] = []
        text = " ".join(word.text for word in words)
        if text and not self._open:
            self._open = True
            out.append(self._info("StartOfTurn", ask, words))
        elif self._open and self._eager_told and text != self._text_told:
            # The end of a turn has the text of the eager end, or that is taken back.
            self._eager_told = False
            out.append(self._info("TurnResumed", ask, words))
        if not self._open:
            if ask.forced:
                out.append(self._text("Warning", code="FORCE_END_TURN_NO_ACTIVE_TURN", description="no turn is open"))
            elif ask.trigger is None:
                out.append(self._info("Update", ask, words))
        elif ask.trigger is not None:
            out.append(self._info("EndOfTurn", ask, words, trigger=ask.trigger))
            self._turn += 1
            self._open = self._eager_told = False
            self._window = ask.end
        elif ask.eager and not self._eager_told:
            self._eager_told = True
            out.append(self._info("EagerEndOfTurn", ask, words))
        elif not out:
            out.append(self._info("Update", ask, words))
        self._text_told = text
        return out

    def _info(self, event: str, look: Look, words: Sequence[HeardWord], **extra: str) -> str:
        return self._text(
            "TurnInfo",
            event=event,
            turn_index=self._turn,
            audio_window_start=round(self._window, 3),
            audio_window_end=round(look.end, 3),
            transcript=" ".join(word.text for word in words),
            words=[self._word(look, word) for word in words],
            end_of_turn_confidence=look.confidence,
            **extra,
        )

    def _word(self, look: Look, word: HeardWord) -> dict[str, Any]:
        assert look.utterance is not None
        start = max(self._window, look.utterance + word.start)
        end = max(start, look.utterance + word.end)
        return {
            "word": word.text,
            "confidence": round(word.confidence, 4),
            "start": round(start, 3),
            "end": round(end, 3),
        }


class FluxScript(FluxConnection):
    """One connection that a script answers; the answers to Finalize are those to ForceEndTurn."""

    channels = 0

    def __init__(
        self, script: Script, options: FluxOptions, request_id: str, *, idle_timeout: float | None = None
    ) -> None:
        super().__init__(options, request_id, idle_timeout=idle_timeout)
        self._play = script.open()
        self._own_greeting = script.has("Connected")

    def opening(self) -> list[Step]:
        return [] if self._own_greeting else super().opening()

    @property
    def idle_timeout(self) -> float:
        return min(self._play.patience, super().idle_timeout)

    def wait(self, seconds: float) -> list[Step]:
        return self._play.wait(seconds) + super().wait(seconds)

    def _hear(self, audio: bytes) -> list[Step]:
        return self._play.hear(self._bytes // self._options.audio.frame_bytes / self._options.audio.sample_rate)

    def _force_end(self) -> list[Step]:
        return self._play.finalize()

    def _tail(self) -> list[Step]:
        return self._play.tail()

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("a script asks no recogniser")
