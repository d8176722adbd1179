"""For the tests of `hearout call`: its recording, and a bot in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import trio
from trio.testing import memory_stream_pair

from hearout.link.socket import Connector
from hearout.serving import WebSocketServer


class Recording:
    """A constant that mulaw has, at 8 kHz, there at once."""

    sample_rate = 8000
    channels = 1

    def __init__(self, seconds: float) -> None:
        self.duration: float | None = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield np.full(round((self.duration or 0) * 8000), 988, "<i2").tobytes()


def connected(nursery: trio.Nursery, server: WebSocketServer) -> Connector:
    """Connects to the server, in memory."""

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve, theirs)
        return ours

    return connect
