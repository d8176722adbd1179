"""Chromium without a window, driven over its DevTools protocol; its microphone plays a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

__all__ = ["CHROMIUM", "Tab", "browsing"]

#: Where it is; None: nowhere.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--remote-debugging-port=0",
)


class Tab:
    """One page, and what its browser tells of it.

    Attributes:
        requests: addresses of all that it has asked for, websockets too.
        complaints: errors and warnings of its console, and exceptions.
    """

    def __init__(self, socket: WebSocketConnection) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = count(1)
        self._session: str | None = None
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = trio.Event()

    async def read(self) -> None:
        while True:
            message = json.loads(await self._socket.get_message())
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._notice(message["method"], message.get("params", {}))
            self._news.set()
            self._news = trio.Event()

    def _notice(self, method: str, said: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(said["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(said["args"]))
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.complaints.append(said["entry"]["text"])

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        session = {} if self._session is None else {"sessionId": self._session}
        await self._socket.send_message(json.dumps({"id": number, "method": method, "params": params, **session}))
        while number not in self._answers:
            await self._news.wait()
        answer = self._answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    async def begin(self) -> None:
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")

    async def size(self, width: int, height: int, scale: float = 1, *, mobile: bool = False) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        await self.call("Emulation.setDeviceMetricsOverride", **screen)

    async def run(self, code: str) -> Any:
        """The value of an expression there, awaited; as if its user had done something."""
        answer = await self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Until the expression is true."""
        while not await self.run(f"Boolean({condition})"):  # noqa: ASYNC110 (what changes is another program)
            await trio.sleep(0.1)


@contextmanager
def _chromium(microphone: Path | None, folder: str) -> Iterator[str]:
    assert CHROMIUM is not None
    options = [*_OPTIONS, f"--user-data-dir={folder}"]
    if microphone is not None:
        options.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    with subprocess.Popen(
        [CHROMIUM, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            lines = (line for line in process.stderr if line.startswith("DevTools listening on "))
            yield next(lines).split()[-1]
        finally:
            process.terminate()
            process.stderr.read()


@asynccontextmanager
async def browsing(microphone: Path | None = None) -> AsyncIterator[Tab]:
    """A tab of a browser of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _chromium(microphone, folder) as url:
        async with open_websocket_url(url, max_message_size=2**26) as socket, trio.open_nursery() as nursery:
            tab = Tab(socket)
            nursery.start_soon(tab.read)
            await tab.begin()
            yield tab
            nursery.cancel_scope.cancel()
