"""The rules of the websocket, as a server keeps them. Pure; what they are is wsproto's knowledge."""

from __future__ import annotations

from wsproto import ConnectionType, WSConnection
from wsproto.events import RejectConnection
from wsproto.utilities import RemoteProtocolError

__all__ = ["ServerProtocol"]

_MOST_REQUEST = 2**16  # bytes; h11 takes a quarter of that for the request itself


class ServerProtocol(WSConnection):
    """For a `trio_websocket.WebSocketConnection`."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.SERVER)
        self._early = 0  # bytes before the handshake was answered

    def receive_data(self, data: bytes | None) -> None:
        if self.connection is None:
            self._early += len(data or b"")
            if self._early > _MOST_REQUEST:  # what comes behind a request, h11 keeps until that is answered
                raise RemoteProtocolError("the client did not wait for the answer to its request")
        try:
            super().receive_data(data)
        except UnicodeError:
            raise RemoteProtocolError("a header that is no text", event_hint=RejectConnection()) from None
