"""What a command tells of its running, on standard error: lines for people, or JSON for what collects them."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hearout.cli import output
from hearout.serving import call_id
from hearout.writing import printable, shown

__all__ = ["LogHandler", "add_log_arguments", "begin_logging", "complain_in_json", "in_json", "logging_ends"]

_log = logging.getLogger("hearout")

_LEVELS = ("debug", "info", "warning", "error")


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-format`` and ``--log-level``."""
    parser.add_argument(
        "--log-format",
        choices=["text", "json"],
        default="text",
        help="what is written to standard error: lines of text (default), or one JSON object a line with time, level, "
        "call and message",
    )
    parser.add_argument(
        "--log-level",
        choices=_LEVELS,
        help="the least that is told (default: warning; with json info, which has the begin and end of each call)",
    )


@contextmanager
def logging_ends() -> Iterator[None]:
    """Takes back at the end of a block what `begin_logging` did in it."""
    hooks = sys.unraisablehook, threading.excepthook
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        logging.captureWarnings(False)
        output.print_complaints()


def begin_logging(args: argparse.Namespace) -> None:
    """Do as the options say."""
    json_lines = args.log_format == "json"
    if json_lines:
        complain_in_json()
    logging.getLogger().setLevel((args.log_level or ("info" if json_lines else "warning")).upper())


def complain_in_json() -> None:
    """Every line is JSON from now on: also warnings, and what Python says of an error that nobody caught."""
    output.print_complaints(_complaint_in_json)
    logging.captureWarnings(True)
    sys.unraisablehook = lambda told: _log.error("an error that nobody could catch", exc_info=told.exc_value)
    threading.excepthook = lambda told: _log.error("a thread failed", exc_info=told.exc_value)


def in_json(arguments: Sequence[str]) -> bool:
    """Is it asked for, by a command line or an environment that could not be read as a whole?"""
    asked = [*arguments[:1], os.environ.get("HEAROUT_SERVE_LOG_FORMAT")] == ["serve", "json"]
    return asked or "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)


class LogHandler(logging.Handler):
    """Prints to what standard error is at the moment: a live line puts something else in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        if not output.complaints_are_text():
            output.print_error(_as_json(record))
            return
        call = f"call {record_call}: " if (record_call := call_id.get()) and record.levelno < logging.WARNING else ""
        output.complain(f"hearout: {record.levelname.lower()}: {call}{_message(record)}")
        for line in _traceback(record).splitlines():
            output.complain(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # a bug of whoever logs, which must not become one of what it does
        return f"{record.msg} ({shown(record.args, 200)}: {error})"


def _traceback(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""


def _as_json(record: logging.LogRecord) -> str:
    more: dict[str, Any] = {"logger": record.name}
    if traceback := _traceback(record):
        more["exception"] = traceback
    return _line(record.created, record.levelname.lower(), _message(record), **more)


def _complaint_in_json(line: str, level: str) -> str:
    return _line(datetime.now(UTC).timestamp(), level, line.removeprefix("hearout: "), logger="hearout")


def _line(at: float, level: str, message: str, **more: Any) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": time, "level": level, "call": call_id.get(), "message": printable(message)} | more)
