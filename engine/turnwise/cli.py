"""The command line: ``turnwise listen``, ``replay``, ``plot``, ``policies``, ``stt-server``.

Exit status: 0 done, 1 a session failed or a check did not hold, 2 bad usage, 130 interrupted (Ctrl-C), 141
nobody reads standard output any more. What goes wrong is one line on standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from turnwise import listen, policy_options, replay_cli
from turnwise.errors import SessionError, UsageError
from turnwise.sttserver import server

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    logging.basicConfig(format="turnwise: %(levelname)s: %(message)s", level=logging.WARNING)
    logging.addLevelName(logging.WARNING, "warning")
    args = _parser().parse_args(arguments)
    try:
        try:
            return int(args.run(args))
        finally:
            sys.stdout.flush()
    except BaseException as error:
        return _explain(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="turnwise", description="Tells when a user has finished a turn, and what the user said."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    listen.register(subparsers)
    replay_cli.register(subparsers)
    policy_options.register(subparsers)
    stt_server = subparsers.add_parser(
        "stt-server",
        help="run the local recogniser as a server",
        description="A speech recogniser on this machine that speaks Deepgram's live protocol.",
    )
    server.add_arguments(stt_server)
    stt_server.set_defaults(run=server.run)
    return parser


def _explain(error: BaseException) -> int:
    """One line for what was expected to go wrong; everything else is a bug, and raised."""
    for kind, status in ((KeyboardInterrupt, 130), (BrokenPipeError, 141), (UsageError, 2), (SessionError, 1)):
        if (found := _find(error, kind)) is not None:
            if kind is BrokenPipeError:
                # The interpreter flushes standard output when it ends, and would complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            else:
                print(f"turnwise: {str(found) or 'interrupted'}", file=sys.stderr)
            return status
    raise error


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """``error`` itself or, when tasks failed side by side, the first of this kind in the group."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _find(inner, kind)) is not None), None)
    return error if isinstance(error, kind) else None
