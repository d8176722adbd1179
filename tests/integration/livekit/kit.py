"""Calls without a room: an `AgentSession` whose audio comes from a script, and a transcriber that knows the words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import trio
from livekit import rtc
from livekit.agents import Agent, AgentSession, StopResponse, llm
from livekit.agents.voice import io
from trio.lowlevel import current_trio_token

from hearout import parse_trace
from hearout.aio.guest import in_trio
from hearout.integrations.livekit import HearoutSTT, session_options
from hearout.integrations.livekit_events import TurnSTT
from hearout.nursery import open_background
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.traces.records import Trace
from tests.kit.models import no_recogniser
from tests.kit.scripted import RATE, dialect, gates

T = TypeVar("T")

BLOCK = 0.02  # seconds
MS = RATE // 1000


class Line(io.AudioInput):
    """The caller's line: silence (the script has the words) in real time, then nothing.

    Args:
        sound: mono, heard first.

    Attributes:
        worst: seconds by which a block was fetched too late: a busy machine.
    """

    def __init__(
        self, seconds: float, rate: int = RATE, channels: int = 1, block: float = BLOCK, sound: bytes = b""
    ) -> None:
        super().__init__(label="line")
        self._sound = sound
        self.over = asyncio.Event()
        self.began: float | None = None
        self.worst = 0.0
        self._block = block
        self._left = round(seconds / block)
        self._rate, self._channels = rate, channels
        self._given = 0

    async def __anext__(self) -> rtc.AudioFrame:
        if self.began is None:
            self.began = time.monotonic()
        if self._given >= self._left:
            self.over.set()
            await asyncio.Event().wait()
        self._given += 1
        wait = self.began + self._given * self._block - time.monotonic()
        self.worst = max(self.worst, -wait)
        await asyncio.sleep(max(0.0, wait))
        samples = round(self._rate * self._block)
        size = 2 * samples * self._channels
        data = self._sound[(self._given - 1) * size : self._given * size].ljust(size, b"\0")
        return rtc.AudioFrame(data, self._rate, self._channels, samples)


class Speaker(io.AudioOutput):
    """Plays what the agent says, in real time; can pause."""

    def __init__(self) -> None:
        super().__init__(label="speaker", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=RATE)
        self._held = self._played = 0.0
        self._end = False
        self._paused = False
        self._task: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._held += frame.duration
        self._end = False
        if self._task is None:
            self._task = asyncio.create_task(self._play())

    async def _play(self) -> None:
        self.on_playback_started(created_at=time.time())
        while self._played < self._held or not self._end:
            await asyncio.sleep(BLOCK)
            if not self._paused:
                self._played = min(self._held, self._played + BLOCK)
        self._finish(interrupted=False)

    def _finish(self, *, interrupted: bool) -> None:
        played, self._held, self._played, self._task = self._played, 0.0, 0.0, None
        self.on_playback_finished(playback_position=played, interrupted=interrupted)

    def flush(self) -> None:
        super().flush()
        self._end = True

    def clear_buffer(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._finish(interrupted=True)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False


async def speech(seconds: float) -> AsyncIterator[rtc.AudioFrame]:
    """What the agent says."""
    for _ in range(round(seconds / BLOCK)):
        yield rtc.AudioFrame(bytes(2 * 20 * MS), RATE, 1, 20 * MS)


class Oracle(llm.LLM):
    """A model that says one word; notes when it was asked, and what."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, str]] = []

    def chat(self, *, chat_ctx: llm.ChatContext, **options: Any) -> llm.LLMStream:
        last = chat_ctx.items[-1]
        self.asked.append((time.monotonic(), getattr(last, "text_content", None) or ""))
        return _Answer(self, chat_ctx=chat_ctx, tools=[], conn_options=options["conn_options"])


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=llm.ChoiceDelta(role="assistant", content="Fine.")))


@dataclass
class Call:
    """One call and what became of it.

    Attributes:
        turns: what LiveKit committed: (audio time of the line, text).
        messages: the same, as LiveKit's chat messages.
        told: what happened, as (audio time of the line, name, what).
    """

    stt: TurnSTT
    session: AgentSession[Any]
    line: Line
    turns: list[tuple[float, str]] = field(default_factory=list)
    messages: list[llm.ChatMessage] = field(default_factory=list)
    told: list[tuple[float, str, Any]] = field(default_factory=list)

    def now(self) -> float:
        return time.monotonic() - (self.line.began or time.monotonic())

    def note(self, name: str, what: Any) -> None:
        self.told.append((self.now(), name, what))

    def of(self, name: str) -> list[Any]:
        return [what for _, what_name, what in self.told if what_name == name]

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.turns]

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for it, at most so long."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (of LiveKit's state, which tells nobody)
                await asyncio.sleep(0.01)

    async def at(self, audio: float) -> None:
        """Wait for that moment of the line."""
        await self.until(lambda: self.line.began is not None and self.now() >= audio, 60.0)


class _Clerk(Agent):
    """Writes the turns down; answers when there is a model."""

    def __init__(self, answers: bool) -> None:
        super().__init__(instructions="Say nothing.")
        self.call: Call | None = None
        self._answers = answers

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        assert self.call is not None
        self.call.turns.append((self.call.now(), new_message.text_content or ""))
        self.call.messages.append(new_message)
        if not self._answers:
            raise StopResponse


@asynccontextmanager
async def calling(
    stt: TurnSTT,
    seconds: float,
    *,
    rate: int = RATE,
    channels: int = 1,
    block: float = BLOCK,
    model: llm.LLM | None = None,
    speaker: Speaker | None = None,
    **options: Any,
) -> AsyncIterator[Call]:
    """An AgentSession for the length of a block."""
    session: AgentSession[Any] = AgentSession(
        stt=stt,
        aec_warmup_duration=None,
        **{
            "session_close_transcript_timeout": 0.2,  # instead of 2 s: most calls end without last words
            **session_options(),
            **({"llm": model} if model else {}),
            **options,
        },
    )
    stt.watch(session)
    call = Call(stt, session, Line(seconds, rate, channels, block))
    stt.on("turn_event", lambda event: call.note(event.type, event))
    stt.on("metrics_collected", lambda metrics: call.note("metrics", metrics))
    session.on("user_state_changed", lambda event: call.note("user_state", event.new_state))
    session.on("agent_state_changed", lambda event: call.note("agent_state", event.new_state))
    session.on("user_input_transcribed", lambda event: call.note("final" if event.is_final else "interim", event))
    session.on("error", lambda event: call.note("error", event.error))
    session.on("close", lambda event: call.note("close", event))
    session.input.audio = call.line
    if speaker is not None:
        session.output.audio = speaker
    clerk = _Clerk(model is not None)
    clerk.call = call
    await session.start(clerk)
    try:
        yield call
    finally:
        await session.aclose()


@asynccontextmanager
async def serving(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A server of trio's beside the event loop; gives the address of its only endpoint."""

    @asynccontextmanager
    async def listening() -> AsyncIterator[int]:
        async with open_background() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, handler, [listener])
            yield listener.socket.getsockname()[1]

    async with in_trio(listening()) as port:
        yield f"ws://127.0.0.1:{port}"


@asynccontextmanager
async def playing(trace: Trace, *, refuse: Sequence[int] = ()) -> AsyncIterator[str]:
    """A server that plays the trace, after it has refused as many connections; gives its address."""
    pool = no_recogniser()
    server = SttServer(pool, script=Script(trace))
    turn = iter([*(SttServer(pool, refuse=status) for status in refuse)])

    async def serve(stream: trio.SocketStream) -> None:
        await next(turn, server).serve(stream)

    async with serving(serve) as url:
        yield url + server.paths[0]


@asynccontextmanager
async def transcribing(trace: Trace, *, refuse: Sequence[int] = (), **options: Any) -> AsyncIterator[HearoutSTT]:
    """Who listens to the trace, with its voice detection."""
    async with playing(trace, refuse=refuse) as url:
        yield HearoutSTT(dialect(trace, url=url), **{"vad": gates(trace), **options})


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run it, and see that nothing of it is left."""

    async def watched() -> T:
        async with asyncio.timeout(60):
            result = await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(RuntimeError):
            current_trio_token()
        return result

    return asyncio.run(watched())


def script(*records: dict[str, Any], vad: bool = True) -> Trace:
    """A trace of Deepgram's, from records in any order."""
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": 1, "vad": vad, "source": "made here"}
    ordered = sorted(records, key=lambda record: record.get("t", 0.0))
    return parse_trace(json.dumps(record) for record in (header, *ordered))


def voice(kind: str, audio: float, late: float = 0.1) -> dict[str, Any]:
    """The voice detection notices a start or stop."""
    return {"t": round(audio + late, 3), "vad": kind, "audio": audio}


def words(text: str, start: float, end: float) -> list[dict[str, Any]]:
    """Evenly spread."""
    parts = text.split()
    step = (end - start) / len(parts)
    return [
        {"word": word, "start": round(start + i * step, 3), "end": round(start + (i + 0.9) * step, 3)}
        for i, word in enumerate(parts)
    ]


def result(spoken: Sequence[dict[str, Any]], start: float, end: float, **flags: bool) -> dict[str, Any]:
    """Deepgram's Results; ``flags`` are ``is_final``, ``speech_final``, ``from_finalize``."""
    text = " ".join(word["word"] for word in spoken)
    message: dict[str, Any] = {
        "type": "Results",
        "channel_index": [0, 1],
        "start": start,
        "duration": round(end - start, 3),
    }
    for flag in ("is_final", "speech_final", "from_finalize"):
        message[flag] = flags.get(flag, False)
    message["metadata"] = {"request_id": "0b6f"}  # LiveKit's plugin wants it
    return {**message, "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": list(spoken)}]}}


def said(at: float, spoken: Sequence[dict[str, Any]], start: float, **flags: bool) -> dict[str, Any]:
    """A result that comes at ``at``, about the audio from ``start`` to then."""
    return {"t": at, "stt": result(spoken, start, at, **flags)}


def answer(spoken: Sequence[dict[str, Any]], start: float, end: float, after: float = 0.25) -> dict[str, Any]:
    """What the next Finalize is answered with."""
    return {"on": "finalize", "after": after, "stt": result(spoken, start, end, is_final=True, from_finalize=True)}
