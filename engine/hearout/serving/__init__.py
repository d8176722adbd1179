"""Websockets from the side that is called: for audio that others bring to us, such as telephone calls.

A `WebSocketServer` takes connections, one task each, and hands them to a handler as a `Peer`. What goes wrong in one
is that connection's affair: it is closed with a code, and told in one line of the log (logger ``hearout``).
`Reception` is the part of it that every server needs: who may come in, and how many.
"""

from __future__ import annotations

from hearout.serving.authorise import Authorise, bearer_token, is_loopback, own_pages_only
from hearout.serving.limits import Limits
from hearout.serving.listening import address_of, listen
from hearout.serving.peer import Peer, ProtocolError
from hearout.serving.reception import Arrival, Line, Reception, Upgrade
from hearout.serving.server import WebSocketServer, serve_websockets
from hearout.serving.text import one_line, shown

__all__ = [
    "Arrival",
    "Authorise",
    "Limits",
    "Line",
    "Peer",
    "ProtocolError",
    "Reception",
    "Upgrade",
    "WebSocketServer",
    "address_of",
    "bearer_token",
    "is_loopback",
    "listen",
    "one_line",
    "own_pages_only",
    "serve_websockets",
    "shown",
]
