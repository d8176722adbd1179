"""Packages that the core does without: they come with an extra of hearout's (``pip install 'hearout[cli]'``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hearout.errors import UsageError
from hearout.writing import printable

__all__ = ["MissingExtra", "needs_extra"]


class MissingExtra(UsageError, ImportError):
    """A package is not installed, or too old, or broken: one line that says what needs it, and the remedy.

    pip takes the hearout that is installed, from a clone or not, and adds what the extra asks for.
    """

    def __init__(self, extra: str, purpose: str, package: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'hearout[{extra}]'")


@contextmanager
def needs_extra(extra: str, purpose: str, package: str | None = None) -> Iterator[None]:
    """Import what comes with ``extra`` in a block::

        with needs_extra("plot", "drawing"):
            import matplotlib

    Args:
        purpose: what needs the package, as the beginning of a sentence.
        package: its name for people; None: that of the module which cannot be imported.

    Raises:
        MissingExtra: it cannot be imported.
        UsageError: it raises anything else when it is imported: it lacks a library of the system, or knows no
            processor such as this.
    """
    try:
        yield
    except UsageError:
        raise
    except ImportError as error:
        named = package or error.name or "a package"
        # Not missing, but of no use: old, or without something of its own. That is worth to be told.
        detail = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise MissingExtra(extra, purpose, named + detail) from None
    except Exception as error:
        why = printable(str(error) or type(error).__name__, 200)
        raise UsageError(f"{purpose} needs {package or 'a package'} that works on this machine: {why}") from None
