"""A caller for a bot that takes Twilio's calls: plays audio to it in real time, and hears what it says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from hearout.audio import Resampler
from hearout.caller.playback import Playback
from hearout.errors import SessionError, UsageError
from hearout.link.refusal import LinkFailure
from hearout.link.socket import Connector, open_stream
from hearout.link.websocket import WebSocket, open_websocket
from hearout.nursery import open_background
from hearout.sources.base import AudioSource
from hearout.sources.twilio_messages import SAMPLE_RATE, to_mulaw
from hearout.transcribers.options import check_url
from hearout.vad import webrtc_gate

__all__ = ["Call"]

_FRAME = 160  # samples: Twilio sends 20 ms at a time
_STEP = _FRAME / SAMPLE_RATE  # seconds
_PATIENCE = 10.0  # seconds for a connection
_IN_GOOD_ORDER = (1000, 1001, 1005)


class Call:
    """One call, as Twilio Media Streams makes it: connected, start, media of 20 ms, marks, stop.

    Args:
        url: of the bot, ``ws://`` or ``wss://``.
        tell: called with a moment, in seconds since the call began, and what happens then.
        parameters: as the TwiML's ``<Parameter>``.
        token: of the Twilio account: the request is signed with it, as Twilio does; "": it is not.
        signed_url: what it is signed for, when that is not ``url``.

    Attributes:
        playback: what the bot has said.
        lasted: seconds that the call took.
        sid: the call's name, of its own.

    Raises:
        UsageError: ``url`` is no address of a websocket.
    """

    def __init__(
        self,
        url: str,
        tell: Callable[[float, str], object],
        *,
        parameters: Mapping[str, str] | None = None,
        token: str = "",
        signed_url: str = "",
        connect: Connector = open_stream,
    ) -> None:
        check_url("call", url, "TWILIO_AUTH_TOKEN")
        self.playback = Playback()
        self.lasted = 0.0
        self._url = url
        self._tell = tell
        self._parameters = dict(parameters or {})
        self._headers = _signature(token, signed_url or url) if token else []
        self._connect = connect
        self.sid = f"CA{uuid.uuid4().hex}"
        self._stream = f"MZ{uuid.uuid4().hex}"
        self._number = 0
        self._gate = webrtc_gate(SAMPLE_RATE)
        self._quiet_since: float | None = None  # when the caller's last words ended

    async def play(self, source: AudioSource, wait: float = 5.0) -> None:
        """Call, play all of ``source``, and hang up when the bot has said nothing for ``wait`` seconds after it.

        Raises:
            UsageError: not one channel.
            SessionError: there is no connection, or the bot broke it, or said what Twilio would not take.
        """
        frames = await _frames(source)
        refused = {403: "it wants Twilio's signature: TWILIO_AUTH_TOKEN, and --stream-url as in the TwiML"}
        bot = SimpleNamespace(address=lambda: self._url, headers=lambda: self._headers, name="bot", remedies=refused)
        try:
            async with open_websocket(cast(Any, bot), self._connect, _PATIENCE) as websocket:
                await self._play(websocket, frames, wait)
        except LinkFailure as failure:
            remedy = f"; {failure.remedy}" if failure.remedy else ""
            raise SessionError(f"{failure.detail}{remedy}") from None

    async def _play(self, websocket: WebSocket, frames: Sequence[bytes], wait: float) -> None:
        await self._send(websocket, "connected", None, protocol="Call", version="1.0.0")
        await self._send(websocket, "start", self._start())
        self._began = trio.current_time()
        try:
            async with open_background() as nursery:
                nursery.start_soon(self._listen, websocket)
                try:
                    await self._speak(websocket, frames, wait)
                except (ConnectionClosed, LocalProtocolError):
                    await trio.sleep_forever()  # until it is known why
        except ConnectionClosed as closed:
            code = 1006 if closed.reason is None else closed.reason.code
            if code not in _IN_GOOD_ORDER:
                reason = closed.reason.reason if closed.reason is not None else None
                raise SessionError(
                    f"the bot broke the call off: code {code}{f', {reason}' if reason else ''}"
                ) from None
            self._tell(self._now, "the bot hung up")
        finally:
            self.lasted = self._now

    @property
    def _now(self) -> float:
        return trio.current_time() - self._began

    async def _speak(self, websocket: WebSocket, frames: Sequence[bytes], wait: float) -> None:
        number, silence = 0, bytes(2 * _FRAME)
        while number < len(frames) or self._now < max(len(frames) * _STEP, self.playback.until) + wait:
            pcm = frames[number] if number < len(frames) else silence
            await trio.sleep_until(self._began + (number + 1) * _STEP)
            for edge in self._gate.feed(pcm):
                self._quiet_since = edge.audio if edge.kind == "stop" else None
            payload = base64.b64encode(to_mulaw(pcm)).decode()
            media = {"track": "inbound", "chunk": str(number + 1), "timestamp": str(number * 20), "payload": payload}
            await self._send(websocket, "media", media)
            for name in self.playback.reached(self._now):
                self._tell(self._now, f"mark {name}")
                await self._send(websocket, "mark", {"name": name})
            number += 1
        await self._send(websocket, "stop", {"accountSid": "AC0", "callSid": self.sid})

    async def _listen(self, websocket: WebSocket) -> None:
        await websocket.receive(self._hear)

    def _hear(self, message: str | bytes) -> None:
        told = self.playback.receive(self._now, message)
        if told == "the bot speaks" and self._quiet_since is not None:
            told += f", {self._now - self._quiet_since:.2f} s after the caller"
        if told is not None:
            self._tell(self._now, told)

    def _start(self) -> dict[str, Any]:
        return {
            "accountSid": "AC0",
            "streamSid": self._stream,
            "callSid": self.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE, "channels": 1},
            "customParameters": self._parameters,
        }

    async def _send(self, websocket: WebSocket, event: str, content: Any, **more: str) -> None:
        message = {"event": event, **more}
        if content is not None:
            self._number += 1
            message |= {"sequenceNumber": str(self._number), "streamSid": self._stream, event: content}
        await websocket.send(json.dumps(message))


async def _frames(source: AudioSource) -> list[bytes]:
    """All audio, as 20 ms of linear16 at 8 kHz each."""
    if source.channels != 1:
        raise UsageError(f"it has {source.channels} channels, and a caller is one: give a file of one channel")
    resampler = Resampler(source.sample_rate, SAMPLE_RATE, 1)
    parts = [resampler.feed(np.frombuffer(pcm, "<i2").reshape(-1, 1)).tobytes() async for pcm in source]
    parts.append(resampler.feed(np.zeros((0, 1), "<i2"), last=True).tobytes())
    pcm, size = b"".join(parts), 2 * _FRAME
    return [pcm[at : at + size].ljust(size, b"\0") for at in range(0, len(pcm), size)]


def _signature(token: str, url: str) -> list[tuple[str, str]]:
    digest = hmac.digest(token.encode(), url.encode(), hashlib.sha1)
    return [("X-Twilio-Signature", base64.b64encode(digest).decode())]
