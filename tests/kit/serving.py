"""The local server for the clients of the providers: with its recogniser, or with a script."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.traces.reader import parse_trace
from tests.kit.models import no_recogniser


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """HOST:PORT of a server with the recogniser."""
    command = [sys.executable, "-m", "hearout.sttserver", "--port", "0", "--until-eof"]
    with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split("//")[1].split("/")[0]
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def playing(*lines: dict[str, Any], stt: str = "deepgram", channels: int = 1, **options: Any) -> Iterator[str]:
    """HOST:PORT of a server in a thread that answers with a trace."""
    header = {"hearout_trace": 1, "stt": stt, "channels": channels, "vad": False}
    script = Script(parse_trace([json.dumps(line) for line in (header, *lines)]))
    started: queue.Queue[tuple[trio.lowlevel.TrioToken, trio.CancelScope, int]] = queue.Queue()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = SttServer(no_recogniser(), script=script, **options)
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
