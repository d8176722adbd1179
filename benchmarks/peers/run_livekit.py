"""LiveKit Agents listens to the calls of a plan.

    python -m benchmarks.peers.run_livekit PLAN --settings NAME [--at-once N]

An ``AgentSession`` with the Deepgram plugin, without a room: its audio input is the call. A turn is handed over with
``on_user_turn_completed``; there is no LLM behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import logging
import os
import sys
from functools import partial
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, StopResponse
from livekit.agents.voice import io
from livekit.agents.voice.agent_activity import AgentActivity
from livekit.plugins import deepgram, silero

from benchmarks.peers.feed import RATE, Call, Feed, play, report

_SETTINGS = ("default", "default-flush", "default-tuned", "vad", "vad-flush", "vad-tuned", "stt", "hearout")


def agent_session(settings: str, stt: deepgram.STT) -> AgentSession[Any]:
    if settings == "hearout":
        from hearout.integrations.livekit_turns import WithTurns, session_options

        turns = WithTurns(stt)
        session: AgentSession[Any] = AgentSession(stt=turns, **session_options())
        turns.watch(session)
        return session
    mode, _, more = settings.partition("-")
    if more:  # Finalize when the voice stops, which the plugin does not announce that it can
        stt.capabilities.manual_flush = True
    if mode == "default":  # LiveKit's own audio turn detector (v1-mini, local) and bundled voice detection
        return AgentSession(stt=stt)
    # Silero's plugin, which waits for 0.55 s of silence; in mode "stt" speech_final ends the turn, and 0.5 s.
    return AgentSession(stt=stt, vad=silero.VAD.load(), turn_handling={"turn_detection": mode})


class _Line(io.AudioInput):
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


def _report_early_replies() -> None:
    """Say when a reply would be begun before its turn is over; that takes the one before it back."""

    def begun(activity: AgentActivity, info: Any) -> None:
        report(activity.agent.call.name, "predicted")

    AgentActivity.on_preemptive_generation = begun


class _Receptionist(Agent):
    def __init__(self, call: Call) -> None:
        super().__init__(instructions="Say nothing.")
        self.call = call

    async def on_user_turn_completed(self, turn_ctx: Any, new_message: Any) -> None:
        report(self.call.name, "turn", text=new_message.text_content or "")
        raise StopResponse


async def listen(call: Call, settings: str) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{call.port}/v1/listen"
        stt = deepgram.STT(api_key="local", base_url=url, http_session=http)
        if settings.endswith("tuned"):
            # Finals for Finalize, long before this endpoint: the text is there or not at all, and LiveKit waits for it.
            stt.update_options(endpointing_ms=2000)
        session = agent_session(settings, stt)
        session.on("error", lambda event: report(call.name, "error", text=str(event.error)[:200]))
        line = _Line(call)
        session.input.audio = line
        await session.start(_Receptionist(call))
        await line.over.wait()
        await session.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="LiveKit Agents listens to the calls of a plan.")
    parser.add_argument("plan")
    parser.add_argument("--settings", choices=_SETTINGS, default="default")
    parser.add_argument("--at-once", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=os.environ.get("PEERS_LOG", "WARNING"), stream=sys.stderr)
    packages = ("livekit-agents", "livekit-plugins-deepgram", "livekit-plugins-silero", "livekit-local-inference")
    _report_early_replies()
    report("", "version", versions={name: importlib.metadata.version(name) for name in packages})
    asyncio.run(play(args.plan, partial(listen, settings=args.settings), args.at_once))
    sys.stdout.flush()
    os._exit(0)  # its threads of native code do not always end
