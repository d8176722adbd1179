"""``hearout transcript``: all that a recorded session's transcriber said for good."""

from __future__ import annotations

import argparse

from hearout.cli.output import complain, say
from hearout.cli.transcribers import add_own_argument, chosen_own
from hearout.errors import UsageError
from hearout.traces.reader import read_trace
from hearout.traces.transcript import transcript, word_error

__all__ = ["register"]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "transcript",
        help="print all final results of a recorded session",
        description="Print all final results of a recorded session, joined, a line a channel; with a reference, how "
        "many of its words are wrong.",
    )
    parser.add_argument("trace", metavar="TRACE", help="a trace (JSON Lines)")
    parser.add_argument("--channel", type=int, metavar="N", help="only this one, from 0")
    parser.add_argument("--reference", metavar="FILE", help="what was said, as text: print the word error against it")
    add_own_argument(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    texts = transcript(read_trace(args.trace, chosen_own(args)))
    if args.channel is not None:
        if args.channel not in range(len(texts)):
            raise UsageError(f"--channel {args.channel}: the trace has 0 to {len(texts) - 1}")
        texts = [texts[args.channel]]
    if args.reference is None:
        say(*texts)
        return 0
    if len(texts) > 1:
        raise UsageError(f"--reference: the trace has {len(texts)} channels; say which with --channel")
    error = word_error(texts[0], _read(args.reference))
    say(*texts)
    complain(
        f"word error {error.rate:.1%} of {error.words} words: "
        f"{error.substituted} substituted, {error.deleted} deleted, {error.inserted} inserted"
    )
    return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError:
        raise UsageError(f"--reference {path}: it is no text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"--reference {path}: {error.strerror}") from None
