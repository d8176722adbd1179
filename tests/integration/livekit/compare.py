"""Calls on which something goes wrong, heard by an `AgentSession` with LiveKit's own turns, and with hearout's.

    python tests/integration/run_livekit.py --compare [--scenarios NAME...] [--output DIR]

The sessions differ in ``stt`` and the options that go with it only. Calls, transcriber and scores are those of
``benchmarks.peers``: a turn is handed over with ``on_user_turn_completed``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, StopResponse
from livekit.agents.voice import io
from livekit.plugins import deepgram

from benchmarks.peers.feed import RATE, Call, Feed, report
from hearout import Deepgram, TurnAmended, TurnCompleted
from hearout.integrations.livekit import HearoutSTT, session_options
from tests.integration.comparison import compare

SYSTEMS = {
    "default": "LiveKit's default turns",
    "stt": 'LiveKit, turn_detection="stt"',
    "hearout": "with hearout",
}
USUAL = ("clean", "late-0.6", "withheld", "never", "drop", "mute")


class Line(io.AudioInput):
    """The caller's line."""

    def __init__(self, call: Call) -> None:
        super().__init__(label=call.name)
        self._feed = Feed(call)
        self.over = asyncio.Event()

    async def __anext__(self) -> rtc.AudioFrame:
        item = self._feed.next()
        if item is None:
            self.over.set()
            await asyncio.Event().wait()
            raise StopAsyncIteration
        wait, block = item
        await asyncio.sleep(wait)
        return rtc.AudioFrame(data=block, sample_rate=RATE, num_channels=1, samples_per_channel=len(block) // 2)


class Clerk(Agent):
    """Writes the turns down, under the number of hearout's latest turn."""

    def __init__(self, call: Call) -> None:
        super().__init__(instructions="Say nothing.")
        self._call = call
        self.number: int | None = None

    async def on_user_turn_completed(self, turn_ctx: Any, new_message: Any) -> None:
        report(self._call.name, "turn", text=new_message.text_content or "", turn=self.number)
        raise StopResponse

    def note(self, event: Any) -> None:
        if isinstance(event, TurnCompleted):
            self.number = event.turn
        elif isinstance(event, TurnAmended):
            report(self._call.name, "amended", text=event.text, turn=event.turn)


async def listen(call: Call, system: str) -> None:
    clerk, line = Clerk(call), Line(call)
    async with aiohttp.ClientSession() as http:
        session: AgentSession[Any]
        if system == "hearout":
            ours = HearoutSTT(Deepgram("local", f"ws://127.0.0.1:{call.port}/v1/listen"))
            session = AgentSession(stt=ours, **session_options())
            ours.watch(session)
            ours.on("turn_event", clerk.note)
        else:
            url = f"http://127.0.0.1:{call.port}/v1/listen"
            theirs = deepgram.STT(api_key="local", base_url=url, http_session=http)
            options: dict[str, Any] = {} if system == "default" else {"turn_handling": {"turn_detection": "stt"}}
            session = AgentSession(stt=theirs, **options)
        session.input.audio = line
        await session.start(clerk)
        await line.over.wait()
        await session.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    compare("livekit", "livekit-agents", listen, SYSTEMS, USUAL)
