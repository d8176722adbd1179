"""Which call is it? For the lines of the log."""

from __future__ import annotations

import secrets
from contextvars import ContextVar

__all__ = ["call_id", "new_call_id"]

#: The name of the call for which something is done; None: for none. A server gives each connection one, in the context
#: of its task and of all that it starts; a handler may set another, such as that of the telephone company.
call_id: ContextVar[str | None] = ContextVar("hearout_call_id", default=None)


def new_call_id() -> str:
    """Twelve hexadecimal digits."""
    return secrets.token_hex(6)
