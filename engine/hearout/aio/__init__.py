"""Sessions in an asyncio application: the same arguments, events and errors as `hearout.open_session`."""

from hearout.aio.session import PushSource, Session, feed, local_server, open_session
from hearout.aio.twilio import TwilioCall

__all__ = ["PushSource", "Session", "TwilioCall", "feed", "local_server", "open_session"]
