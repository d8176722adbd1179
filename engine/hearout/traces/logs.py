"""Logs of what Deepgram has sent, one JSON object a line with a time each (`hearout.traces.log_lines`), as traces.

A log may be of several calls. A connection is a ``request_id``, or, where results name none, what comes until their
audio begins anew. Whether the next one is the same call, whose connection was made again, or another one is told by
what was before: see `deepgram_log`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from hearout.errors import UsageError
from hearout.link.settings import LinkSettings
from hearout.traces.log_lines import LONGEST_CALL, LogLine, log_line
from hearout.traces.records import Header
from hearout.transcribers.deepgram import Deepgram
from hearout.writing import counted

__all__ = ["Log", "LoggedCall", "deepgram_log"]

# Seconds for which a bot may try to get a lost connection back: ours does for as long.
_AGAIN = LinkSettings().budget
_ROUNDED = 0.05  # seconds by which a result may begin before the one before it, and the audio has not begun anew
_DIGITS = 6  # of a time in seconds


@dataclass
class _Connection:
    """One stream of audio to Deepgram.

    Attributes:
        first, last: when the first and the last message came that named it.
        began: when its audio began, at the latest: a result comes after what it speaks of.
        lines: all that belongs to it, in order.
    """

    first: float
    last: float = -math.inf
    began: float = math.inf
    lines: list[LogLine] = field(default_factory=list)

    @property
    def held_back(self) -> float:
        """By how much more the last results are late."""
        late = [line.moment.seconds - line.end for line in self.lines if line.start is not None]
        return min(late[-3:]) - self.began

    @property
    def over(self) -> bool:
        """It was ended, not lost."""
        return any(line.last for line in self.lines)


@dataclass(frozen=True)
class LoggedCall:
    """A call of a log.

    Attributes:
        started: when its audio began, as ISO 8601, by the clock of the log; empty: the log does not say the date.
        again: how often the connection was made again.
        held_back: seconds by which the last results are later than others: audio was not sent (a caller who is muted),
            or the connection was slow. So much are the delays in it too long.
    """

    started: str
    channels: int
    _connections: Sequence[_Connection]

    @property
    def again(self) -> int:
        return len(self._connections) - 1

    @property
    def held_back(self) -> float:
        return max(connection.held_back for connection in self._connections)

    @property
    def tells_of_agent(self) -> bool:
        """When it spoke: by a line, or in a channel of its own."""
        own = (line.own or {} for connection in self._connections for line in connection.lines)
        return self.channels > 1 or any(one.get("agent") in ("started", "stopped") for one in own)

    def header(self, source: str, caller: str = "") -> Header:
        """Line 1 of its trace."""
        return Header(Deepgram.name, self.channels, False, None, source, self.started, caller)

    def records(self) -> Iterator[dict[str, Any]]:
        """The other lines."""
        first, now = self._connections[0].began, 0.0
        for number, connection in enumerate(self._connections):
            begun = number == 0
            for line in connection.lines:
                now = max(now, line.moment.seconds - first)
                at = round(now, _DIGITS)
                if not begun and line.own is None:
                    audio = round(max(0.0, connection.began - first), _DIGITS)
                    yield {"t": at, "link": "lost"}
                    yield {"t": at, "link": "restored", "audio": audio, "speed": None}
                    begun = True
                if line.message is not None:
                    yield {"t": at, "stt": json.loads(line.message)}
                elif line.own is not None:
                    known = line.own.get("channel", 0) < self.channels
                    yield {"t": at} | {key: value for key, value in line.own.items() if known or key != "channel"}
        if self._connections[-1].over:
            yield {"t": round(now, _DIGITS), "end": True}


@dataclass(frozen=True)
class Log:
    """What was in a log.

    Attributes:
        calls: in order of their beginnings.
        skipped: a line for people on each kind of what was left out, with how much of it there was.
    """

    calls: Sequence[LoggedCall]
    skipped: Sequence[str]


def deepgram_log(log: Iterable[str], name: str) -> Log:
    """The calls that are in a log.

    The log does not say when the audio began: the quickest result is taken to have come at once, so that all latencies
    are too short by as much as that one took. There is no voice detection in it. Lines with ``"agent"`` or ``"bot"``,
    as a trace has them, are taken over.

    A connection is another call if the one before was ended (Metadata, CloseStream), or if it brings something only
    after a minute; else it is the connection of the same call, made again. Lines that name none belong to the one
    around them, or, between two, to the nearer. Where connections were up at the same time each is a call, and lines
    that name none are left out.

    Args:
        log: its lines.
        name: of the log, for messages.

    Raises:
        UsageError: there is no result in it that can be read.
    """
    read, skipped = _read(log)
    result = next((line for line in read if line.start is not None), None)
    if result is None:
        wanted = "no message with a start and a duration (Flux's, TurnInfo, are not read)"
        first = f"; {skipped[0]}" if skipped else ""
        raise UsageError(f"{name}: there is no result of Deepgram in it: {wanted}{first}")
    same = [line for line in read if line.moment.dated == result.moment.dated]
    if len(same) < len(read):
        skipped.append(f"{counted(len(read) - len(same), 'line')} with the time of another clock")
    lines = _named(sorted(same, key=lambda line: line.moment.seconds))
    connections, together = _connections(lines)
    if together and (homeless := sum(line.request is None for line in lines)):
        skipped.append(f"{counted(homeless, 'line')} without a request_id, where several calls were at the same time")
    groups = _calls(connections, together)
    calls = [_call(group) for group in groups if _lasted(group) < LONGEST_CALL]
    if len(calls) < len(groups):
        longest = max(map(_lasted, groups)) / 86_400
        wrong = counted(len(groups) - len(calls), "call")
        skipped.append(f"{wrong} of up to {longest:.0f} days, by times that cannot be")
    if not calls:
        raise UsageError(f"{name}: {skipped[-1]}")
    return Log(tuple(calls), tuple(skipped))


def _read(lines: Iterable[str]) -> tuple[list[LogLine], list[str]]:
    """The lines that can be read, and what there is to say of the others."""
    read: list[LogLine] = []
    wrong: list[str] = []
    others = 0
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = log_line(text)
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            continue
        if line is None:
            others += 1
        else:
            read.append(line)
    skipped = []
    if wrong:
        which = "that cannot be read" + (", the first" if len(wrong) > 1 else "")
        skipped.append(f"{counted(len(wrong), 'line')} {which}: {wrong[0]}")
    if others:
        skipped.append(f"{counted(others, 'line')} about other things")
    return read, skipped


def _named(lines: Sequence[LogLine]) -> list[LogLine]:
    """Lines with the connection of each, or None; where no result names one, by where the audio begins anew."""
    out: list[LogLine] = []
    known = {line.request for line in lines if line.start is not None} - {None}
    reached: dict[int, float] = {}  # by channel
    ends: set[float] = set()
    number = 0
    for line in lines:
        if line.start is not None and not known:
            # What is delivered twice, corrected perhaps, ends where it did.
            if line.start < reached.get(line.channel, 0.0) - _ROUNDED and line.end not in ends:
                number += 1
                reached.clear()
                ends.clear()
            ends.add(line.end)
            reached[line.channel] = max(line.next, reached.get(line.channel, 0.0))
            line = replace(line, request=f"{number}. without a name")
        elif line.request not in known:
            line = replace(line, request=None)  # a request of another server's
        out.append(line)
    return out


def _connections(lines: Sequence[LogLine]) -> tuple[list[_Connection], bool]:
    """All connections, in order, with their lines; and whether several were up at a time."""
    found: dict[str, _Connection] = {}
    for line in lines:
        if line.request is not None:
            at = line.moment.seconds
            connection = found.setdefault(line.request, _Connection(at))
            connection.last = at
            if line.start is not None:
                connection.began = min(connection.began, at - line.end)
    together = any(one.last >= other.first for one, other in pairwise(found.values()))
    current: _Connection | None = None
    between: list[LogLine] = []
    for line in lines:
        if line.request is not None:
            connection = found[line.request]
            if current is not None and connection is not current:
                border = _border(between, current.last, connection.began)
                current.lines += between[:border]
                between = between[border:]
            connection.lines += [*between, line]
            current, between = connection, []
        elif not together:
            between.append(line)
    if current is not None:
        current.lines += between
    return list(found.values()), together


def _border(lines: Sequence[LogLine], last: float, began: float) -> int:
    """How many lines between two connections belong to the first: up to its end, or the longest time without any.

    Args:
        last: when the last message of the first came.
        began: when the audio of the second began.
    """
    before = [line for line in lines if line.moment.seconds < began]
    over = [number for number, line in enumerate(before, 1) if line.last]
    if over:
        return over[-1]
    times = [last, *(line.moment.seconds for line in before), began]
    return max(range(len(times) - 1), key=lambda number: times[number + 1] - times[number])


def _calls(connections: Sequence[_Connection], together: bool) -> list[list[_Connection]]:
    """The connections of each call."""
    calls: list[list[_Connection]] = []
    for connection in connections:
        before = calls[-1][-1] if calls else None
        if before is None or together or before.over or connection.first - before.last > _AGAIN:
            calls.append([])
        calls[-1].append(connection)
    return calls


def _lasted(connections: Sequence[_Connection]) -> float:
    times = [line.moment.seconds for connection in connections for line in connection.lines]
    return max(times) - min(times)


def _call(connections: Sequence[_Connection]) -> LoggedCall:
    lines = [line for connection in connections for line in connection.lines if line.message is not None]
    moment = next(line.moment for line in lines if line.start is not None)
    began = datetime.fromtimestamp(connections[0].began, moment.zone).isoformat(timespec="milliseconds")
    return LoggedCall(began if moment.dated else "", max(line.channels for line in lines), connections)
