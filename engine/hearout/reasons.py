"""Why something on the network failed, in words."""

from __future__ import annotations

import errno
import os
import ssl

from hearout.nursery import leaves_of

__all__ = ["reason_of", "untrusted"]


def untrusted(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The refusal of a certificate, if that is why."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    return error


def reason_of(error: BaseException) -> str:
    """The innermost cause has the text worth reading: trio's own says only that all attempts failed."""
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
