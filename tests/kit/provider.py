"""A transcriber that speaks Deepgram's protocol on streams in memory, hears scripted words, and fails on demand.

The audio of these tests says by itself where it belongs: every sample is the number of its 10 ms step since the
session began (`audio`). So the provider knows what it was fed after a reconnect, complains when a sample is
missing or comes twice, and "hears" the words of its script exactly where they stand.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

RATE = 16000
STEP = RATE // 100
ENDPOINTING = 0.3


def audio(start: float, end: float, channels: int = 1) -> bytes:
    """linear16 from ``start`` to ``end`` (seconds, whole 10 ms)."""
    steps = np.arange(round(start * 100), round(end * 100), dtype="<i2")
    return np.repeat(steps, STEP * channels).tobytes()


class Source:
    """Audio from 0 to ``end`` in blocks of 20 ms; in real time, or at once.

    ``pauses``: {audio time: seconds}. ``late``: by how much the block that ends at an audio time comes late; what
    comes after it waits for it, and then comes with it.
    """

    sample_rate = RATE

    def __init__(
        self,
        end: float,
        *,
        channels: int = 1,
        live: bool = True,
        pauses: dict[float, float] | None = None,
        error: tuple[float, Exception] | None = None,
        block: float = 0.02,
        late: Callable[[float], float] = lambda audio: 0.0,
    ) -> None:
        self.channels, self.duration = channels, end
        self._live, self._pauses, self._error, self._block = live, pauses or {}, error, block
        self._late = late
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            began = trio.current_time()
            count = round(self.duration / self._block)
            for i in range(count):
                start = i * self._block
                began += self._pauses.get(round(start, 2), 0.0)
                if self._error and start >= self._error[0]:
                    raise self._error[1]
                if self._live:
                    end = start + self._block
                    await trio.sleep_until(began + end + self._late(end))
                yield audio(start, start + self._block, self.channels)
        finally:
            self.closed = True


@dataclass
class Plan:
    """What goes wrong on one connection. Times are seconds of audio of the session.

    Attributes:
        error: raised instead of a connection.
        status, headers, body: HTTP refusal.
        hang_handshake, hang_up_handshake: no answer, or the end, instead of one.
        drop_at, drop_after_messages: the stream breaks, at that audio or after so many messages sent.
        freeze_at: nothing is read nor answered any more, pings included.
        silent: reads and answers pings, says nothing.
        close: (code, reason) of a websocket close at ``close_at``.
        finalize_answers: ``from_finalize`` results are sent.
        delay: seconds before each message, in order.
        extra: text messages sent first.
        never_end: no Metadata and no close after CloseStream.
    """

    error: Exception | None = None
    status: int | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    hang_handshake: bool = False
    hang_up_handshake: bool = False
    drop_at: float = math.inf
    drop_after_messages: float = math.inf
    freeze_at: float = math.inf
    silent: bool = False
    close: tuple[int, str] | None = None
    close_at: float = math.inf
    finalize_answers: bool = True
    delay: float = 0.0
    extra: Sequence[str] = ()
    never_end: bool = False


class Broken(Exception):
    pass


@dataclass
class Ear:
    """What one channel of one connection has heard: words of the script, as interim and final results."""

    channel: int
    channels: int
    words: Sequence[tuple[str, float, float]]
    offset: float
    begin: float = field(init=False)  # of the segment, session audio time
    shown: int = 0

    def __post_init__(self) -> None:
        self.begin = self.offset

    def hear(self, until: float) -> list[dict[str, object]]:
        words = self._words(until, whole=True)
        if any(start < until < end for _, start, end in self.words):
            pass  # no end in the middle of a word
        elif (words and until - words[-1][2] >= ENDPOINTING) or (not words and until - self.begin >= 3.0):
            return [self.result(until, final=True, endpoint=True)]
        if until - self.begin >= self.shown + 1:
            self.shown += 1
            return [self.result(until)]
        return []

    def result(
        self, until: float, *, final: bool = False, endpoint: bool = False, finalized: bool = False
    ) -> dict[str, object]:
        words = self._words(until, whole=not final)
        begin = self.begin
        if final:
            self.begin, self.shown = until, 0
        items = [{"word": w, "start": s - self.offset, "end": e - self.offset} for w, s, e in words]
        return {
            "type": "Results",
            "channel_index": [self.channel, self.channels],
            "start": begin - self.offset,
            "duration": until - begin,
            "is_final": final,
            "speech_final": endpoint,
            "from_finalize": finalized,
            "channel": {"alternatives": [{"transcript": " ".join(w for w, _, _ in words), "words": items}]},
        }

    def _words(self, until: float, *, whole: bool) -> list[tuple[str, float, float]]:
        # A word belongs to the segment that has its middle; while it is being spoken it is not heard yet.
        return [
            word
            for word in self.words
            if self.begin <= (word[1] + word[2]) / 2 < until and (not whole or word[2] <= until)
        ]


class Provider:
    """Serves one connection after another, each by its plan; the last plan stays in force.

    Attributes:
        connections: opened so far, refused ones included.
        log: (trio time, connection, what, audio time of the session), what is "audio" or a message's type.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        words: Sequence[Sequence[tuple[str, float, float]]],
        plans: Sequence[Plan] = (Plan(),),
    ) -> None:
        self.nursery = nursery
        self.words = words
        self.plans = plans
        self.connections = 0
        self.requests: list[tuple[str, dict[bytes, bytes]]] = []
        self.log: list[tuple[float, int, str, float]] = []

    def of(self, what: str) -> list[tuple[float, int, str, float]]:
        return [entry for entry in self.log if entry[2] == what]

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        plan = self.plans[min(self.connections, len(self.plans) - 1)]
        self.connections += 1
        await trio.lowlevel.checkpoint()
        if plan.error is not None:
            raise plan.error
        client, server = memory_stream_pair()
        name = "hang" if plan.hang_handshake or plan.never_end or plan.freeze_at < math.inf else "serve"
        self.nursery.start_soon(self._serve, server, plan, self.connections, name=name)
        return client

    async def _serve(self, stream: trio.abc.Stream, plan: Plan, number: int) -> None:
        if plan.hang_handshake:
            await trio.sleep_forever()
        if plan.hang_up_handshake:
            await stream.receive_some()
            return await stream.aclose()
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                self.requests.append((request.path, dict(request.headers)))
                if plan.status is not None:
                    await request.reject(plan.status, extra_headers=list(plan.headers), body=plan.body or None)
                else:
                    websocket = await request.accept()
                    await _Conversation(self, websocket, plan, number).run()
                nursery.cancel_scope.cancel()
        except* (Broken, ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if plan.freeze_at == math.inf:
            await trio.aclose_forcefully(stream)
        return None


class _Conversation:
    def __init__(self, provider: Provider, websocket: WebSocketConnection, plan: Plan, number: int) -> None:
        self.provider, self.websocket, self.plan, self.number = provider, websocket, plan, number
        self.sent = 0
        self.at: float | None = None  # audio time of the session that was heard up to
        self.ears: list[Ear] = []

    async def run(self) -> None:
        for text in self.plan.extra:
            await self.websocket.send_message(text)
        while True:
            message = await self.websocket.get_message()
            if isinstance(message, bytes):
                await self.hear(message)
            elif await self.obey(json.loads(message)):
                return

    async def hear(self, pcm: bytes) -> None:
        channels = len(self.provider.words)
        steps = np.frombuffer(pcm, "<i2")[:: STEP * channels].astype(int)
        assert len(pcm) % (2 * STEP * channels) == 0
        assert len(pcm) > 0
        if self.at is None:
            self.at = float(steps[0]) / 100
            self.ears = [Ear(i, channels, words, self.at) for i, words in enumerate(self.provider.words)]
        assert steps.tolist() == list(range(round(self.at * 100), round(self.at * 100) + len(steps)))
        self.at = round(self.at + len(steps) / 100, 2)
        self.note("audio")
        if self.at >= self.plan.drop_at:
            raise Broken
        if self.at >= self.plan.freeze_at:
            raise Broken  # the nursery with the reader ends, but the stream stays open
        if self.at >= self.plan.close_at and self.plan.close:
            await self.websocket.aclose(*self.plan.close)
            raise Broken
        for ear in self.ears:
            for result in ear.hear(self.at):
                await self.say(result)

    async def obey(self, message: dict[str, object]) -> bool:
        self.note(str(message["type"]))
        match message:
            case {"type": "Finalize"}:
                channel = message.get("channel")
                for ear in self.ears if channel is None else [self.ears[int(str(channel))]]:
                    if self.plan.finalize_answers and self.at is not None:
                        await self.say(ear.result(self.at, final=True, finalized=True))
            case {"type": "CloseStream"}:
                for ear in self.ears:
                    if self.at is not None and self.at > ear.begin:
                        await self.say(ear.result(self.at, final=True))
                if self.plan.never_end:
                    await trio.sleep_forever()
                await self.say({"type": "Metadata", "duration": self.at or 0.0, "channels": 1})
                await self.websocket.aclose(1000)
                return True
        return False

    async def say(self, message: dict[str, object]) -> None:
        if self.plan.silent:
            return
        if self.plan.delay:
            await trio.sleep(self.plan.delay)
        await self.websocket.send_message(json.dumps(message))
        self.sent += 1
        if self.sent >= self.plan.drop_after_messages:
            raise Broken

    def note(self, what: str) -> None:
        self.provider.log.append((trio.current_time(), self.number, what, self.at or 0.0))
