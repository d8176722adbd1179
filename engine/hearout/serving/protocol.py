"""The rules of the websocket, as a server keeps them. Pure; what they are is wsproto's knowledge."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Event, Message, Ping, RejectConnection
from wsproto.utilities import RemoteProtocolError

__all__ = ["ServerProtocol"]

_MOST_REQUEST = 2**16  # bytes; h11 takes a quarter of that for the request itself


class ServerProtocol(WSConnection):
    """For a `trio_websocket.WebSocketConnection`, which hangs up on those who break the rules; here they are told.

    Empty fragments have no end and no size, and each is kept until the message is whole: so each counts for a byte.

    Args:
        most: bytes of a message.

    Attributes:
        failure: how the other side broke the rules, and what it is told: 1002, 1007 or 1009, and why.
    """

    def __init__(self, most: int) -> None:
        super().__init__(ConnectionType.SERVER)
        self.failure: CloseConnection | None = None
        self._most = most
        self._size = 0  # of the message that is not whole yet
        self._early = 0  # bytes before the handshake was answered

    @property
    def state(self) -> ConnectionState:
        # trio-websocket sends a close frame in answer to one. To it, this is one.
        state = super().state
        return ConnectionState.REMOTE_CLOSING if self.failure and state is ConnectionState.OPEN else state

    def receive_data(self, data: bytes | None) -> None:
        if self.connection is None:
            self._early += len(data or b"")
            if self._early > _MOST_REQUEST:  # what comes behind a request, h11 keeps until that is answered
                raise RemoteProtocolError("the client did not wait for the answer to its request")
        try:
            super().receive_data(data)
        except UnicodeError:
            raise RemoteProtocolError("a header that is no text", event_hint=RejectConnection()) from None

    def events(self) -> Generator[Event, None, None]:
        for event in super().events():
            if isinstance(event, Ping) and super().state is not ConnectionState.OPEN:
                continue  # we have closed: trio-websocket would try to answer, which may not be any more
            if isinstance(event, CloseConnection) and super().state is ConnectionState.OPEN:
                self.failure = event  # nobody closes: wsproto cannot read this frame
            elif isinstance(event, Message) and self._too_large(event):
                event = self.failure = CloseConnection(1009, f"Exceeded maximum message size: {self._most} bytes")
            yield event
            if self.failure is not None:
                return

    def _too_large(self, part: Message[Any]) -> bool:
        self._size += max(1, len(part.data.encode() if isinstance(part.data, str) else part.data))
        too_large = self._size > self._most
        if part.message_finished:
            self._size = 0
        return too_large
