"""Write a trace while a session runs (the format: `hearout.traces.reader`)."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from hearout.errors import SessionError, UsageError
from hearout.fields import finite
from hearout.traces.records import Header
from hearout_policies.marks import is_blankless

__all__ = ["Recorder", "redacted"]


class Recorder:
    """Writes the records of a session, each as it happens, so that a crash leaves a readable trace.

    Args:
        target: a path, which is created (for its owner alone to read: it holds what people said) or overwritten, or
            an open text file, which stays open.
        header: line 1.
        redact: write no words: see `redacted`.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, target: str | Path | IO[str], header: Header, *, redact: bool = False) -> None:
        self._failure: str | None = None
        self._redact = redact
        self._name = str(target) if isinstance(target, (str, Path)) else getattr(target, "name", "trace")
        self._owned = isinstance(target, (str, Path))
        if isinstance(target, (str, Path)):
            try:
                # A line at a time: some hundred bytes now and then, no work for a thread. The backslash form of
                # half a surrogate pair, which UTF-8 cannot hold, happens to be the JSON form too.
                self._file: IO[str] = open(  # noqa: SIM115 (closed by `close`)
                    target, "w", encoding="utf-8", errors="backslashreplace", buffering=1, newline="\n", opener=_private
                )
            except OSError as error:
                raise UsageError(f"{target}: cannot write the trace: {error.strerror or error}") from None
        else:
            self._file = target
        try:
            self._write(header.as_dict())
        except SessionError:
            self.close()
            raise

    @property
    def failed(self) -> bool:
        """A record could not be written, and none is any more: a trace has no holes."""
        return self._failure is not None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; one that is nested too deeply to be written is left out.

        Raises:
            SessionError: the file cannot be written any more (disk full).
        """
        try:
            if self._redact:
                record = {k: _REDACTED[k](v) if k in _REDACTED else v for k, v in record.items()}
            self._write(record)
        except RecursionError:
            return  # reading goes a little deeper than writing; no message of a provider goes half as deep

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        except ValueError:
            # A provider's NaN, which Python's parser lets in and which is not JSON.
            text = json.dumps(finite(record), ensure_ascii=False)
        if self._failure is None:
            try:
                self._file.write(text + "\n")
            except OSError as error:
                self._failure = f"{self._name}: cannot write the trace: {error.strerror or error}"
                self._cut()
        if self._failure is not None:
            raise SessionError(self._failure)

    def _cut(self) -> None:
        """End the file with its last whole line: a disk that is full takes a part of one, which nobody could read."""
        self.close()
        if self._owned and Path(self._name).is_file():
            with suppress(OSError, ValueError), open(self._name, "rb+") as file:  # ValueError: it is empty
                with mmap(file.fileno(), 0, access=ACCESS_READ) as written:
                    end = written.rfind(b"\n") + 1
                file.truncate(end)

    def close(self) -> None:
        """Close the file, if this opened it."""
        if self._owned:
            with suppress(OSError):  # a full disk, which writing has told of already
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# What a replay needs to read. All other strings are masked, so that a field nobody thought of does not leak.
_STRUCTURE = frozenset(
    {"type", "code", "error_type", "event", "trigger", "request_id", "language", "translation_status"}
)


def redacted(message: Any, key: str = "") -> Any:
    """A provider message without its words: letters become x, digits 0; times, punctuation and shape stay.

    In a script without blanks between words letters become U+3007; signs of vowels and tones go. The number and length
    of words stay too, so it replays like the original, except where a rule reads the words (how long to wait after
    "and" or after spoken digits).
    """
    if isinstance(message, Mapping):
        return {k: redacted(v, k) for k, v in message.items()}
    if isinstance(message, list):
        return [redacted(value, key) for value in message]
    if isinstance(message, str) and key not in _STRUCTURE and not _is_marker(message):
        return "".join(_mask(char) for char in message)
    return message


def _is_marker(text: str) -> bool:
    """Soniox sends its end marks, ``<end>`` and ``<fin>``, as the text of a token."""
    return text.strip() in ("<end>", "<fin>")


def _mask(char: str) -> str:
    if char.isdecimal():
        return "0"
    if char.isalnum():
        return "〇" if is_blankless(char) else "X" if char.isupper() else "x"
    return "" if unicodedata.category(char).startswith("M") else char


def _without_options(expected: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What can be chosen are words, too; without them anything may be said."""
    return [{"type": "open"} if one.get("type") == "one_of" else one for one in expected]


# By the key of a record that has words in it, or what was pressed.
_REDACTED: Mapping[str, Callable[[Any], Any]] = {
    "stt": redacted,
    "sent": redacted,
    "text": redacted,
    "expected": _without_options,
    "key": lambda key: "0" if key.isalnum() else key,
}
