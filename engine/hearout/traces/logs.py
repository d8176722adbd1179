"""Logs of what Deepgram has sent, one JSON object a line with a time each, as traces.

A line is a message with a time among its keys, or an object with a time and the message in it. The time is a number
(seconds, or milliseconds, since 1970 or any other moment) or a text as in ISO 8601.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hearout.errors import UsageError
from hearout.fields import is_number, object_of, refuse, shown
from hearout.traces.records import Header
from hearout.transcribers.deepgram import Deepgram
from hearout.writing import printable

__all__ = ["deepgram_log"]

_TIMES = ("timestamp", "time", "ts", "t", "received_at", "created_at", "@timestamp", "datetime")
_INSIDE = ("message", "data", "payload", "response", "msg", "event", "stt")
_SPEECH_STARTED = "SpeechStarted"
_MESSAGES = ("Results", "UtteranceEnd", _SPEECH_STARTED)
_MILLISECONDS = 1e11  # what is more is a number of milliseconds: in seconds it were the year 5138
_BOT = ("bot", "agent")


@dataclass(frozen=True, slots=True)
class _Line:
    """At ``time``, seconds since whenever, there was a message of Deepgram, or something of the bot's."""

    time: float
    message: Mapping[str, Any] | None
    bot: Mapping[str, Any]

    @property
    def request(self) -> str | None:
        """The connection it came on, if it says so."""
        metadata = self.message.get("metadata") if self.message else None
        request = metadata.get("request_id") if isinstance(metadata, dict) else None
        return request if isinstance(request, str) else None

    @property
    def began(self) -> float:
        """When the audio of the connection began at the earliest: its results come after what they speak of."""
        start, duration = (self.message or {}).get("start"), (self.message or {}).get("duration")
        known = is_number(start) and is_number(duration)
        return self.time - start - duration if known else math.inf  # type: ignore[operator]


def deepgram_log(lines: Iterable[str], name: str) -> tuple[Header, list[dict[str, Any]]]:
    """Header and lines of the trace that a log of one call is.

    The log does not say when the audio began: the quickest result is taken to have come at once, so that all latencies
    are too short by as much as that one took. There is no voice detection in it. Each new ``request_id`` is a
    connection that was made again. Lines with ``"agent"`` or ``"bot"``, as a trace has them, are taken over.

    Raises:
        UsageError: a line is not JSON, or has no time; there is no result; or there are several calls.
    """
    read = []
    for number, text in enumerate(lines, 1):
        if text.strip():
            try:
                line = _line(object_of(text))
            except ValueError as error:
                raise UsageError(f"{name}:{number}: {error}") from None
            if line is not None:
                read.append(line)
    read.sort(key=lambda line: line.time)
    began: dict[str | None, float] = {}
    current: str | None = None
    placed = []
    for line in read:
        if line.request is not None and line.request in began and line.request != current:
            both = f"{printable(str(line.request), 40)} and {printable(str(current), 40)}"
            raise UsageError(f"{name}: connections at the same time, {both}: import a log of one call each")
        current = line.request or current
        began[current] = min(began.get(current, math.inf), line.began)
        placed.append((current, line))
    first = next((at for at in began.values() if at < math.inf), None)
    if first is None:
        wanted = "no message with a start and a duration (Flux's, TurnInfo, are not read)"
        raise UsageError(f"{name}: there is no result of Deepgram in it: {wanted}")
    return Header(Deepgram.name, _channels(read), vad=False, source=f"a log, {name}"), _records(placed, began, first)


def _records(
    placed: list[tuple[str | None, _Line]], began: Mapping[str | None, float], first: float
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    connection: str | None = None
    now = 0.0
    for request, line in placed:
        now = max(now, line.time - first)
        if request != connection and began[request] < math.inf:
            if connection is not None:
                restored = {"link": "restored", "audio": max(0.0, began[request] - first), "speed": None}
                out += [{"t": now, "link": "lost"}, {"t": now, **restored}]
            connection = request
        if line.message is not None:
            out.append({"t": now, "stt": dict(line.message)})
        else:
            out.append({"t": now, **line.bot})
    return out


def _line(data: Mapping[str, Any]) -> _Line | None:
    """None: it is about something else."""
    message = _message(data)
    bot = {key: data[key] for key in (*_BOT, "text") if key in data}
    if message is None and not any(key in bot for key in _BOT):
        return None
    key = next((key for key in _TIMES if key in data and not _of_audio(data, key)), None)
    if key is None:
        if data.get("type") == _SPEECH_STARTED:
            return None  # its own "timestamp" stands where that of the line was; a hint is no loss
        refuse(f"no time: it must be in one of {', '.join(_TIMES)}")
    return _Line(_seconds(key, data[key]), message, bot)


def _message(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if data.get("type", "Results" if "channel_index" in data else None) in _MESSAGES:
        return {key: value for key, value in data.items() if key not in _TIMES or _of_audio(data, key)}
    for key in _INSIDE:
        inner = data.get(key)
        if isinstance(inner, str) and inner.lstrip().startswith("{"):
            try:
                inner = json.loads(inner)
            except (ValueError, RecursionError):
                continue
        if isinstance(inner, dict) and (found := _message(inner)) is not None:
            return found
    return None


def _of_audio(data: Mapping[str, Any], key: str) -> bool:
    """It is no time of the line: Deepgram says by it where in the audio speech began."""
    return key == "timestamp" and data.get("type") == _SPEECH_STARTED


def _seconds(key: str, value: object) -> float:
    if is_number(value) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value) / (1000.0 if value > _MILLISECONDS else 1.0)  # type: ignore[arg-type, operator]
    try:
        return datetime.fromisoformat(value).timestamp()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        wanted = "a number of seconds or milliseconds, or a time like 2026-05-01T12:00:00.123Z"
        raise ValueError(f'"{key}" must be {wanted}, not {shown(value)}') from None


def _channels(lines: Iterable[_Line]) -> int:
    counts = [1]
    for line in lines:
        index = line.message.get("channel_index") if line.message else None
        if isinstance(index, list) and len(index) == 2 and type(index[1]) is int:
            counts.append(index[1])
    return max(counts)
