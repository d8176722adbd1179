"""Audio that a peer sends through a websocket, as a source for a session."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, Protocol, TypeVar

__all__ = ["MessageLine", "PeerSource", "WireFormat"]

E_co = TypeVar("E_co", covariant=True)
E = TypeVar("E")


class WireFormat(Protocol[E_co]):
    """What the messages mean, without a socket."""

    @property
    def ended(self) -> bool:
        """The other side has said that nothing more comes."""

    def receive(self, message: str | bytes) -> Sequence[bytes | E_co]:
        """Audio (linear16, never empty) and events in the message.

        Raises:
            ProtocolError: it breaks the rules.
        """

    def finish(self) -> Sequence[bytes | E_co]:
        """What was still held back, when no message will come any more or one was wrong."""


class MessageLine(Protocol):
    """What `hearout.serving.Peer` is to a source: somebody who sends messages, and takes some."""

    @property
    def draining(self) -> bool:
        """The server is about to end."""

    async def receive(self) -> str | bytes | None:
        """In trio: the next message; None when the other side has closed the connection in good order."""

    async def send(self, message: str) -> bool:
        """False when there is nobody any more who could read it."""


class PeerSource(Generic[E]):
    """Reads a peer's messages when audio is wanted; ends with the other side's word or an orderly close.

    When the connection breaks, or a message breaks the rules, the error comes out of the iteration after all the audio
    before it; a session then delivers the words so far first.

    Attributes:
        on_drain: called when the audio ends because the server does; for `hearout.Session.force_end`, where the policy
            waits for long even when there is no more audio.
    """

    duration: float | None = None

    def __init__(self, peer: MessageLine, wire: WireFormat[E], sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self._peer = peer
        self._wire = wire
        self._items: deque[bytes | E] = deque()
        self._error: Exception | None = None
        self._ended = False
        self.on_drain: Callable[[], object] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            while self._items:
                item = self._items.popleft()
                if isinstance(item, bytes):
                    return item
                self._notice(item)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._ended:
                raise StopAsyncIteration
            await self._read()

    async def _read(self) -> None:
        try:
            message = await self._peer.receive()
            if message is not None:
                self._items += self._wire.receive(message)
            self._ended = message is None or self._wire.ended
            if self._peer.draining and self.on_drain is not None:
                self.on_drain()
        except Exception as error:
            self._error = error
            self._ended = True
        if self._ended:
            self._items += self._wire.finish()

    def _notice(self, event: E) -> None:
        """Something other than audio came."""
        raise NotImplementedError
