"""Whose part was it? Errors of an application's own parts say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hearout.errors import HearoutError

__all__ = ["blame"]


@contextmanager
def blame(part: str) -> Iterator[None]:
    """An error of the block that nobody expected, and that has no note yet, gets one: it was ``part``'s."""
    try:
        yield
    except HearoutError:
        raise
    except Exception as error:
        if not hasattr(error, "__notes__"):
            error.add_note(f"raised by {part}")
        raise
