"""ElevenLabs' own Python client with the local server. Run by ``run_pipecat.py``, which installs it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from elevenlabs.realtime.connection import RealtimeConnection, RealtimeEvents
from elevenlabs.realtime.scribe import AudioFormat, CommitStrategy, ScribeRealtime

from tests.integration.servers.order import RATE, TURNS, order, order_server, words_wrong
from tests.kit.serving import playing, serving

KINDS = [kind for kind in RealtimeEvents if kind not in (RealtimeEvents.OPEN, RealtimeEvents.CLOSE)]


class Events(list[tuple[str, dict[str, Any]]]):
    """What the client is told."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def add(self, kind: str, data: dict[str, Any]) -> None:
        self.append((kind, data))
        self._news.set()

    def texts(self, kind: str) -> list[str]:
        return [data.get("text", "") for name, data in self if name == kind]

    async def until(self, kind: str, count: int = 1) -> None:
        """It has been told so many of a kind."""
        while len(self.texts(kind)) < count:
            self._news.clear()
            await self._news.wait()


def converse(server: str, act: Callable[[RealtimeConnection, Events], Awaitable[None]], **options: Any) -> Events:
    """All that the client is told while it does ``act``."""

    async def main() -> Events:
        usual = {"model_id": "scribe_v2_realtime", "audio_format": AudioFormat.PCM_16000, "sample_rate": RATE}
        client = ScribeRealtime(api_key="any", base_url=f"ws://{server}")
        connection = await client.connect(usual | options)
        events = Events()
        for kind in KINDS:
            connection.on(kind, lambda data, kind=kind: events.add(kind.value, data))
        await act(connection, events)
        await connection.close()
        return events

    return asyncio.run(asyncio.wait_for(main(), 60))


async def say(connection: RealtimeConnection, audio: bytes) -> None:
    for at in range(0, len(audio), RATE // 5):
        await connection.send({"audio_base_64": base64.b64encode(audio[at : at + RATE // 5]).decode()})


def test_the_order_is_heard_by_commits(tmp_path: Path) -> None:
    timed = "committed_transcript_with_timestamps"

    async def act(connection: RealtimeConnection, events: Events) -> None:
        audio, said = order(), 0
        for number, turn in enumerate(TURNS, 1):
            end = round((turn["end"] + 0.2) * RATE) * 2
            await say(connection, audio[said:end])
            said = end
            await connection.commit()
            await events.until(timed, number)

    with order_server() as server:
        events = converse(server, act, include_timestamps=True, language_code="en", keyterms=["coffee"])
    assert events[0][0] == "session_started"
    assert events[0][1]["config"]["keyterms"] == ["coffee"]
    assert words_wrong(events.texts(timed)) <= 2
    assert events.texts("committed_transcript") == events.texts(timed)
    for turn, (_, data) in zip(TURNS, (event for event in events if event[0] == timed), strict=True):
        words = [word for word in data["words"] if word["type"] == "word"]
        assert abs(words[0]["start"] - turn["start"]) < 0.3
        assert abs(words[-1]["end"] - turn["end"]) < 0.3


def test_the_order_is_heard_without_commits(tmp_path: Path) -> None:
    async def act(connection: RealtimeConnection, events: Events) -> None:
        await say(connection, order() + bytes(4 * RATE))
        await events.until("committed_transcript", len(TURNS))

    with order_server() as server:
        options = {"commit_strategy": CommitStrategy.VAD, "vad_silence_threshold_secs": 0.5}
        events = converse(server, act, **options)
    assert words_wrong(events.texts("committed_transcript")) <= 2


def test_a_throttled_commit_is_told(tmp_path: Path) -> None:
    async def act(connection: RealtimeConnection, events: Events) -> None:
        await say(connection, bytes(RATE // 5))
        await connection.commit()
        await events.until("commit_throttled")

    with serving() as server:
        events = converse(server, act)
    assert [kind for kind, _ in events][:3] == ["session_started", "commit_throttled", "error"]


def test_a_wrong_key_is_told() -> None:
    async def act(connection: RealtimeConnection, events: Events) -> None:
        await events.until("auth_error")

    with playing(stt="elevenlabs", token="right") as server:
        events = converse(server, act)
    assert [kind for kind, _ in events][:2] == ["auth_error", "error"]
