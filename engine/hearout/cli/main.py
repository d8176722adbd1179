"""The command line: ``hearout listen``, ``replay``, ``plot``, ``transcript``, ``import``, ``report``, ``tune``,
``policies``, ``models``, ``serve``, ``call``, ``stt-server``, ``doctor``.

Exit status: 0 done, 1 a session failed or a check did not hold, 2 bad usage, 130 interrupted (Ctrl-C), 141
nobody reads standard output any more, 143 terminated, 129 its terminal is gone. What goes wrong is one line on
standard error.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hearout.cli.environment import CommandParser, by_variable
from hearout.cli.logs import LogHandler, complain_in_json, in_json, logging_ends
from hearout.cli.output import complain, complaints_are_text
from hearout.cli.parser import Parser
from hearout.errors import SessionError, UsageError, leaves_of
from hearout.version import __version__

__all__ = ["main"]

# Where each command is. Together they are slow to load, and one is wanted.
_COMMANDS = {
    "listen": "listen",
    "replay": "replay",
    "plot": "replay",
    "transcript": "transcript",
    "import": "importing",
    "report": "report_calls",
    "tune": "tune",
    "serve": "serve",
    "call": "call",
    "policies": "policies",
    "models": "models",
    "doctor": "doctor",
    "stt-server": "stt_server",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (as long as the process runs)
    if sys.stdout is None:
        complain("hearout: standard output is closed: send it to /dev/null if nobody is to read it")
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a transcript may hold what the locale cannot print
    logging.basicConfig(handlers=[LogHandler()], level=logging.WARNING)
    args = argparse.Namespace(variables={})
    with logging_ends():
        try:
            try:
                args = _parser(arguments).parse_args(arguments)
                return int(args.run(args))
            finally:
                sys.stdout.flush()
        except BaseException as error:
            if "run" not in args and in_json(arguments):
                complain_in_json()
            return _explain(error, args.variables)


def _parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """What reads these: it knows only the command that they are for, or all of them where they name none."""
    parser: argparse.ArgumentParser = Parser(
        prog="hearout", description="Tells when a user has finished a turn, and what the user said."
    )
    parser.add_argument("--version", action="version", version=f"hearout {__version__}")
    subparsers: Any = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    asked = [_COMMANDS[arguments[0]]] if arguments and arguments[0] in _COMMANDS else _COMMANDS.values()
    for module in dict.fromkeys(asked):
        importlib.import_module(f"hearout.cli.{module}").register(subparsers)
    return parser


def _explain(error: BaseException, variables: Mapping[str, str]) -> int:
    """One line for what was expected to go wrong; everything else is a bug, and raised."""
    leaves = list(leaves_of(error))  # several, when tasks failed side by side
    for kind, status in ((KeyboardInterrupt, 130), (UsageError, 2), (SessionError, 1)):
        if (found := next((leaf for leaf in leaves if isinstance(leaf, kind)), None)) is not None:
            complain(f"hearout: {by_variable(str(found), variables) or 'interrupted'}")
            return status
    # Errors of files and connections have become the above by now: what is left is standard output.
    lost = next((leaf for leaf in leaves if isinstance(leaf, OSError)), None)
    if lost is not None and lost.filename is None:
        # The interpreter would try once more when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(lost, BrokenPipeError):
            return 141
        complain(f"hearout: cannot write to standard output: {lost.strerror}")
        return 1
    if complaints_are_text() or isinstance(error, SystemExit):
        raise error
    logging.getLogger("hearout").critical("stopped by a bug", exc_info=error)
    return 1
