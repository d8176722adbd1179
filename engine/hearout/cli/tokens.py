"""What `hearout listen --show-tokens` prints: after each result what is final, and what is not yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hearout.cli.output import say
from hearout.session.recording import TraceWriter
from hearout.transcribers.base import Dialect, Heard
from hearout.transcribers.hearing import Hearing
from hearout_policies.signals import Transcript
from hearout_policies.words import Words, join

__all__ = ["Tee", "TokenListing"]


class TokenListing:
    """Three lines a result: all final words since the session began, the others in the last result, a rule.

    The latest transcript is the first line followed by the second. Takes the records of a trace, so that it
    sees the messages as the session does.

    Args:
        dialect: reads the messages; not the one of the session, as it remembers what it has read.
        show: prints a line.
    """

    def __init__(self, dialect: Dialect, show: Callable[[str], object] = say) -> None:
        self._hearing = Hearing(dialect)
        self._show = show
        self._words = [Words() for _ in range(dialect.channels)]
        self._shown: list[tuple[str, str] | None] = [None] * dialect.channels
        self._hearing.begin(0.0)

    def write(self, record: Mapping[str, Any]) -> None:
        """Take in one record: of what the transcriber said or was sent, or of a new connection; others say nothing."""
        if record.get("link") == "restored":
            self._hearing.begin(record["audio"])
        elif "sent" in record:
            self._hearing.sent(record["sent"])
        elif "stt" in record:
            self._hear(record["t"], record["stt"])

    def _hear(self, at: float, message: Mapping[str, Any]) -> None:
        try:
            news = self._hearing.hear(json.dumps(message), at, sent=at)
        except ValueError:
            return  # the link warns of it
        for item in news:
            if isinstance(item, Heard) and isinstance(item.signal, Transcript):
                self._words[item.channel].add(item.signal)
        for channel in sorted({item.channel for item in news if isinstance(item, Heard)}):
            self._print(channel)

    def _print(self, channel: int) -> None:
        words = self._words[channel]
        lines = join(words.finals), join(words.pending)
        if lines == (self._shown[channel] or ("", "")):
            return
        self._shown[channel] = lines
        where = f"{channel}: " if len(self._words) > 1 else ""
        self._show(f"{where}Final: {lines[0]}")
        self._show(f"{where}Non-final: {lines[1]}")
        self._show("-----")


class Tee:
    """Writes each record to several writers: one that fails does not stand in the way of the others."""

    def __init__(self, writers: Sequence[TraceWriter]) -> None:
        self._writers = writers

    def write(self, record: Mapping[str, Any]) -> None:
        failure: Exception | None = None
        for writer in self._writers:
            try:
                writer.write(record)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
