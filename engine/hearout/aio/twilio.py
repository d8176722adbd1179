"""Twilio's calls in a web application of asyncio's: its own websocket becomes a source of audio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import trio

from hearout.errors import SessionError, UsageError
from hearout.loops import running
from hearout.serving import Limits, ProtocolError, call_id
from hearout.serving.peer import last_word
from hearout.sources import twilio as on_trio
from hearout.sources.twilio_messages import TwilioEvent, TwilioStream

__all__ = ["TwilioCall"]

# How Twilio closes when it is done, as in `hearout.serving.peer`; and 1012 ("service restart"): so does uvicorn close
# when it is told to end. The audio is over then, and the session has its last words.
_IN_GOOD_ORDER = (1000, 1001, 1005, 1012)


class TwilioCall(on_trio.TwilioCall):
    """`hearout.sources.TwilioCall` on a websocket of Starlette's (FastAPI's) or aiohttp's that was accepted::

        async with aio.TwilioCall(websocket) as call:
            async with aio.open_session(call, Deepgram(key, sample_rate=call.sample_rate)) as session:
                async for event in session:
                    ...

    Entering waits for the start message; then its attributes are there. Leaving closes the websocket: with 1000, with
    the code of a `ProtocolError`, with 1001 when the task is cancelled, and with 1011 for every other error. Nobody
    else may read from it. ``send_audio``, ``send_mark`` and ``clear`` are awaited in asyncio.

    Raises:
        UsageError: it is no such websocket.
        SessionError: from entering: the caller hung up, or the connection broke, before the call began.
        ProtocolError: likewise: this is not Twilio, or no start message came within 10 s.
    """

    def __init__(self, websocket: Any) -> None:
        self._line = _Line(websocket)

    async def __aenter__(self) -> Self:
        if (here := running()) != "asyncio":
            raise UsageError(
                f"hearout.aio.TwilioCall is for asyncio, and this is {here}: use hearout.sources.serve_twilio"
            )
        limits = Limits()
        try:
            await self._begin(limits.start)
        except BaseException as error:
            await self._line.end(error)
            raise
        self._reading = asyncio.create_task(self._line.read_on(limits.queue))
        return self

    async def _begin(self, patience: float) -> None:
        stream, events = TwilioStream(), list[bytes | TwilioEvent]()
        try:
            async with asyncio.timeout(patience):
                while stream.start is None:
                    message = await self._line.read()
                    if message is None or stream.ended:
                        raise SessionError("the caller hung up before the call began")
                    events += stream.receive(message)
        except TimeoutError:
            raise ProtocolError(f"no start message within {patience:g} s", 1008) from None
        super().__init__(self._line, stream, stream.start)
        call_id.set(self.call_sid)
        self._items += events  # also a key that came before the start

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._line.end(error)


class _Line:
    """The websocket: read in asyncio, handed over to trio as `hearout.serving.Peer` does."""

    def __init__(self, websocket: Any) -> None:
        self._close: Callable[[int, str], Awaitable[Any]]
        if hasattr(websocket, "send_text") and hasattr(websocket, "receive"):
            self._send, self.read = websocket.send_text, _reader_of_starlette(websocket)
            self._close = lambda code, reason: websocket.close(code=code, reason=reason)
        elif hasattr(websocket, "send_str") and hasattr(websocket, "receive"):
            self._send, self.read = websocket.send_str, _reader_of_aiohttp(websocket)
            self._close = lambda code, reason: websocket.close(code=code, message=reason.encode())
        else:
            raise UsageError(
                f"{type(websocket).__name__} is no websocket of Starlette's, FastAPI's or aiohttp's; in trio "
                "hearout.sources.serve_twilio takes calls"
            )
        self._messages: deque[str | bytes] = deque()
        self._over = False
        self._error: Exception | None = None
        self._more = trio.Event()
        self._room = asyncio.Event()

    async def read_on(self, most: int) -> None:
        """In asyncio, as a task: to the end. While ``most`` messages wait, Twilio does, too."""
        try:
            while (message := await self.read()) is not None:
                self._messages.append(message)
                self._more.set()
                while len(self._messages) >= most:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self._error = error
        self._over = True
        self._more.set()

    async def end(self, error: BaseException | None) -> None:
        """In asyncio: close it, as `hearout.serving.WebSocketServer` does."""
        if isinstance(error, Exception):
            code, reason = last_word(error)
        else:
            code, reason = 1000 if error is None else 1001, ""
        with suppress(Exception):  # it is closed already
            await self._close(code, reason)

    @property
    def draining(self) -> bool:
        """False: the server is the application's."""
        return False

    async def receive(self) -> str | bytes | None:
        """In trio: the next message; None when Twilio has closed the connection in good order."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._more = trio.Event()
            await self._more.wait()
        self._room.set()
        return self._messages.popleft()

    async def send(self, message: str) -> bool:
        """In asyncio: False when there is nobody any more who could read it."""
        try:
            await self._send(message)
        except Exception:  # each library has its own; why, reading tells
            return False
        return True


Read = Callable[[], Awaitable[str | bytes | None]]


def _reader_of_starlette(websocket: Any) -> Read:
    async def read() -> str | bytes | None:
        message = await websocket.receive()
        if message["type"] == "websocket.connect":
            raise UsageError("the websocket is not open yet: await websocket.accept() before aio.TwilioCall(websocket)")
        if message["type"] == "websocket.disconnect":
            _check_close(message.get("code"))
            return None
        text: str | bytes | None = message.get("text")
        return message["bytes"] if text is None else text

    return read


def _reader_of_aiohttp(websocket: Any) -> Read:
    async def read() -> str | bytes | None:
        if not getattr(websocket, "prepared", True):
            raise UsageError(
                "the websocket is not open yet: await websocket.prepare(request) before aio.TwilioCall(websocket)"
            )
        message = await websocket.receive()
        if message.type.name in ("TEXT", "BINARY"):
            data: str | bytes = message.data
            return data
        if message.type.name == "ERROR":
            raise SessionError(f"the connection was lost: {message.data}")
        _check_close(websocket.close_code)
        return None

    return read


def _check_close(code: int | None) -> None:
    if code not in _IN_GOOD_ORDER:
        raise SessionError(f"the connection was lost: it broke (code {code or 1006})")
