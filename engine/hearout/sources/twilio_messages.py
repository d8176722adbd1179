"""The messages of Twilio Media Streams, without a socket: text in, audio and events out; and what a bot says back.

Rules and examples: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hearout.audio import AudioFormat, Decoder
from hearout.fields import field_of, object_in
from hearout.serving import ProtocolError
from hearout.sources.alignment import Alignment, Resequencer
from hearout.writing import shown

__all__ = [
    "SAMPLE_RATE",
    "Dtmf",
    "Mark",
    "Start",
    "TwilioStream",
    "clear_message",
    "mark_message",
    "media_message",
    "to_mulaw",
]

_log = logging.getLogger(__name__)

SAMPLE_RATE = 8000  # Hz: Twilio has no other
_ORDER = ("inbound", "outbound")
_FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE, "channels": 1}
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Start:
    """A stream begins.

    Attributes:
        tracks: what it has, in the order of the channels: ``inbound`` (the caller) before ``outbound``.
        parameters: what the TwiML gave in ``<Parameter>``.
    """

    stream_sid: str
    call_sid: str
    account_sid: str
    tracks: tuple[str, ...]
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key: 0 to 9, ``*``, ``#``, A to D."""

    digit: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What was sent before the mark of this name has been played, or cleared."""

    name: str


TwilioEvent = Start | Dtmf | Mark


class TwilioStream:
    """One stream: feed it every message, in the order in which they come.

    Messages are brought into the order of ``sequenceNumber``, audio to the place that ``timestamp`` gives it; what
    never comes is silence (`Alignment`, `Resequencer`). Events of a kind that is not known are ignored.
    """

    def __init__(self) -> None:
        self.ended = False
        self.start: Start | None = None
        self._decoder = Decoder(AudioFormat("mulaw", SAMPLE_RATE, 1))
        self._order: Resequencer[dict[str, Any]] = Resequencer()
        self._alignment = Alignment(1, SAMPLE_RATE)
        self._before_error: list[bytes | TwilioEvent] = []  # in the same message

    @property
    def filled(self) -> float:
        """Seconds of silence put in for audio that did not come."""
        return self._alignment.filled

    @property
    def dropped(self) -> int:
        """Messages that came twice, or too late."""
        return self._order.dropped

    def receive(self, message: str | bytes) -> list[bytes | TwilioEvent]:
        """What is in a message: audio is linear16 at 8 kHz, interleaved, a channel for each track.

        Raises:
            ProtocolError: Twilio would not have sent it.
        """
        data = _parsed(message)
        if self.ended:
            return []
        if data.get("event") == "stop":  # the last one: nothing will fill the holes any more
            self.ended = True
            return self._play([*self._order.flush(), data])
        return self._play(self._order.push(_number(data.get("sequenceNumber")), data, hash(message)))

    def finish(self) -> list[bytes | TwilioEvent]:
        """What was held back, when no message will come any more."""
        out, self._before_error = self._before_error, []
        for item in self._order.flush():
            with suppress(ProtocolError):  # after an error another one says nothing new
                out += self._play([item])
        if audio := self._alignment.take(last=True):
            out.append(audio)
        if self.dropped:
            _log.warning("%d message(s) of a call came twice or too late, and were dropped", self.dropped)
        return out

    def _play(self, items: Iterable[Mapping[str, Any]]) -> list[bytes | TwilioEvent]:
        """Audio and events of messages in their order."""
        out: list[bytes | TwilioEvent] = []
        for item in items:
            try:
                event = self._read(item)
            except ProtocolError:
                self._before_error = out
                raise
            if event is not None:
                out += [event] if not (audio := self._alignment.take()) else [audio, event]
        if audio := self._alignment.take():
            out.append(audio)
        return out

    def _read(self, item: Mapping[str, Any]) -> TwilioEvent | None:
        match item.get("event"):
            case "start":
                return self._begin(item)
            case "media":
                self._hear(_part(item, "media"))
            case "dtmf":
                return Dtmf(_text(_part(item, "dtmf"), "digit", "dtmf"))
            case "mark":
                return Mark(_text(_part(item, "mark"), "name", "mark"))
        return None

    def _begin(self, item: Mapping[str, Any]) -> Start:
        if self.start is not None:
            raise ProtocolError("a second start message on one connection", 1002)
        start = _part(item, "start")
        stated = start.get("mediaFormat")
        if not isinstance(stated, dict) or {key: stated.get(key) for key in _FORMAT} != _FORMAT:
            raise ProtocolError(f"mediaFormat is {shown(stated)}: it must be audio/x-mulaw, 8000 Hz, 1 channel", 1003)
        tracks = start.get("tracks")
        if not isinstance(tracks, list) or not tracks or not all(track in _ORDER for track in tracks):
            raise ProtocolError(f"tracks is {shown(tracks)}: there are inbound and outbound")
        parameters = start.get("customParameters")
        self.start = Start(
            _text(start if "streamSid" in start else item, "streamSid", "start"),
            str(start.get("callSid", "")),
            str(start.get("accountSid", "")),
            tuple(track for track in _ORDER if track in tracks),
            {str(key): str(value) for key, value in parameters.items()} if isinstance(parameters, dict) else {},
        )
        self._alignment = Alignment(len(self.start.tracks), SAMPLE_RATE)
        return self.start

    def _hear(self, media: Mapping[str, Any]) -> None:
        if self.start is None:
            raise ProtocolError("a media message before the start message", 1002)
        track = media.get("track", self.start.tracks[0])
        if track not in self.start.tracks:
            raise ProtocolError(
                f"media of track {shown(track)}: the start message named {', '.join(self.start.tracks)}"
            )
        try:
            payload = base64.b64decode(_text(media, "payload", "media"), validate=True)
        except (binascii.Error, ValueError):
            raise ProtocolError("the payload of a media message is not base64") from None
        timestamp = _number(media.get("timestamp"))
        samples = self._decoder.feed(payload)[:, 0]
        seconds = None if timestamp is None else timestamp / 1000
        if samples.size:
            self._alignment.add(self.start.tracks.index(track), seconds, samples)


def media_message(stream_sid: str, mulaw: bytes) -> str:
    """Audio for the caller: mulaw at 8 kHz, any length. Twilio plays what it gets one after the other."""
    return _encoded("media", stream_sid, media={"payload": base64.b64encode(mulaw).decode()})


def mark_message(stream_sid: str, name: str) -> str:
    """Twilio sends the mark back when all audio before it has been played, or was cleared."""
    return _encoded("mark", stream_sid, mark={"name": name})


def clear_message(stream_sid: str) -> str:
    """Drop all audio that has not been played yet: the user has interrupted."""
    return _encoded("clear", stream_sid)


def _encoded(event: str, stream_sid: str, **more: Any) -> str:
    return json.dumps({"event": event, "streamSid": stream_sid, **more})


def _parsed(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        raise ProtocolError("a binary message: Twilio Media Streams are text", 1003)
    try:
        data = object_in(message, "Twilio")
        if field_of(data, "event", str, None) is None:
            raise ProtocolError(f"no event in {shown(message)}: is this Twilio?")
    except ValueError as error:
        raise ProtocolError(f"{error}: is this Twilio?") from None
    return data


def _part(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part: Mapping[str, Any] = _field(item, name, dict, name)
    return part


def _text(part: Mapping[str, Any], name: str, event: str) -> str:
    text: str = _field(part, name, str, event)
    return text


def _field(part: Mapping[str, Any], name: str, kind: type, event: str) -> Any:
    try:
        value = field_of(part, name, kind, None)
    except ValueError as error:
        raise ProtocolError(f"a {event} message: {error}") from None
    if value is None:
        raise ProtocolError(f"a {event} message without {name}")
    return value


def _number(value: Any) -> int | None:
    """Twilio sends its numbers as text. What is none is as good as missing."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS:
        return int(value)
    return value if type(value) is int and 0 <= value < 10**_MOST_DIGITS else None


def _mulaw_table() -> bytes:
    # For each linear16 value the nearest of the 256 that mulaw has (ITU-T G.711).
    values = Decoder(AudioFormat("mulaw", SAMPLE_RATE, 1)).feed(bytes(range(256)))[:, 0].astype(int)
    order = np.argsort(values, kind="stable")
    middles = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(middles, np.arange(-32768, 32768))].astype(np.uint8).tobytes()


_MULAW = np.frombuffer(_mulaw_table(), np.uint8)


def to_mulaw(pcm: bytes) -> bytes:
    """linear16 (little-endian) as mulaw, for speech that is synthesised as linear16 at 8 kHz."""
    mulaw: npt.NDArray[np.uint8] = _MULAW[np.frombuffer(pcm, "<i2").astype(int) + 32768]
    return mulaw.tobytes()
