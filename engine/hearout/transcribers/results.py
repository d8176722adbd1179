"""What a transcriber behind a framework has said, as traces of bots have it: its words where they were laid.

A framework gives text, seldom times, and no message of the transcriber's own. What a turn machine is told of it is
written down as it is (`message_of`), and read again to the last digit: a replay decides what was decided then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hearout.errors import UsageError
from hearout.fields import field_of, object_in, refuse, shown, speaker_of, time_of
from hearout.transcribers.base import Heard, ProviderNews, WireMessage
from hearout_policies.signals import ProviderSpeechStarted, ProviderTurn, Signal, Transcript, UtteranceEnd, Word

__all__ = ["Results", "message_of"]

_NAME = "results"
_TURNS = {f"turn_{kind}": kind for kind in ("started", "eager_end", "resumed", "ended")}


class Results:
    """The dialect of such traces; there is nothing to connect to."""

    name: str = _NAME
    sample_rate: int = 16000
    keepalive_after: float | None = None
    longest: float | None = None
    silence_after: float | None = None
    shareable = True

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels

    def address(self) -> str:
        raise UsageError(f"{_NAME}: this is what traces of bots have; there is nothing to connect to")

    def headers(self) -> list[tuple[str, str]]:
        return []

    def opening(self) -> Sequence[WireMessage]:
        return ()

    def audio(self, pcm: bytes) -> WireMessage:
        return pcm

    def finalize(self, channel: int | None = None) -> WireMessage | None:
        """None: whether the transcriber is asked for its last words is the framework's affair."""
        return None

    def keepalive(self) -> WireMessage | None:
        return None

    def closing(self) -> WireMessage:
        return ""

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `hearout.transcribers.base.Dialect.decode`."""
        data = object_in(message, _NAME)
        channel = field_of(data, "channel", int, 0)
        if not 0 <= channel < self.channels:
            raise ValueError(f"channel {shown(channel)} does not exist; there are {self.channels}")
        signal: Signal
        match data.get("type"):
            case "interim" | "final" as kind:
                signal = _transcript(data, at, offset, is_final=kind == "final")
            case "speech_started":
                signal = ProviderSpeechStarted(at, time_of(data, "audio") + offset)
            case "utterance_end":
                last = None if data.get("last_word_end") is None else time_of(data, "last_word_end") + offset
                signal = UtteranceEnd(at, last)
            case str(kind) if kind in _TURNS:
                signal = ProviderTurn(at, _TURNS[kind], time_of(data, "audio") + offset)  # type: ignore[arg-type]
            case str():
                return []
            case other:
                raise ValueError(f'"type" must be a string, not {shown(other)}')
        return [Heard(channel, signal)]


def _transcript(data: dict[str, Any], at: float, offset: float, *, is_final: bool) -> Transcript:
    start, end = time_of(data, "start") + offset, time_of(data, "end") + offset
    if end < start:
        raise ValueError(f"a result ends at {end}, before it starts at {start}")
    return Transcript(
        at=at,
        words=tuple(_word(item, offset) for item in field_of(data, "words", list, [])),
        start=start,
        end=end,
        is_final=is_final,
        endpoint=is_final and field_of(data, "endpoint", bool, False),
        finalized=is_final and field_of(data, "finalized", bool, False),
        timed=field_of(data, "timed", bool, False),
    )


def _word(item: object, offset: float) -> Word:
    if not isinstance(item, dict):
        refuse(f'"words" must hold objects, not {shown(item)}')
    start, end = time_of(item, "start"), time_of(item, "end")
    if end < start:
        raise ValueError(f"a word ends at {end}, before it starts at {start}")
    text = field_of(item, "text", str, "")
    return Word(text, start + offset, end + offset, field_of(item, "spaced", bool, True), speaker_of(item))


def message_of(signal: Signal) -> dict[str, Any] | None:
    """What a trace has for a signal of the transcriber; None: it is none of these."""
    match signal:
        case Transcript():
            flags = {name: True for name in ("endpoint", "finalized", "timed") if getattr(signal, name)}
            span = {"start": signal.start, "end": signal.end}
            words = [_word_record(word) for word in signal.words]
            return {"type": "final" if signal.is_final else "interim", **span, "words": words, **flags}
        case ProviderSpeechStarted(audio=audio):
            return {"type": "speech_started", "audio": audio}
        case UtteranceEnd(last_word_end=audio):
            return {"type": "utterance_end", "last_word_end": audio}
        case ProviderTurn(kind=kind, audio=audio):
            return {"type": f"turn_{kind}", "audio": audio}
    return None


def _word_record(word: Word) -> dict[str, Any]:
    record: dict[str, Any] = {"text": word.text, "start": word.start, "end": word.end}
    if not word.spaced:
        record["spaced"] = False
    if word.speaker is not None:
        record["speaker"] = word.speaker
    return record
