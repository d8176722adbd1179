"""One line of a log of what Deepgram has sent: the message in it, and when it came.

A line is a JSON object: a message with a time among its keys, or an object with a time in which the message is,
however deep, as object or text. The time is a number (seconds, milliseconds and so on, since 1970 or any other moment)
or a text as in ISO 8601.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeGuard

from hearout.fields import is_number, object_of, refuse, shown

__all__ = ["LONGEST_CALL", "LogLine", "LogTime", "log_line"]

LONGEST_CALL = 1e6  # seconds: no stream lasts for twelve days

_TIMES = ("timestamp", "time", "ts", "t", "received_at", "created_at", "@timestamp", "datetime", "asctime")
_SPEECH_STARTED = "SpeechStarted"
_MESSAGES = ("Results", "UtteranceEnd", _SPEECH_STARTED, "Error")
_LAST = ("Metadata", "CloseStream")  # what Deepgram sends when a stream is over, and what asks for it
_AGENT, _BOT = ("started", "stopped", "said"), ("committed", "interrupted")
_MOST_CHANNELS = 32  # as many as a session may have
_DEEPEST = 8  # objects around a message

_SINCE_1970 = 1e9  # seconds: 2001. No computer runs for so long
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # what is more than this is so many in a second
_LATEST = 1e11  # seconds: year 5138


@dataclass(frozen=True, slots=True)
class LogTime:
    """``seconds`` since whenever.

    Attributes:
        dated: since 1970.
        zone: whose clock the log has; None: that of this machine.
    """

    seconds: float
    dated: bool
    zone: tzinfo | None = UTC


@dataclass(frozen=True, slots=True)
class LogLine:
    """What came when.

    Attributes:
        message: of Deepgram, as JSON; or None.
        own: what the bot did, as a trace has it; or None.
        request: the connection that is named in it, if one is.
        start, end: it is a result, of this stretch of audio.
        next: where the next one of the channel will begin, at the earliest.
        last: none of the connection follows.
    """

    moment: LogTime
    message: str | None = None
    own: Mapping[str, Any] | None = None
    request: str | None = None
    start: float | None = None
    end: float = 0.0
    next: float = 0.0
    channel: int = 0
    channels: int = 1
    last: bool = False


def log_line(text: str) -> LogLine | None:
    """Read a line; None: it is about something else.

    Raises:
        ValueError: it cannot be read.
    """
    outermost = object_of(text)
    found = next((chain for chain in _chains(outermost) if _is_meant(chain[-1])), None)
    if found is None:
        if any(isinstance(outermost.get(key), str) for key in ("agent", "bot")):
            _own(outermost)  # which refuses it
        return None
    around = found[::-1]  # the innermost time counts
    data = around[0]
    if data.get("type") == _SPEECH_STARTED and not any(_times(one) for one in around):
        return None  # its own "timestamp" stands where that of the line was; a hint is no loss
    return _line(_moment(around), around, data)


def _chains(
    data: Mapping[str, Any], above: tuple[Mapping[str, Any], ...] = ()
) -> Iterator[tuple[Mapping[str, Any], ...]]:
    """An object and all in it, each behind those that it is in."""
    chain = (*above, data)
    yield chain
    if _is_meant(data) or len(chain) > _DEEPEST:
        return
    for inner in data.values():
        if isinstance(inner, str) and inner.lstrip().startswith("{"):
            try:
                inner = json.loads(inner)
            except (ValueError, RecursionError):
                continue
        if isinstance(inner, dict):
            yield from _chains(inner, chain)


def _kind(data: Mapping[str, Any]) -> object:
    # Models from before 2022 sent results without a type. Many a log has errors that are none of Deepgram's.
    kind = data.get("type", "Results" if "channel_index" in data else None)
    return None if kind == "Error" and "variant" not in data else kind


def _is_meant(data: Mapping[str, Any]) -> bool:
    return _kind(data) in (*_MESSAGES, *_LAST) or data.get("agent") in _AGENT or data.get("bot") in _BOT


def _line(moment: LogTime, around: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> LogLine:
    kind = _kind(data)
    metadata = data.get("metadata")
    named = [one.get("request_id") for one in (metadata, *around) if isinstance(one, dict)]
    request = next((name for name in named if isinstance(name, str)), None)
    if kind in _LAST:
        return LogLine(moment, request=request, last=True)
    if kind not in _MESSAGES:
        return LogLine(moment, own=_own(data), request=request)
    channel, channels = _channel(data.get("channel_index", data.get("channel")))
    start, duration = _number(data.get("start")), _number(data.get("duration"))
    if kind != "Results" or not _is_of_stream(start) or not _is_of_stream(duration):
        start, end = None, 0.0
    else:
        end = start + duration
    following = end if data.get("is_final") else start or 0.0
    message = {key: value for key, value in data.items() if key not in _times(data)}
    text = json.dumps(message, ensure_ascii=False)
    return LogLine(moment, text, None, request, start, end, following, channel, channels)


def _channel(index: object) -> tuple[int, int]:
    """Which of how many."""
    if not (isinstance(index, list) and len(index) == 2 and all(type(number) is int for number in index)):
        return 0, 1
    if not 0 <= index[0] < index[1] <= _MOST_CHANNELS:
        refuse(f"there is no channel {shown(index)}")
    return index[0], index[1]


def _own(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the bot did."""
    key, values = ("agent", _AGENT) if "agent" in data else ("bot", _BOT)
    if data[key] not in values:
        refuse(f'"{key}" must be {", ".join(values)}, not {shown(data[key])}')
    own = {key: data[key]}
    if data[key] in ("said", "committed"):
        if not isinstance(data.get("text"), str):
            refuse(f'"{data[key]}" needs a "text"')
        own["text"] = data["text"]
    if type(data.get("channel")) is int and data["channel"] >= 0 and data[key] != "said":
        own["channel"] = data["channel"]
    return own


def _times(data: Mapping[str, Any]) -> list[str]:
    """The keys with the time of the line. Where speech began in the audio, which SpeechStarted says, is none."""
    return [key for key in _TIMES if key in data and (key != "timestamp" or data.get("type") != _SPEECH_STARTED)]


def _moment(around: Sequence[Mapping[str, Any]]) -> LogTime:
    given = [(key, one[key]) for one in around for key in _times(one)]
    found = next((moment for _, value in given if (moment := _read(value)) is not None), None)
    if not given:
        refuse(f"no time: it must be in one of {', '.join(_TIMES)}")
    if found is None:
        wanted = "a number of seconds or milliseconds, or a time like 2026-05-01T12:00:00.123Z"
        refuse(f'"{given[0][0]}" must be {wanted}, not {shown(given[0][1])}')
    return found


def _read(value: object) -> LogTime | None:
    if isinstance(value, dict):
        value = value.get("timestamp")  # of loguru
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value.strip())
            seconds = at.timestamp()
        except (ValueError, OverflowError, OSError):
            pass
        else:
            return LogTime(seconds, True, at.tzinfo) if 0 <= seconds < _LATEST else None
        try:
            value = float(value)
        except ValueError:
            return None
    number = _number(value)
    if number is None:
        return None
    seconds = number / next((unit for least, unit in _UNITS if number > least), 1.0)
    return LogTime(seconds, seconds > _SINCE_1970) if 0 <= seconds < _LATEST else None


def _is_of_stream(seconds: float | None) -> TypeGuard[float]:
    return seconds is not None and 0 <= seconds < LONGEST_CALL


def _number(value: object) -> float | None:
    return float(value) if is_number(value) and math.isfinite(value) else None  # type: ignore[arg-type]
