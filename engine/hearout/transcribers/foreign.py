"""Code of others runs: what it raises is told in one line, with the place, and is no traceback of ours."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hearout.errors import UsageError
from hearout.writing import printable

__all__ = ["code_of_others", "origin_of"]

_OURS = os.path.dirname(os.path.dirname(__file__))
_STANDARD = sysconfig.get_path("stdlib")


@contextmanager
def code_of_others(said: str) -> Iterator[None]:
    """Whatever the block raises is a `UsageError`: ``said``, what it was and where; an interrupt remains one.

    Also SystemExit and what else is no Exception: a class that leaves must not take the command along. A `UsageError`
    is handed on as it is. Not for a block that awaits, as a cancellation would be taken for an error.
    """
    try:
        yield
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:
        told = f"{said}: {origin_of(error)}"
    else:
        return
    raise UsageError(told)


def origin_of(error: BaseException) -> str:
    """What went wrong in code of others, and where: the innermost line that is neither ours nor Python's."""
    said = f"{type(error).__name__}: {printable(str(error), 200)}".removesuffix(": ")
    if isinstance(error, SyntaxError):
        return printable(f"{type(error).__name__}: {error.msg} ({_relative(error.filename or '?')}:{error.lineno})")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_theirs(frame.filename)]
    return f"{said} ({_relative(theirs[-1].filename)}:{theirs[-1].lineno})" if theirs else said


def _is_theirs(filename: str) -> bool:
    standard = filename.startswith(_STANDARD) and "site-packages" not in filename
    return not (standard or filename.startswith((_OURS, "<frozen")))


def _relative(filename: str) -> str:
    return os.path.relpath(filename) if filename.startswith(os.getcwd() + os.sep) else filename
