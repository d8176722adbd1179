"""Where the traces of calls go: a file a call, written by a thread of their own; the oldest are deleted."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from hearout.errors import HearoutError, UsageError
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header
from hearout.writing import printable, shown

__all__ = ["CallFile", "Folder"]

_OURS = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}\.jsonl")
_MOST_PENDING = 10_000  # lines that wait for the disk: minutes of many calls


class Folder:
    """A folder of traces.

    Nothing in here waits for a disk, and nothing raises: what goes wrong is told once, and from then on nothing is
    written.

    Args:
        path: made when the first call begins, for its owner alone.
        redact: as of `hearout.traces.recorder.Recorder`.
        call_limit: bytes that the trace of one call may have; it ends there.
        limit: bytes that all traces together may have: before a call, the oldest are deleted until they do. Those of
            calls that go on are added to that.
        warn: is told what went wrong, in one line, by any thread.

    Raises:
        UsageError: a limit is none.
    """

    def __init__(
        self, path: str | Path, *, redact: bool, call_limit: float, limit: float, warn: Callable[[str], object]
    ) -> None:
        for name, value in (("call_limit", call_limit), ("limit", limit)):
            if not (isinstance(value, (int, float)) and value > 0):
                raise UsageError(f"{name} is a number of bytes above 0, not {shown(value)}")
        self.path = Path(path)
        self.redact = redact
        self.call_limit = call_limit
        self._limit = limit
        self._warn = warn
        self._failed = threading.Event()
        self._pending = 0
        self._counting = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hearout-shadow")
        self._open: set[Path] = set()  # of the thread

    @property
    def failed(self) -> bool:
        """Nothing is written any more."""
        return self._failed.is_set()

    @property
    def late(self) -> bool:
        """Too much waits for the disk."""
        return self._pending >= _MOST_PENDING

    def fail(self, error: BaseException | str) -> None:
        """Stop for good, and say why; once."""
        with self._counting:
            if self.failed:
                return
            self._failed.set()
        why = str(error) if isinstance(error, (str, HearoutError)) else f"{type(error).__name__}: {error}"
        with suppress(Exception):
            self._warn(f"the shadow has stopped, the bot goes on: {printable(why, 300)}")

    def warn(self, text: str) -> None:
        """Say what is no failure."""
        with suppress(Exception):
            self._warn(text)

    def call(self, header: Header) -> CallFile:
        """The trace of a call that begins now."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(4)}.jsonl"
        return CallFile(self, self.path / name, header)

    def do(self, work: Callable[[], object]) -> None:
        """Have it done by the thread, after all that was given to it before."""
        with self._counting:
            self._pending += 1
        try:
            self._thread.submit(work).add_done_callback(self._done)
        except Exception as error:  # the interpreter ends
            self.fail(error)

    def _done(self, work: Future[object]) -> None:
        with self._counting:
            self._pending -= 1
        if (error := work.exception()) is not None:
            self.fail(error)

    def settle(self, timeout: float | None = None) -> None:
        """Wait until all is written that was given up to now."""
        with suppress(Exception):
            self._thread.submit(lambda: None).result(timeout)

    # In the thread

    def make_room(self, path: Path) -> None:
        """Delete the oldest traces, so that one more has room."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open.add(path)
        found = []
        for entry in os.scandir(self.path):
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # another process makes room, too
                    found.append((entry.stat().st_mtime, Path(entry.path), entry.stat().st_size))
        total = sum(size for _, _, size in found)
        for _, old, size in sorted(found):
            if total <= self._limit:
                break
            if old not in self._open:
                old.unlink(missing_ok=True)
                total -= size

    def forget(self, path: Path) -> None:
        """It is written."""
        self._open.discard(path)


class CallFile:
    """The trace of one call. Made by `Folder.call`."""

    def __init__(self, folder: Folder, path: Path, header: Header) -> None:
        self.path = path
        self._folder = folder
        self._header = header
        self._recorder: Recorder | None = None
        self._full = False
        folder.do(self._open)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record, which nobody changes any more; soon."""
        if self._folder.late:
            self._folder.fail(f"{self.path}: the disk does not keep up")
        if not self._folder.failed:
            self._folder.do(lambda: self._write(record))

    def close(self) -> None:
        """No more records come."""
        self._folder.do(self._close)

    # In the thread

    def _open(self) -> None:
        if self._folder.failed:
            return
        self._folder.make_room(self.path)
        self._recorder = Recorder(self.path, self._header, redact=self._folder.redact)

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._recorder is None or self._full:
            return
        self._recorder.write(record)
        if self.path.stat().st_size >= self._folder.call_limit:
            self._full = True
            self._folder.warn(f"{self.path}: the trace has {self._folder.call_limit:.0f} bytes and ends there")

    def _close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._folder.forget(self.path)
