"""The trace of a session, which goes on without when that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hearout.errors import HearoutError
from hearout.transcribers.base import WireMessage

__all__ = ["GuardedRecorder", "TraceWriter"]


class TraceWriter(Protocol):
    """Takes the records of a trace, as `hearout.traces.recorder.Recorder` does."""

    def write(self, record: Mapping[str, Any]) -> None: ...


class GuardedRecorder:
    """Writes records; a writer that raises is reported once and harms nothing.

    Args:
        writer: None: nothing is recorded.
        warn: told why there is no trace any more, in one line.
    """

    def __init__(self, writer: TraceWriter | None, warn: Callable[[str], None]) -> None:
        self._writer = writer
        self._warn = warn
        self._failed = False

    def write(self, **record: Any) -> None:
        """Append one record."""
        if self._writer is None:
            return
        try:
            self._writer.write(record)
        except Exception as error:
            if not self._failed:
                self._failed = True
                broken = f"the recorder failed: {type(error).__name__}: {error}"
                self._warn(f"{error if isinstance(error, HearoutError) else broken}; the session goes on without")

    def sent(self, at: float, message: WireMessage) -> None:
        """What the engine sent."""
        if self._writer is not None and isinstance(message, str):
            self.write(t=at, sent=json.loads(message))

    def received(self, at: float, message: WireMessage) -> None:
        """What the transcriber sent; what is no JSON object is left out."""
        if self._writer is None:
            return
        try:
            data = json.loads(message)
        except (ValueError, RecursionError):
            return  # the link warns of it
        if isinstance(data, dict):
            self.write(t=at, stt=data)
