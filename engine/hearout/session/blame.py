"""Whose part was it? Errors of an application's own parts say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hearout.errors import HearoutError

__all__ = ["blame", "note"]


@contextmanager
def blame(part: str) -> Iterator[None]:
    """An error of the block that nobody expected, and that has no note yet, gets one: it was ``part``'s."""
    try:
        yield
    except Exception as error:
        note(error, part)
        raise


def note(error: Exception, part: str) -> None:
    """The same for an error that was caught: where a block is entered fifty times a second, that is cheaper."""
    if not isinstance(error, HearoutError) and not hasattr(error, "__notes__"):
        error.add_note(f"raised by {part}")
