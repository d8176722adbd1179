"""For the tests of audio that comes through websockets: callers in memory, and a transcriber that plays a script."""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from hearout.errors import leaves_of
from hearout.link.socket import Connector
from hearout.serving import Limits, WebSocketServer
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.traces.reader import parse_trace
from tests.kit.models import no_recogniser

#: However busy the machine is, a server that listens for a test takes its calls.
HOWEVER_BUSY = Limits(busy=math.inf, lag=math.inf)


def heard(
    t: float, text: str, start: float, end: float, *, channel: int = 0, channels: int = 1, final: bool = True
) -> dict[str, Any]:
    """A result that the transcriber sends when it has ``t`` seconds of audio."""
    words = text.split()
    step = (end - start) / len(words)
    timed = [{"word": w, "start": start + i * step, "end": start + (i + 1) * step} for i, w in enumerate(words)]
    result = {
        "type": "Results",
        "channel_index": [channel, channels],
        "start": 0.0,
        "duration": t,
        "is_final": final,
        "speech_final": final,
        "from_finalize": False,
        "channel": {"alternatives": [{"transcript": text, "words": timed}]},
    }
    return {"t": t, "stt": result}


def transcriber(nursery: trio.Nursery, *records: dict[str, Any], channels: int = 1) -> Connector:
    """Connects to the local server in memory, which plays these records."""
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": channels, "vad": False}
    script = Script(parse_trace([json.dumps(line) for line in (header, *records)]))
    return connected(nursery, SttServer(no_recogniser(), script=script))


def connected(nursery: trio.Nursery, server: SttServer | WebSocketServer) -> Connector:
    """Connects to the server, in memory."""

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve, theirs)
        return ours

    return connect


class Recording:
    """A source for `hearout call`: a constant that mulaw has, at 8 kHz, there at once."""

    sample_rate = 8000
    channels = 1

    def __init__(self, seconds: float) -> None:
        self.duration: float | None = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield np.full(round((self.duration or 0) * 8000), 988, "<i2").tobytes()


class Caller:
    """The client's end of a connection."""

    def __init__(self, websocket: WebSocketConnection, stream: trio.StapledStream[Any, Any]) -> None:
        self.websocket = websocket
        self.stream = stream
        self.got: list[Any] = []

    async def say(self, *messages: Any) -> None:
        for message in messages:
            await self.websocket.send_message(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def say_in_time(self, messages: Sequence[tuple[float, Any]]) -> None:
        """Each at its moment, in seconds from now."""
        began = trio.current_time()
        for moment, message in messages:
            await trio.sleep_until(began + moment)
            await self.say(message)

    async def listen(self) -> tuple[int, str]:
        """Everything until the connection is closed, into ``got``; gives code and reason."""
        while True:
            try:
                self.got.append(json.loads(await self.websocket.get_message()))
            except ConnectionClosed as closed:
                reason = closed.reason
                if reason is None:
                    raise
                return reason.code, reason.reason or ""


@asynccontextmanager
async def calling(
    server: WebSocketServer, headers: Sequence[tuple[bytes, bytes]] = (), path: str = "/media"
) -> AsyncIterator[Caller]:
    """A connection to the server, on streams in memory; what is left of it afterwards breaks."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, theirs)
        async with trio.open_nursery() as clients:
            websocket = await wrap_client_stream(clients, ours, "bot", path, extra_headers=list(headers))  # type: ignore[arg-type]
            yield Caller(websocket, ours)
            await trio.aclose_forcefully(ours)
            clients.cancel_scope.cancel()  # its reader may wait for somebody to take a message


@asynccontextmanager
async def dialling(
    host: str, port: int, headers: Sequence[tuple[bytes, bytes]] = (), tls: ssl.SSLContext | None = None
) -> AsyncIterator[Caller]:
    """A connection over sockets. (`open_websocket` leaves its own to the garbage collector when the server closes.)"""
    plain = await trio.open_tcp_stream(host, port)
    stream: Any = plain if tls is None else trio.SSLStream(plain, tls, server_hostname=host, https_compatible=True)
    async with stream, trio.open_nursery() as nursery:
        websocket = await wrap_client_stream(nursery, stream, host, "/media", extra_headers=list(headers))
        yield Caller(websocket, stream)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def dialling_url(url: str) -> AsyncIterator[WebSocketConnection]:
    """The same at an address, over a socket that is closed in the end, whoever hangs up."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    stream = await trio.open_tcp_stream(address.hostname, address.port)
    async with stream, trio.open_nursery() as nursery:
        websocket = await wrap_client_stream(nursery, stream, address.netloc, address.path or "/")
        yield websocket
        nursery.cancel_scope.cancel()


async def refused(server: WebSocketServer, headers: Sequence[tuple[bytes, bytes]], status: int) -> None:
    """A connection that the server must refuse."""
    with pytest.raises(ExceptionGroup) as caught:
        async with calling(server, headers):
            pass
    (error,) = leaves_of(caught.value)
    assert isinstance(error, ConnectionRejected)
    assert error.status_code == status


def run_with(main: Callable[[trio.Nursery], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """An async function without arguments that gives ``main`` a nursery, cancelled at its end."""

    async def run() -> Any:
        async with trio.open_nursery() as nursery:
            result = await main(nursery)
            nursery.cancel_scope.cancel()
        return result

    return run
