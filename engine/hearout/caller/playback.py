"""What a bot says on a telephone line, as Twilio plays it: without a socket and without a clock."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import numpy.typing as npt

from hearout.audio import AudioFormat, Decoder
from hearout.errors import SessionError
from hearout.fields import field_of, object_in
from hearout.sources.twilio_messages import SAMPLE_RATE
from hearout.writing import shown

__all__ = ["Playback"]


class Playback:
    """Audio is played one after the other, each piece when those before it are over; ``clear`` drops what is left.

    All moments are seconds since the call began.

    Attributes:
        until: when the audio so far will have been played.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self._decoder = Decoder(AudioFormat("mulaw", SAMPLE_RATE, 1))
        self._pieces: list[tuple[float, npt.NDArray[np.int16]]] = []
        self._marks: list[tuple[float, str]] = []

    def receive(self, now: float, message: str | bytes) -> str | None:
        """Do what a message of the bot's says; what that was, in words, if it is worth a line.

        Raises:
            SessionError: Twilio would not take it.
        """
        if isinstance(message, bytes):
            raise SessionError("the bot sent a binary message: Twilio takes text")
        try:
            data = object_in(message, "the bot")
            match field_of(data, "event", str, None):
                case "media":
                    return self._media(now, _part(data, "media", "payload"))
                case "mark":
                    self._marks.append((max(now, self.until), _part(data, "mark", "name")))
                    return None
                case "clear":
                    return self._clear(now)
                case None:
                    hint = "call plays to what takes Twilio's Media Streams, which hearout serve does not"
                    raise SessionError(f"the bot sent no event: {shown(message, 80)}; {hint}")
                case other:
                    raise SessionError(f"the bot sent an event that Twilio does not know: {shown(other)}")
        except ValueError as error:
            raise SessionError(f"the bot sent what Twilio would not take: {error}") from None

    def _media(self, now: float, payload: str) -> str | None:
        try:
            mulaw = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise SessionError("the bot sent a media message whose payload is not base64") from None
        starts = now >= self.until
        begin = max(now, self.until)
        samples = self._decoder.feed(mulaw)[:, 0]
        self._pieces.append((begin, samples))
        self.until = begin + len(samples) / SAMPLE_RATE
        return "the bot speaks" if starts and len(samples) else None

    def _clear(self, now: float) -> str:
        left = max(0.0, self.until - now)
        kept = [(begin, samples[: max(0, round((now - begin) * SAMPLE_RATE))]) for begin, samples in self._pieces]
        self._pieces = [piece for piece in kept if len(piece[1])]
        self._marks = [(min(due, now), name) for due, name in self._marks]
        self.until = min(self.until, now)
        return f"the bot stops: {left:.2f} s of its speech are not played"

    def reached(self, now: float) -> list[str]:
        """The marks that are due, each once: all before them has been played, or dropped."""
        names = [name for due, name in self._marks if due <= now]
        self._marks = [mark for mark in self._marks if mark[0] > now]
        return names

    def heard(self, seconds: float) -> bytes:
        """What the caller has heard of the bot in a call of that length: linear16 at 8 kHz."""
        line = np.zeros(round(seconds * SAMPLE_RATE), "<i2")
        for begin, samples in self._pieces:
            at = round(begin * SAMPLE_RATE)
            part = samples[: max(0, len(line) - at)]
            line[at : at + len(part)] = part
        return line.tobytes()


def _part(data: dict[str, Any], event: str, name: str) -> str:
    part = field_of(data, event, dict, None)
    value: str | None = field_of(part, name, str, None) if part is not None else None
    if value is None:
        raise ValueError(f"a {event} message without {name}")
    return value
