"""A transcriber that fails as it is told, with the manners of each provider, and audio that says where it belongs.

Every sample of the audio carries its own number, so the server knows what it was fed after a reconnect, complains
when a sample is missing, and "hears" the words of the script exactly where they stand: audio that is replayed
gives the same words. What it says is in `fault_voices`. It differs from the simpler `provider.Provider` in this:
answers take their time, long speech is made final in parts, and it speaks over real sockets too, where a fault needs
them.
"""

from __future__ import annotations

import base64
import json
import math
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from hearout.link.socket import open_stream
from tests.faults.voices import AssemblyAI, Deepgram, ElevenLabs, Flux, OpenAI, Soniox, Voice, Words
from tests.kit.provider import Broken, Plan, Provider

__all__ = ["RATE", "Line", "Server", "Sound", "Trouble", "Words", "frame", "pcm", "position", "say"]

RATE = 16000

_IDLE = 20.0  # seconds without a message after which Soniox hangs up
_PATIENCE = 300.0  # seconds after which a server that hangs is gone for good
_VOICES: Mapping[str, Callable[..., Voice]] = {
    "deepgram": Deepgram,
    "soniox": Soniox,
    "flux": Flux,
    "assemblyai": AssemblyAI,
    "elevenlabs": ElevenLabs,
    "openai": OpenAI,
}


def say(text: str, start: float, pace: float = 0.32) -> list[tuple[str, float, float]]:
    """The words of ``text``, one every ``pace`` seconds, a little silence between them."""
    return [(w, start + i * pace, start + (i + 1) * pace - 0.06) for i, w in enumerate(text.split())]


# Audio


def pcm(first: int, last: int, channels: int = 1) -> bytes:
    """Frames ``first`` to ``last``: a pair of samples holds its own number, the lower half first."""
    samples = np.arange(first // 2, last // 2 + 1, dtype="<u4").view("<u2")[first % 2 :][: last - first]
    return (samples if channels == 1 else np.repeat(samples, channels)).tobytes()


def position(data: bytes, channels: int) -> int:
    """The number of the first frame of ``data``, which has at least four."""
    a, b, c = (int(sample) for sample in np.frombuffer(data, "<u2")[::channels][:3])
    for first in (2 * (a | b << 16), 2 * (b | c << 16) - 1):
        if data == pcm(first, first + len(data) // (2 * channels), channels):
            return first
    raise AssertionError("this audio has a hole")


def _filled(data: bytes, expected: bytes) -> int:
    """The number of samples at the end of ``data`` that are silence in place of what was ``expected``."""
    got, wanted = np.frombuffer(data, "<u2"), np.frombuffer(expected, "<u2")
    first = int(np.flatnonzero(got != wanted)[0])
    assert not got[first:].any(), "this audio has a hole"
    return len(got) - first


class Sound:
    """Audio from 0 to ``end`` as a source gives it.

    ``chunk`` gives the frames of the next chunk; ``speed`` is times real time; ``pauses``: {audio time: seconds};
    ``late``: by how much the chunk that ends at an audio time comes late; ``error``: raised at an audio time.
    """

    sample_rate = RATE

    def __init__(
        self,
        end: float,
        *,
        channels: int = 1,
        chunk: Callable[[], int] = lambda: RATE // 10,
        speed: float = 1.0,
        pauses: dict[float, float] | None = None,
        late: Callable[[float], float] = lambda audio: 0.0,
        error: tuple[float, Exception] | None = None,
    ) -> None:
        self.channels, self.duration = channels, end
        self._chunk, self._speed, self._late = chunk, speed, late
        self._pauses = sorted((pauses or {}).items(), reverse=True)
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        zero, at = trio.current_time(), 0
        last = round(self.duration * RATE)
        while at < last:
            while self._pauses and self._pauses[-1][0] <= at / RATE:
                zero += self._pauses.pop()[1]
            if self._error and at / RATE >= self._error[0]:
                raise self._error[1]
            begin, at = at, min(at + self._chunk(), last)
            await trio.sleep_until(zero + at / RATE / self._speed + self._late(at / RATE))
            yield pcm(begin, at, self.channels)


# What goes wrong


@dataclass
class Trouble(Plan):
    """What goes wrong on one connection, besides what a `Plan` can. Times are audio time of the session.

    Attributes:
        answer: seconds that every message takes to make.
        withhold: this message (counted from 1) is made but never sent, and the connection breaks instead.
        garble: this message (counted from 1) is cut in half.
        silent_at: from here on nothing is said any more; pings are answered.
        tear_at: the connection is reset inside a frame.
        clog_at: nothing is read any more, and what the client sends gets stuck on its way.
        raw: sent at ``raw_at``: text, or bytes as they go onto the wire, frame header and all.
        reply: sent instead of a websocket handshake.
        endpoints: ends of speech are noticed.
        failure: the last message before the connection is closed by ``close``; ``carries``: with all words.
        longest: seconds of audio after which Soniox ends a stream.
        stuck_at: from here on the same message comes again and again.
    """

    answer: float = 0.1
    endpoints: bool = True
    withhold: float = math.inf
    garble: float = math.inf
    silent_at: float = math.inf
    tear_at: float = math.inf
    clog_at: float = math.inf
    raw: Sequence[str | bytes] = ()
    raw_at: float = math.inf
    reply: bytes = b""
    failure: Mapping[str, Any] | None = None
    carries: bool = False
    longest: float = math.inf
    stuck_at: float = math.inf


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A websocket frame as a server sends it; opcode 0 continues, 1 is text, 2 is binary, 8 closes."""
    head = bytes([(0x80 if final else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    size = struct.pack("!BH", 126, len(payload)) if len(payload) < 2**16 else struct.pack("!BQ", 127, len(payload))
    return head + size + payload


# The server


class Line(trio.abc.Stream):
    """The client's end of streams in memory; what is sent gets stuck while it is clogged."""

    def __init__(self, clogged: Callable[[], bool] = lambda: False) -> None:
        self._near, self.far = memory_stream_pair()
        self._clogged = clogged

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._clogged():
            await trio.sleep_forever()
        await self._near.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._near.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._near.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._near.aclose()


class Server(Provider):
    """Serves one connection after another, each by its plan; the last plan stays in force.

    On streams in memory, unless `listen` was called.

    Attributes:
        sent: messages so far, on all connections.
        troubles: when something went wrong (trio's clock).
        attempts: when a connection was asked for.
        talking: connections that are open.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        words: Sequence[Words],
        plans: Sequence[Plan] = (Trouble(),),
        dialect: str = "deepgram",
    ) -> None:
        super().__init__(nursery, words, plans)
        self.dialect = dialect
        self.starts = [[start for _, start, _ in channel] for channel in words]
        self.sent = 0
        self.troubles: list[float] = []
        self.attempts: list[float] = []
        self.talking = 0
        self.keep_log = True
        self.clogged = False  # the present connection takes nothing any more
        self.address: tuple[str, int] | None = None

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        if self.address is not None:
            return await open_stream(*self.address, False)
        plan = self._next()
        await trio.lowlevel.checkpoint()
        if plan.error is not None:
            raise plan.error
        line = Line(lambda: self.clogged)
        self.nursery.start_soon(self._serve, line.far, plan, self.connections, name=_name(plan))
        return line

    async def listen(self, context: ssl.SSLContext | None = None) -> int:
        """Serve on a port of this machine, and give it; `connect` goes there from then on."""
        listeners: list[Any] = list(await trio.open_tcp_listeners(0, host="127.0.0.1"))
        self.address = listeners[0].socket.getsockname()
        if context is not None:
            listeners = [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]
        self.nursery.start_soon(trio.serve_listeners, self._answer, listeners, name="hang")
        return int(self.address[1])

    async def _answer(self, stream: Any) -> None:
        plan = self._next()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._serve(stream, plan, self.connections)

    def _next(self) -> Trouble:
        plan = self.plans[min(self.connections, len(self.plans) - 1)]
        plan = plan if isinstance(plan, Trouble) else Trouble(**vars(plan))
        self.connections += 1
        self.clogged = False
        self.attempts.append(trio.current_time())
        if plan.error or plan.status or plan.hang_handshake or plan.hang_up_handshake or plan.reply:
            self.trouble()
        return plan

    def trouble(self) -> None:
        self.troubles.append(trio.current_time())

    async def _serve(self, stream: Any, plan: Plan, number: int) -> None:
        assert isinstance(plan, Trouble)
        if plan.hang_handshake:
            await trio.sleep(_PATIENCE)
        if plan.hang_up_handshake or plan.reply:
            await stream.receive_some()
            if plan.reply:
                await stream.send_all(plan.reply)
            return await trio.aclose_forcefully(stream)
        self.talking += 1
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                self.requests.append((request.path, dict(request.headers)))
                if plan.status is not None:
                    headers, body = self._refusal(plan)
                    await request.reject(plan.status, extra_headers=headers, body=body)
                else:
                    websocket = await request.accept()
                    await Conversation(self, websocket, stream, plan, number).run()
                nursery.cancel_scope.cancel()
        except* (Broken, ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.talking -= 1
        if plan.freeze_at < math.inf or plan.clog_at < math.inf:
            await trio.sleep(_PATIENCE)  # nobody reads, but the stream stays open
        return await trio.aclose_forcefully(stream)

    def _refusal(self, plan: Trouble) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Deepgram says why in a header, Soniox in the body."""
        headers = dict(plan.headers)
        if self.dialect == "soniox" and (said := headers.pop(b"dg-error", None)):
            return list(headers.items()), json.dumps({"error_message": said.decode()}).encode()
        return list(plan.headers), plan.body or None


def _name(plan: Trouble) -> str:
    hangs = plan.hang_handshake or plan.never_end or min(plan.freeze_at, plan.clog_at) < math.inf
    return "hang" if hangs else "serve"


@dataclass
class Conversation:
    """One connection."""

    server: Server
    websocket: WebSocketConnection
    stream: Any
    plan: Trouble
    number: int
    frames: int | None = None  # heard up to
    voice: Voice | None = None
    sent: int = 0
    silent: int = 0  # frames of silence that were none of the session's
    doubtful: bool = False  # it may have heard a frame less
    since: float = 0.0  # audio time of the session at which the connection began
    stuck: str = ""

    @property
    def at(self) -> float:
        return (self.frames or 0) / RATE

    async def run(self) -> None:
        self._to_say, to_say = trio.open_memory_channel[tuple[float, str | None]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, to_say)
            if self.server.dialect == "soniox":
                start = json.loads(await self.websocket.get_message())
                assert start["audio_format"] == "pcm_s16le"
            while True:
                with trio.move_on_after(_IDLE if self.server.dialect == "soniox" else math.inf) as patience:
                    message = await self.websocket.get_message()
                if patience.cancelled_caught:
                    await self._end_by({"error_code": 408, "error_type": "request_timeout", "error_message": "Idle"})
                if not message or self._is_close(message):
                    self._close()
                elif isinstance(message, bytes):
                    await self._hear(message)
                elif self.server.dialect == "openai" and (audio := json.loads(message).get("audio")):
                    await self._hear(base64.b64decode(audio))
                elif self.server.dialect == "elevenlabs":
                    await self._take_chunk(json.loads(message))
                else:
                    self._obey(json.loads(message))

    def _is_close(self, message: str | bytes) -> bool:
        return isinstance(message, str) and json.loads(message).get("type") in ("CloseStream", "Terminate")

    async def _take_chunk(self, chunk: dict[str, Any]) -> None:
        if audio := base64.b64decode(chunk["audio_base_64"]):
            await self._hear(audio)
        if chunk["commit"]:
            self._obey(chunk)

    async def _hear(self, data: bytes) -> None:
        channels, count = len(self.server.words), len(data) // (2 * len(self.server.words))
        if self.voice is not None and not any(data):
            self.silent += count
            self._note("silence")
            for item in self.voice.silence(count / RATE):
                self._say(item)
            return
        if self.frames is None or self.voice is None:
            self.frames = position(data, channels)
            self.since = self.at
            self.voice = _VOICES[self.server.dialect](self.server.words, self.server.starts, self.at, self.plan)
        if self.doubtful and data[:2] != pcm(self.frames, self.frames + 1):
            self.frames -= 1
        expected = pcm(self.frames, self.frames + count, channels)
        filled = 0 if data == expected else _filled(data, expected) // channels
        before, self.frames = self.at, self.frames + count - filled
        # A sample that is 0 by itself, just before the silence, may be silence too.
        self.doubtful = filled > 0 and not any(expected[-2 * (filled + 1) :][:2])
        self._note("audio")
        await self._fail(before)
        for item in self.voice.hear(self.at):
            self._say(item)
        if filled:
            self.silent += filled
            for item in self.voice.silence(filled / RATE):
                self._say(item)

    async def _fail(self, before: float) -> None:
        """Do what is planned for the audio heard just now."""
        plan, at = self.plan, self.at
        if before < plan.raw_at <= at:
            self.server.trouble()
            for item in plan.raw:
                await (self.stream.send_all(item) if isinstance(item, bytes) else self.websocket.send_message(item))
        if before < plan.silent_at <= at or before < plan.stuck_at <= at:
            self.server.trouble()
        if at - self.since >= plan.longest:
            await self._end_by({"error_code": 413, "error_type": "max_duration_reached", "error_message": "Too long"})
        if at >= plan.close_at and plan.close:
            if plan.failure is not None:
                assert self.voice is not None
                await self._end_by((self.voice.cut_off() if plan.carries else {}) | dict(plan.failure))
            self.server.trouble()
            await self.websocket.aclose(*plan.close)
            raise Broken
        if at >= plan.tear_at:
            with suppress(trio.BusyResourceError):  # something is just being said; with the next audio, then
                await self.stream.send_all(frame(1, b'{"type":"Results"' + b" " * 200)[:40])
                if isinstance(self.stream, trio.SocketStream):  # close with a reset, not in good order
                    self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._break()
        if at >= min(plan.drop_at, plan.freeze_at, plan.clog_at):
            self.server.clogged = at >= plan.clog_at
            self._break()

    async def _end_by(self, failure: Mapping[str, Any]) -> None:
        """The last message, and a close; Soniox's has the code of success."""
        self.server.trouble()
        await self.websocket.send_message(json.dumps(failure))
        await self.websocket.aclose(*(self.plan.close or (1000, "")))
        raise Broken

    def _break(self) -> None:
        self.server.trouble()
        raise Broken

    def _obey(self, message: dict[str, Any]) -> None:
        self._note(str(message.get("type", "commit")))
        for item in self.voice.obey(message) if self.voice else []:
            self._say(item)

    def _close(self) -> None:
        self._note("CloseStream")
        for item in self.voice.close() if self.voice else []:
            if self.plan.never_end:
                item.pop("finished", None)
            if not (self.plan.never_end and item.get("type") in ("Metadata", "Termination")):
                self._say(item)
        if not self.plan.never_end:
            self._to_say.send_nowait((trio.current_time() + self.plan.answer, None))

    def _say(self, item: dict[str, Any]) -> None:
        if self.plan.silent or self.at >= self.plan.silent_at:
            return
        text = json.dumps(item)
        if self.at >= self.plan.stuck_at:
            text = self.stuck = self.stuck or text
        self._to_say.send_nowait((trio.current_time() + self.plan.answer, text))

    async def _speak(self, to_say: trio.MemoryReceiveChannel[tuple[float, str | None]]) -> None:
        for text in self.plan.extra:
            await self.websocket.send_message(text)
        async for due, message in to_say:
            await trio.sleep_until(due)
            if message is None:
                await self.websocket.aclose(1000)
                return
            self.sent += 1
            if self.sent == self.plan.withhold:
                self._break()
            if self.sent == self.plan.garble:
                self.server.trouble()
                message = message[: len(message) // 2]
            await self.websocket.send_message(message)
            self.server.sent += 1
            if self.sent >= self.plan.drop_after_messages:
                self._break()

    def _note(self, what: str) -> None:
        if self.server.keep_log:
            self.server.log.append((trio.current_time(), self.number, what, self.at))
