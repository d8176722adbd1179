"""The local server for the clients of the providers: with its recogniser, or with a script."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import trio

from hearout.ear.features import Samples
from hearout.sttserver.recogniser.pool import RecogniserPool
from hearout.sttserver.recogniser.whisper import Whisper
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.sttserver.steps import HeardWord
from hearout.traces.reader import parse_trace
from tests.kit.models import no_recogniser


class OnceWhisper:
    """The built-in recogniser; the same audio, which many tests say, is decoded once. It says the same each time."""

    def __init__(self) -> None:
        self._whisper = Whisper(threads=os.cpu_count() or 1)
        self._heard: dict[bytes, list[HeardWord]] = {}

    def hear(self, samples: Samples) -> list[HeardWord]:
        key = hashlib.sha256(samples.tobytes()).digest()
        if key not in self._heard:
            self._heard[key] = self._whisper.hear(samples)
        return self._heard[key]


whisper = cache(OnceWhisper)


def serving(**options: Any) -> AbstractContextManager[str]:
    """HOST:PORT of a server with the recogniser, in a thread; `local_server` and its tests have it as a process."""
    return _running(lambda: SttServer(RecogniserPool(whisper, os.cpu_count() or 1), **options))


def playing(
    *lines: dict[str, Any], stt: str = "deepgram", channels: int = 1, **options: Any
) -> AbstractContextManager[str]:
    """HOST:PORT of a server in a thread that answers with a trace."""
    header = {"hearout_trace": 1, "stt": stt, "channels": channels, "vad": False}
    script = Script(parse_trace([json.dumps(line) for line in (header, *lines)]))
    return _running(lambda: SttServer(no_recogniser(), script=script, **options))


@contextmanager
def _running(make: Callable[[], SttServer]) -> Iterator[str]:
    started: queue.Queue[tuple[trio.lowlevel.TrioToken, trio.CancelScope, int]] = queue.Queue()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = make()
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            started.put((trio.lowlevel.current_trio_token(), nursery.cancel_scope, port))
            await trio.serve_listeners(server.serve, [listener])

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    token, scope, port = started.get(timeout=10)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()
