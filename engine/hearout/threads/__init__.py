"""Sessions in programs without async: the same arguments, events and errors as `hearout.open_session`."""

from hearout.threads.session import Session, local_server, open_session

__all__ = ["Session", "local_server", "open_session"]
