"""Websockets from the side that is called: for audio that others bring to us, such as telephone calls.

A `WebSocketServer` takes connections, one task each, and hands them to a handler as a `Peer`. What goes wrong in one
is that connection's affair: it is closed with a code, and told in one line of the log (logger ``hearout``).
"""

from hearout.serving.authorise import Authorise, Upgrade, bearer_token, is_loopback, own_pages_only
from hearout.serving.calls import call_id
from hearout.serving.limits import Limits
from hearout.serving.listening import address_of
from hearout.serving.peer import Peer, ProtocolError
from hearout.serving.plain import Pages, PlainAnswer
from hearout.serving.server import GRACE, WebSocketServer, serve_websockets

__all__ = [
    "GRACE",
    "Authorise",
    "Limits",
    "Pages",
    "Peer",
    "PlainAnswer",
    "ProtocolError",
    "Upgrade",
    "WebSocketServer",
    "address_of",
    "bearer_token",
    "call_id",
    "is_loopback",
    "own_pages_only",
    "serve_websockets",
]
