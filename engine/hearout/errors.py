"""What goes wrong, in one line each: the message names the thing and the remedy, and holds no secret."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator

__all__ = ["HearoutError", "SessionError", "UsageError", "leaves_of", "reason_of", "untrusted"]


class HearoutError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(HearoutError):
    """The caller's mistake: a file, option, parameter or key that cannot work. Exit status 2."""


class SessionError(HearoutError):
    """A running session failed: the transcriber refused, or went away for good. Exit status 1."""


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves_of(inner)
    else:
        yield error


def untrusted(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The refusal of a certificate, if that is why something on the network failed."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    return error


def reason_of(error: BaseException) -> str:
    """Why something on the network failed, in words.

    The innermost cause has the text worth reading: trio's own says only that all attempts failed.
    """
    inner: BaseException | None = error
    while inner is not None:
        error = next(leaves_of(inner))
        inner = error.__cause__
    if (
        isinstance(error, OSError)
        and not isinstance(error, ssl.SSLError)
        and error.errno
        and error.errno in errno.errorcode
    ):
        return os.strerror(error.errno)  # trio's text repeats the address
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
