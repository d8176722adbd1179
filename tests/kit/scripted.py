"""A session against the local server that plays a trace: what the trace heard with its VAD, the session hears too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Any

import trio
from trio.testing import memory_stream_pair

from hearout import open_session
from hearout.session.session import Session
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.traces.records import AgentChange, AppCall, AudioEnd, LinkChange, Received, Sent, Trace, VoiceChange
from hearout.traces.replayer import recorded_policy
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.base import Dialect
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.flux import Flux
from hearout.transcribers.soniox import Soniox
from hearout.vad import SpeechEdge
from hearout_policies.events import TurnCompleted
from tests.kit.models import no_recogniser

RATE = 16_000


class Silence:
    """Silence of some length, in blocks of 20 ms: in real time, or at once."""

    sample_rate = RATE
    duration: float | None = None

    def __init__(self, seconds: float, channels: int = 1, *, live: bool) -> None:
        self.channels = channels
        self._blocks = round(seconds * 50)
        self._live = live

    async def __aiter__(self) -> AsyncIterator[bytes]:
        began = trio.current_time()
        for number in range(self._blocks):
            if self._live:
                await trio.sleep_until(began + (number + 1) * 0.02)
            yield bytes(RATE // 50 * 2 * self.channels)


class Gate:
    """Voice detection that notices what a trace says, when the trace says so."""

    speaking = False
    level = 0.0

    def __init__(self, changes: Sequence[VoiceChange]) -> None:
        self.heard = 0.0
        self._changes = list(changes)

    def feed(self, pcm: bytes) -> list[SpeechEdge]:
        self.heard += len(pcm) / 2 / RATE
        edges = []
        while self._changes and self._changes[0].t <= self.heard + 1e-6:
            change = self._changes.pop(0)
            self.speaking = change.kind == "start"
            edges.append(SpeechEdge(change.kind, change.audio))
        return edges

    def flush(self) -> list[SpeechEdge]:
        self._changes, speaking, self.speaking = [], self.speaking, False
        return [SpeechEdge("stop", self.heard)] if speaking else []


def gates(trace: Trace) -> Callable[[int], Any] | None:
    """The voice detection of each channel; None when the trace had none."""
    if not trace.header.vad:
        return None
    channels = count()

    def make(sample_rate: int) -> Gate:
        channel = next(channels)
        return Gate([r for r in trace.records if isinstance(r, VoiceChange) and r.channel == channel])

    return make


def length(trace: Trace) -> float:
    """Seconds of audio that the trace needs: to its end, or until its last turns have surely ended."""
    for record in trace.records:
        if isinstance(record, AudioEnd):
            return record.t
    return (trace.records[-1].t if trace.records else 0.0) + 9.0


def dialect(trace: Trace, **options: Any) -> Dialect:
    """The client that understands the script."""
    match trace.header.stt:
        case "soniox":
            return Soniox("any", **options)
        case "flux":
            return Flux("any", own_turns=bool(trace.answers), **options)
        case "assemblyai":
            return AssemblyAI("any", **_recorded(trace), **options)
    return Deepgram("any", channels=trace.header.channels, **options)


def _recorded(trace: Trace) -> dict[str, Any]:
    """The options that the trace was made with."""
    sent = [record.message for record in trace.records if isinstance(record, Sent)]
    return {k: v for message in sent if message["type"] == "Options" for k, v in message.items() if k != "type"}


async def converse(trace: Trace, transcriber: Dialect, *, live: bool, **options: Any) -> list[TurnCompleted]:
    """The turns of a session on the audio of the trace; `live` in real time."""
    turns = []
    async with (
        trio.open_nursery() as nursery,
        open_session(
            Silence(length(trace), trace.header.channels, live=live),
            transcriber,
            policy=recorded_policy(trace),
            vad=gates(trace),
            realtime=live,
            **options,
        ) as session,
    ):
        nursery.start_soon(meddle, session, trace)
        async for event in session:
            if isinstance(event, TurnCompleted):
                turns.append(event)
        nursery.cancel_scope.cancel()
    return turns


async def meddle(session: Session, trace: Trace) -> None:
    """The application and the agent of the trace; in real time only."""
    began = trio.current_time()
    for record in trace.records:
        if isinstance(record, (AgentChange, AppCall)):
            await trio.sleep_until(began + record.t)
            if isinstance(record, AppCall):
                getattr(session, record.kind)(record.channel)
            elif record.kind == "started":
                session.agent_started()
            else:
                session.agent_stopped()


async def in_memory(trace: Trace, **options: Any) -> list[TurnCompleted]:
    """`converse` with a server on streams in memory: for virtual time."""
    async with trio.open_nursery() as nursery:
        server = SttServer(no_recogniser(), script=Script(trace))

        async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve, theirs)
            return ours

        turns = await converse(trace, dialect(trace), live=True, connect=connect, **options)
        nursery.cancel_scope.cancel()
    return turns


def links(trace: Trace) -> list[LinkChange]:
    return [record for record in trace.records if isinstance(record, LinkChange)]


def messages(trace: Trace) -> list[Received]:
    return [record for record in trace.records if isinstance(record, Received)]
