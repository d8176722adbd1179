"""The other side of a connection that was let in."""

from __future__ import annotations

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from hearout.errors import HearoutError, SessionError
from hearout.serving.authorise import Upgrade
from hearout.serving.limits import Limits
from hearout.serving.reception import Applicant
from hearout.writing import printable

__all__ = ["Peer", "ProtocolError", "last_word"]

_CLOSE_TIMEOUT = 5.0  # seconds
_MOST_REASON = 123  # bytes of text in a close frame (RFC 6455)
# How a peer that is done closes: normally, a page that is left, a browser's close() without a code.
_IN_GOOD_ORDER = (1000, 1001, 1005)


class ProtocolError(HearoutError):
    """The other side broke the rules: one line that says which.

    Attributes:
        code: for the close frame (RFC 6455): 1002 order of messages, 1003 kind of data, 1007 content, 1008 policy,
            1009 size.
    """

    def __init__(self, detail: str, code: int = 1007) -> None:
        super().__init__(detail)
        self.code = code


class Peer:
    """The other side of one connection. Not made by hand: a `WebSocketServer` gives it to its handler."""

    def __init__(self, arrival: Applicant, websocket: WebSocketConnection, limits: Limits) -> None:
        self.upgrade: Upgrade = arrival.upgrade
        self.limits = limits
        self._arrival = arrival
        self._websocket = websocket
        self._heard = trio.current_time()
        self._gone = ""  # why we gave the connection up
        self._draining = False
        self._reading = trio.CancelScope()  # of whoever waits for a message
        self._scope = trio.CancelScope()  # around the handler

    @property
    def draining(self) -> bool:
        """The server is about to end, and takes nothing more from here; what is sent still arrives."""
        return self._draining

    async def receive(self) -> str | bytes | None:
        """The next message; None when the other side has closed the connection in good order, or at a drain.

        Raises:
            ProtocolError: it was no message by the rules of the websocket, or too large.
            SessionError: the connection broke.
        """
        if self._draining:
            await trio.lowlevel.checkpoint()
            return None
        message: str | bytes | None = None
        try:
            with trio.CancelScope() as self._reading:
                message = await self._websocket.get_message()
        except ConnectionClosed as closed:
            if (failure := self._arrival.protocol.failure) is not None:
                told = f"a message is larger than {self.limits.message} bytes"
                if failure.code != 1009:
                    told = f"no websocket any more: {failure.reason}"
                raise ProtocolError(told, failure.code) from None
            code = 1006 if closed.reason is None else closed.reason.code
            if code in _IN_GOOD_ORDER:
                return None
            raise SessionError(f"the connection was lost: {self._gone or f'it broke (code {code})'}") from None
        self._heard = trio.current_time()
        return message

    async def send(self, message: str) -> bool:
        """Send a text; False when there is nobody any more who could read it: `receive` says why.

        Not cut short by a cancellation, because that would break the connection: it takes `Limits.send` at most.
        """
        sent = False
        with trio.CancelScope(shield=True), trio.move_on_after(self.limits.send) as timeout:
            try:
                await self._websocket.send_message(message)
                sent = True
            except (ConnectionClosed, LocalProtocolError):
                pass
        if timeout.cancelled_caught:
            await self._give_up(f"nothing was read there for {self.limits.send:g} s")
        await trio.lowlevel.checkpoint_if_cancelled()
        return sent

    def _drain(self, deadline: float) -> None:
        """Nothing more is received; the handler may run until ``deadline`` on trio's clock."""
        self._draining = True
        self._scope.deadline = deadline
        self._reading.cancel()

    async def _give_up(self, why: str) -> None:
        self._gone = why
        with trio.CancelScope(shield=True):
            await self._arrival.line.abort()

    async def _watch(self) -> None:
        """Whoever is quiet for long must answer a ping."""
        while True:
            await trio.sleep_until(self._heard + self.limits.idle)
            if trio.current_time() < self._heard + self.limits.idle:
                continue
            with trio.move_on_after(self.limits.ping) as timeout:
                try:
                    await self._websocket.ping()
                except ConnectionClosed:
                    break
            if timeout.cancelled_caught:
                await self._give_up(f"no message for {self.limits.idle:g} s, and no answer to a ping")
                break
            self._heard = max(self._heard, trio.current_time())

    async def _close(self, code: int, reason: str) -> None:
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await self._websocket.aclose(code, reason)


def last_word(error: BaseException) -> tuple[int, str]:
    """Code and reason for the close frame of a connection whose handler has failed."""
    if not isinstance(error, HearoutError):
        return 1011, "internal error"
    told = printable(str(error), 300).encode(errors="replace")[:_MOST_REASON].decode(errors="ignore")
    return (error.code if isinstance(error, ProtocolError) else 1011), told
