"""Where the traces of calls go: a file a call, written by a thread of their own; the oldest are deleted."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from heapq import nsmallest
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from hearout.errors import HearoutError, UsageError
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header
from hearout.writing import printable, shown

try:
    import fcntl
except ImportError:  # Windows, where nobody can delete a file that is open
    fcntl = None  # type: ignore[assignment]

__all__ = ["CallFile", "Folder"]

_OURS = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}\.jsonl")
_MOST_PENDING = 10_000  # lines that wait for the disk: minutes of many calls
# A folder may have tens of thousands of traces: the loop of the bot wants the interpreter, too.
_AT_A_TIME = 50
_MEANWHILE = 0.002  # seconds


class Folder:
    """A folder of traces.

    Nothing in here waits for a disk, and nothing raises: what goes wrong is told once, and from then on nothing is
    written.

    Args:
        path: made when the first call begins, for its owner alone.
        redact: as of `hearout.traces.recorder.Recorder`.
        call_limit: bytes that a trace may have; it ends there.
        limit: bytes that all traces together may have: before one is begun, the oldest are deleted until they do.
            Those that are still written, by whatever process, are not.
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

    def make_room(self) -> None:
        """Delete the oldest traces, so that one more has room."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        total = sum(size for _, _, size in self._traces())
        before = math.inf
        while self._limit < total < before:  # not when all the oldest are still written
            before = total
            for _, old, size in nsmallest(_AT_A_TIME, self._traces()):
                with suppress(FileNotFoundError):
                    if total > self._limit and not _in_use(old):
                        os.unlink(old)
                        total -= size

    def _traces(self) -> Iterator[tuple[float, str, int]]:
        """When each was written last, where it is, and its bytes.

        None is kept: the garbage collector would look at all, and hold up the loop.
        """
        with os.scandir(self.path) as entries:
            for number, entry in enumerate(entries, 1):
                if number % _AT_A_TIME == 0:
                    time.sleep(_MEANWHILE)
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # another process makes room, too
                        about = entry.stat()
                        yield about.st_mtime, entry.path, about.st_size


def _in_use(path: str) -> bool:
    """A shadow writes it: it has locked it."""
    try:
        with open(path, "rb+") as file:
            return not _lock(file)
    except PermissionError:
        return False  # of somebody else


def _lock(file: BinaryIO) -> bool:
    """Keep others from deleting it, as long as it is open; False: somebody else does."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


class CallFile:
    """A trace of a call. Made by `Folder.call`."""

    def __init__(self, folder: Folder, path: Path, header: Header) -> None:
        self.path = path
        self._folder = folder
        self._header = header
        self._recorder: Recorder | None = None
        self._locked: BinaryIO | None = None
        self._size = 0
        folder.do(self._open)

    @property
    def long(self) -> bool:
        """It has half of what it may have: time for another one."""
        return self._size >= self._folder.call_limit / 2

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
        self._folder.make_room()
        self._recorder = Recorder(self.path, self._header, redact=self._folder.redact)
        self._locked = open(self.path, "rb+")  # noqa: SIM115 (closed by `_close`)
        _lock(self._locked)

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._recorder is None or self._size >= self._folder.call_limit:
            return
        self._recorder.write(record)
        self._size = self.path.stat().st_size
        if self._size >= self._folder.call_limit:
            self._folder.warn(f"{self.path}: the trace has {self._folder.call_limit:.0f} bytes and ends there")

    def _close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
        if self._locked is not None:
            self._locked.close()
            self._locked = None
