"""Sessions in an asyncio application: the same arguments, events and errors as `hearout.open_session`."""

from hearout.aio.session import PushSource, Session, feed, local_server, open_session

__all__ = ["PushSource", "Session", "feed", "local_server", "open_session"]
