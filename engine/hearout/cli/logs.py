"""What a command tells of its running, on standard error: lines for people, or JSON for what collects them."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from hearout.cli import output
from hearout.serving import call_id
from hearout.writing import printable

__all__ = ["LogHandler", "add_log_arguments", "begin_logging"]

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


def begin_logging(args: argparse.Namespace) -> None:
    """Do as the options say."""
    json_lines = args.log_format == "json"
    if json_lines:
        output.print_complaints(_complaint_in_json)
    logging.getLogger().setLevel((args.log_level or ("info" if json_lines else "warning")).upper())


class LogHandler(logging.Handler):
    """Prints to what standard error is at the moment: a live line puts something else in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        if not output.complaints_are_text():
            print(_as_json(record), file=sys.stderr, flush=True)
            return
        call = f"call {record_call}: " if (record_call := call_id.get()) and record.levelno < logging.WARNING else ""
        output.complain(f"hearout: {record.levelname.lower()}: {call}{record.getMessage()}")


def _as_json(record: logging.LogRecord) -> str:
    more: dict[str, Any] = {"logger": record.name}
    if record.exc_info:
        more["exception"] = logging.Formatter().formatException(record.exc_info)
    return _line(record.created, record.levelname.lower(), record.getMessage(), **more)


def _complaint_in_json(line: str, level: str) -> str:
    return _line(datetime.now(UTC).timestamp(), level, line.removeprefix("hearout: "), logger="hearout")


def _line(at: float, level: str, message: str, **more: Any) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": time, "level": level, "call": call_id.get(), "message": printable(message)} | more)
