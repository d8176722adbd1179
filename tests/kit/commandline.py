"""For the tests of the command line: it as a process, and transcribers that follow a script."""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

KEY = "dg-secret-key"
RATE = 16_000
COMMAND = [sys.executable, "-m", "hearout"]
HOWEVER_BUSY = {"HEAROUT_SERVE_BUSY": "2"}  # the machine is, `hearout serve` takes the calls of a test


class Outcome:
    """What a command did, which is no secret told and no traceback."""

    def __init__(self, status: int, out: str, err: str) -> None:
        assert KEY not in out + err
        assert "Traceback" not in err
        self.status, self.out, self.err = status, out, err.splitlines()

    @property
    def texts(self) -> list[str]:
        """Of the lines of turns: ``   3.41 s  some text   [reason  +0.60 s]``."""
        return [line.split(" s  ", 1)[1].split("   [")[0] for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """As a user has it, whatever the tests run in."""
    ours = ("PYTHONUNBUFFERED", "PYTHONIOENCODING", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "DEEPGRAM_API_KEY")
    return {name: value for name, value in os.environ.items() if name not in ours} | HOWEVER_BUSY | more


def shell(command: str, folder: Path, **more: str) -> Outcome:
    """Run a line of bash in which ``hearout`` is us; the status is that of the first command of a pipe."""
    script = f'hearout() {{ {shlex.join(COMMAND)} "$@"; }}; {command}; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment(**more), capture_output=True, text=True, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


class Stage:
    """A websocket of the server's side, and which connection it is."""

    def __init__(self, websocket: WebSocketConnection, number: int) -> None:
        self.websocket, self.number = websocket, number
        self.heard = 0.0  # seconds

    async def hear(self, until: float) -> None:
        while self.heard < until:
            message = await self.websocket.get_message()
            if isinstance(message, bytes):
                self.heard += len(message) / 2 / RATE

    async def say(self, text: str, start: float, stop: float, *, final: bool = True) -> None:
        """A result, interim or the last of an utterance; times are those of this connection."""
        words = text.split()
        step = (stop - start) / len(words)
        timed = [{"word": w, "start": start + i * step, "end": start + (i + 1) * step} for i, w in enumerate(words)]
        result = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": 0.0,
            "duration": stop,
            "is_final": final,
            "speech_final": final,
            "channel": {"alternatives": [{"transcript": text, "words": timed}]},
        }
        await self.websocket.send_message(json.dumps(result))

    async def end(self) -> None:
        """Answer CloseStream as Deepgram does."""
        while isinstance(message := await self.websocket.get_message(), bytes) or "CloseStream" not in message:
            pass
        await self.websocket.send_message('{"type":"Metadata"}')
        await self.websocket.aclose(1000)


Play = Callable[[Stage], Awaitable[None]]
Handler = Callable[[trio.SocketStream], Awaitable[None]]


def playing(play: Play) -> Handler:
    """Serves each connection by ``play``; then, or when that fails, the connection breaks."""
    connections = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                await play(Stage(await request.accept(), connections))
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    return handle


@contextmanager
def serving(handler: Handler) -> Iterator[list[str]]:
    """Options for a server on this machine, in a thread of its own."""
    ready: queue.SimpleQueue[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = queue.SimpleQueue()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            ready.put((port, trio.lowlevel.current_trio_token(), scope))
            await trio.serve_listeners(handler, [listener])

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    port, token, scope = ready.get(timeout=30)
    try:
        yield ["--stt", "deepgram", "--url", f"ws://127.0.0.1:{port}/v1/listen"]
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()
