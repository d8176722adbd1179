"""What goes wrong, in one line each: the message names the thing and the remedy, and holds no secret."""

from __future__ import annotations

__all__ = ["HearoutError", "SessionError", "UsageError"]


class HearoutError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(HearoutError):
    """The caller's mistake: a file, option, parameter or key that cannot work. Exit status 2."""


class SessionError(HearoutError):
    """A running session failed: the transcriber refused, or went away for good. Exit status 1."""
