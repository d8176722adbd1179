"""A transcriber that speaks Soniox's protocol, hears scripted tokens, and fails on demand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from tests.kit.provider import RATE

KEY = "soniox-secret-key"
LAG = 0.4  # seconds of audio that are not final yet

# Tokens and where they stand in the audio of the session.
SPOKEN = [
    (" Send", 0.5, 0.8),
    (" it", 0.8, 1.0),
    (" to", 1.0, 1.1),
    (" Lon", 1.1, 1.3),
    ("don", 1.3, 1.5),
    (".", 1.5, 1.5),
]


@dataclass
class FakeSoniox:
    """Hears `SPOKEN`; ``fail_at`` (audio time): the first connection ends with this error there."""

    fail_at: float | None = None
    error: dict[str, Any] = field(default_factory=dict)
    starts: list[dict[str, Any]] = field(default_factory=list)
    origins: list[float] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)

    async def serve(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
        request = await wrap_server_stream(nursery, stream)
        assert dict(request.headers)[b"authorization"] == f"Bearer {KEY}".encode()
        websocket = await request.accept()
        try:
            self.starts.append(json.loads(await websocket.get_message()))
            await self._hear(websocket)
        except ConnectionClosed:
            pass

    async def _hear(self, websocket: WebSocketConnection) -> None:
        origin, now, final, told = -1.0, 0.0, 0.0, 0
        while True:
            message = await websocket.get_message()
            marks: list[dict[str, Any]] = []
            if isinstance(message, str):
                self.controls.append(json.loads(message)["type"])
                if self.controls[-1] != "finalize":
                    continue
                marks, final = [{"text": "<fin>", "is_final": True}], now
            elif message:
                if origin < 0:  # each sample is the number of its 10 ms in the session
                    origin = int.from_bytes(message[:2], "little") / 100
                    self.origins.append(origin)
                now += len(message) / 2 / RATE
                final = max(final, now - LAG)
            else:
                final = now
            mine = [(text, start - origin, end - origin) for text, start, end in SPOKEN if start >= origin]
            done = [token for token in mine if token[2] <= final]
            rest = [token for token in mine if token[2] > final and token[1] < now]
            tokens = [*(self._token(t, True) for t in done[told:]), *marks, *(self._token(t, False) for t in rest)]
            told = len(done)
            progress = {"final_audio_proc_ms": round(final * 1000), "total_audio_proc_ms": round(now * 1000)}
            await websocket.send_message(
                json.dumps({"tokens": tokens} | progress | ({} if message else {"finished": True}))
            )
            if not message:
                return
            if self.fail_at is not None and origin + now >= self.fail_at:
                self.fail_at = None
                await websocket.send_message(json.dumps(self.error))
                await websocket.aclose(1000)
                return

    @staticmethod
    def _token(token: tuple[str, float, float], final: bool) -> dict[str, Any]:
        text, start, end = token
        return {"text": text, "start_ms": round(start * 1000), "end_ms": round(end * 1000), "is_final": final}
