"""Messages and control frames of a websocket, told apart. Pure; the framing is wsproto's, as in trio-websocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

from hearout.transcribers.base import WireMessage

__all__ = ["Messages"]

_MOST = 2**20  # bytes of a message; a result with a minute of words has about 20 kB


class Messages:
    """Takes the messages out of what a server sends after the handshake."""

    def __init__(self) -> None:
        self._incoming = FrameProtocol(client=True, extensions=[])
        self._outgoing = FrameProtocol(client=False, extensions=[])
        self._parts: list[Any] = []  # of a message that comes in several frames: all str, or all bytes
        self._size = 0
        self._over = False

    def take(self, data: bytes | bytearray, receiver: Callable[[WireMessage], None]) -> bytes:
        """Give ``receiver`` the messages that ``data`` completes.

        Returns:
            The frames of ``data`` that are none: pings, pongs and the close. A server that breaks the rules closes
            with the code for that.
        """
        rest = bytearray()
        if self._over:
            return b""
        self._incoming.receive_bytes(bytes(data))
        try:
            for frame in self._incoming.received_frames():
                rest += self._sort(frame, receiver)
        except ParseFailed as error:
            self._over = True
            rest += self._outgoing.close(error.code, str(error))
        return bytes(rest)

    def _sort(self, frame: Frame, receiver: Callable[[WireMessage], None]) -> bytes | bytearray:
        payload: Any = frame.payload
        match frame.opcode:
            case Opcode.PING:
                return self._outgoing.ping(payload)
            case Opcode.PONG:
                return self._outgoing.pong(payload)
            case Opcode.CLOSE:
                self._over = True
                return self._outgoing.close(*payload)
        if payload or not self._parts:  # empty fragments are allowed, and would add up
            self._parts.append(payload)
        self._size += len(payload)
        if self._size > _MOST:
            raise ParseFailed(f"Exceeded maximum message size: {_MOST} bytes", CloseReason.MESSAGE_TOO_BIG)
        if frame.message_finished:
            parts, self._parts, self._size = self._parts, [], 0
            receiver("".join(parts) if isinstance(payload, str) else b"".join(parts))
        return b""
