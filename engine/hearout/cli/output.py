"""What the commands print: whoever's text is in it, one line stays one line, and no terminal obeys it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from hearout.writing import printable

__all__ = ["complain", "complaints_are_text", "print_complaints", "print_error", "print_table", "say"]

_LONGEST = 2000  # characters of a complaint


def say(*lines: str) -> None:
    """Print lines to standard output, at once."""
    for line in lines:
        print(printable(line), flush=True)


def _as_text(line: str, level: str) -> str:
    return printable(line, _LONGEST)


_shape: Callable[[str, str], str] = _as_text


def complain(line: str, level: str = "error") -> None:
    """Print a line to standard error, at once."""
    print_error(_shape(line, level))


def print_error(line: str) -> None:
    """Print to standard error what is one line already; when nobody reads it any more or a disk is full, go on."""
    with suppress(OSError):
        try:
            sys.stderr.write(f"{line}\n")  # at once: other processes write to the same file, and no line into another
            sys.stderr.flush()
        except BrokenPipeError:  # the interpreter would try once more when it ends, and complain
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (as long as the process runs)


def print_complaints(shape: Callable[[str, str], str] = _as_text) -> None:
    """From now on, make of each complaint and its level what ``shape`` does, one line."""
    global _shape
    _shape = shape


def complaints_are_text() -> bool:
    """Nobody has said otherwise."""
    return _shape is _as_text


def print_table(rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> None:
    """Print rows of cells, aligned to the right but for the columns ``left`` and the last one, which has no width.

    A last cell of several lines goes on below itself.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row[:-1], widths, strict=True))
        ]
        first, *rest = row[-1].split("\n")
        indent = " " * (sum(widths) + 2 * len(widths))
        say("  ".join([*cells, first]).rstrip(), *(indent + line for line in rest))
