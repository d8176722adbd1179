"""The same simulated conversations through the whole engine: does the fast path measure it?

Here a conversation goes through `hearout.open_session` in virtual time: audio in blocks, the real link and dialect,
websocket bytes over a stream in memory, and at the other end the same `SimulatedTranscriber` behind the same network.
The local VAD says what the conversation says it hears: audio that is heard wrongly in just that way cannot be made.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, cast

import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from benchmarks.endpointing.conversations import FRAME, Conversation, Edge, sample
from benchmarks.endpointing.scenarios import Scenario, Transcriber
from benchmarks.endpointing.simulated import SimulatedTranscriber, converse, ways
from hearout import Deepgram, Session, open_session
from hearout.vad import SpeechEdge, SpeechGate
from hearout_policies import Finalize, Policy, TurnAbandoned, TurnCompleted
from hearout_policies.events import Output

__all__ = ["Agreement", "compare", "converse_through_engine"]

_RATE = 8000
_SAME = 0.1  # seconds; completions that differ by more are different decisions


class _Silence:
    """The audio, in real time. What is in it does not matter: gate and transcriber know what there is to hear."""

    sample_rate, channels = _RATE, 1

    def __init__(self, length: float) -> None:
        self.began = math.nan
        self.duration = length
        self._blocks = round(length / FRAME)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.began = trio.current_time()
        for number in range(self._blocks):
            await trio.sleep_until(self.began + (number + 1) * FRAME)
            yield bytes(2 * round(_RATE * FRAME))


class _ScriptedGate:
    """A `SpeechGate` that notices what the conversation says."""

    speaking, level, heard = False, -math.inf, 0.0

    def __init__(self, edges: Sequence[Edge]) -> None:
        self._edges = list(reversed(edges))

    def feed(self, pcm: bytes) -> list[SpeechEdge]:
        self.heard += len(pcm) / 2 / _RATE
        found = []
        while self._edges and self._edges[-1].at <= self.heard + 1e-6:
            edge = self._edges.pop()
            self.speaking = edge.kind == "start"
            found.append(SpeechEdge(edge.kind, edge.audio))
        return found

    def flush(self) -> list[SpeechEdge]:
        found = [SpeechEdge("stop", self.heard)] if self.speaking else []
        self.speaking = False
        return found


class _Provider:
    """The far end: websocket, network and `SimulatedTranscriber`."""

    def __init__(
        self, conversation: Conversation, transcriber: Transcriber | None, source: _Silence, nursery: trio.Nursery
    ) -> None:
        self._transcriber = SimulatedTranscriber(conversation, transcriber)
        self._up, self._down = ways(conversation)
        self._source = source
        self._nursery = nursery
        self._heard = 0  # bytes

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        arrivals, to_hear = trio.open_memory_channel[tuple[float, str, float]](math.inf)
        answers, to_send = trio.open_memory_channel[tuple[float, dict[str, Any]]](math.inf)
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, cast(trio.SocketStream, stream))
            websocket = await request.accept()
            nursery.start_soon(self._receive, websocket, arrivals)
            nursery.start_soon(self._hear, to_hear, answers)
            nursery.start_soon(self._send, websocket, to_send)

    @property
    def _now(self) -> float:
        return trio.current_time() - self._source.began

    async def _receive(
        self, websocket: WebSocketConnection, arrivals: trio.MemorySendChannel[tuple[float, str, float]]
    ) -> None:
        async with arrivals:
            while True:
                try:
                    message = await websocket.get_message()
                except ConnectionClosed:
                    return
                kind = "audio"
                if isinstance(message, bytes):
                    self._heard += len(message)
                else:
                    kind = str(json.loads(message)["type"])
                until = round(self._heard / 2 / _RATE, 3)
                arrivals.send_nowait((self._up.pass_through(self._now), kind, until))

    async def _hear(
        self,
        arrivals: trio.MemoryReceiveChannel[tuple[float, str, float]],
        answers: trio.MemorySendChannel[tuple[float, dict[str, Any]]],
    ) -> None:
        spoken = 0.0
        async with answers:
            async for at, kind, until in arrivals:
                await trio.sleep_until(self._source.began + at)
                match kind:
                    case "audio":
                        said = self._transcriber.hear(until)
                    case "Finalize":
                        said = self._transcriber.finalize(until)
                    case "CloseStream":
                        said = [(0.0, {"type": "Metadata", "duration": until, "channels": 1})]
                    case _:
                        said = []
                for takes, message in said:
                    spoken = max(spoken, at + takes)
                    answers.send_nowait((self._down.pass_through(spoken), message))

    async def _send(
        self, websocket: WebSocketConnection, answers: trio.MemoryReceiveChannel[tuple[float, dict[str, Any]]]
    ) -> None:
        async for at, message in answers:
            await trio.sleep_until(self._source.began + at)
            try:
                await websocket.send_message(json.dumps(message))
                if message["type"] == "Metadata":
                    await websocket.aclose(1000)
            except ConnectionClosed:
                return


def converse_through_engine(
    conversation: Conversation, policy: Policy, transcriber: Transcriber | None = None
) -> list[Output]:
    """What the fast path's `converse` does, through a session."""

    async def main() -> list[Output]:
        outputs: list[Output] = []
        source = _Silence(conversation.length)
        async with trio.open_nursery() as nursery:
            provider = _Provider(conversation, transcriber, source, nursery)
            async with open_session(
                source,
                Deepgram("any", sample_rate=_RATE),
                policy=policy,
                vad=lambda _: cast(SpeechGate, _ScriptedGate(conversation.edges)),
                connect=provider.connect,
            ) as session:
                nursery.start_soon(_speak, session, conversation, source)
                async for event in session:
                    if isinstance(event, Output):
                        outputs.append(event)
            nursery.cancel_scope.cancel()
        return outputs

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def _speak(session: Session, conversation: Conversation, source: _Silence) -> None:
    """The voicebot."""
    await trio.lowlevel.checkpoint()  # the audio has begun then
    for start, end in conversation.agent:
        await trio.sleep_until(source.began + start)
        session.agent_started()
        await trio.sleep_until(source.began + end)
        session.agent_stopped()


@dataclass
class Agreement:
    """Decisions (turns completed and abandoned) on both ways.

    Attributes:
        differences: seconds by which the engine decides later than the fast path, where both decide the same.
        alone: decisions that only one of them took, or more than 0.1 s apart.
        texts: the same decision with another text.
        finalizes: sent by the engine, and on the fast path.
    """

    differences: list[float] = field(default_factory=list)
    alone: int = 0
    texts: int = 0
    finalizes: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        sizes = sorted(abs(one) for one in self.differences) or [math.nan]
        count = len(self.differences)
        return (
            f"{count} decisions on both ways, {self.alone} on one only, {self.texts} with another text; the engine "
            f"decides {1e6 * median(self.differences or [math.nan]):+.1f} us later (median); difference p90 "
            f"{1e6 * sizes[int(0.9 * len(sizes))]:.1f} us, most {1e6 * sizes[-1]:.1f} us; Finalizes "
            f"{self.finalizes[0]} and {self.finalizes[1]}"
        )


def compare(scenario: Scenario, policy: Policy, *, seed: int, conversations: int, turns: int = 4) -> Agreement:
    """Run so many short conversations both ways."""
    agreement = Agreement()
    for number in range(conversations):
        conversation = sample(scenario, seed, number, turns)
        _compare(agreement, converse_through_engine(conversation, policy), converse(conversation, policy))
    return agreement


def _compare(agreement: Agreement, engine: Sequence[Output], fast: Sequence[Output]) -> None:
    sent = [sum(isinstance(one, Finalize) for one in outputs) for outputs in (engine, fast)]
    agreement.finalizes = (agreement.finalizes[0] + sent[0], agreement.finalizes[1] + sent[1])
    left = [one for one in fast if isinstance(one, (TurnCompleted, TurnAbandoned))]
    for one in engine:
        if not isinstance(one, (TurnCompleted, TurnAbandoned)):
            continue
        same = next((other for other in left if type(other) is type(one) and abs(other.at - one.at) < _SAME), None)
        if same is None:
            agreement.alone += 1
            continue
        left.remove(same)
        agreement.differences.append(one.at - same.at)
        agreement.texts += getattr(one, "text", "") != getattr(same, "text", "")
    agreement.alone += len(left)
