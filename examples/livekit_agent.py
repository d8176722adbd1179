"""A LiveKit agent with hearout's turns: plays a WAV file as the user, and prints what the LLM would be asked.

    python examples/livekit_agent.py samples/phone_number.wav [--url URL] [--own]

Without ``--url`` the local recogniser hears it. With ``--own`` LiveKit's Deepgram plugin listens, and only the turns
are hearout's: that needs ``livekit-plugins-deepgram``. In an agent of yours the audio comes from a room, so there is
no `Line`: ``await session.start(agent, room=ctx.room)``; and it has an LLM and a TTS, and replies.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
import wave
from contextlib import AsyncExitStack

from livekit import rtc
from livekit.agents import Agent, AgentSession, ErrorEvent, StopResponse, llm
from livekit.agents.utils import http_context
from livekit.agents.voice import io

from hearout import Deepgram, HearoutError, SessionError, aio
from hearout.integrations.livekit import HearoutSTT, session_options
from hearout.integrations.livekit_events import TurnSTT
from hearout.integrations.livekit_turns import WithTurns


class Line(io.AudioInput):
    """Plays a WAV file of 16 bits and one channel in real time."""

    def __init__(self, path: str) -> None:
        super().__init__(label=path)
        with wave.open(path) as file:
            self._rate = file.getframerate()
            self._pcm = file.readframes(file.getnframes())
        self._at = 0
        self._began: float | None = None
        self.over = asyncio.Event()

    async def __anext__(self) -> rtc.AudioFrame:
        self._began = self._began or time.monotonic()
        block = self._pcm[2 * self._at : 2 * (self._at + self._rate // 50)]
        if not block:
            self.over.set()
            raise StopAsyncIteration
        self._at += len(block) // 2
        await asyncio.sleep(self._began + self._at / self._rate - time.monotonic())
        return rtc.AudioFrame(block, self._rate, 1, len(block) // 2)


class Clerk(Agent):
    """Prints what it is asked."""

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        print(f"user: {new_message.text_content}", flush=True)
        raise StopResponse


def own_stt(url: str) -> TurnSTT:
    from livekit.plugins import deepgram

    return WithTurns(deepgram.STT(api_key="any-key", base_url=url))


async def talk(path: str, url: str, own: bool) -> None:
    line = Line(path)
    stt = own_stt(url) if own else HearoutSTT(Deepgram("any-key", url))
    session: AgentSession[None] = AgentSession(stt=stt, **session_options())
    stt.watch(session)

    fatal: list[str] = []

    @session.on("error")
    def failed(event: ErrorEvent) -> None:
        if event.error.recoverable:
            print(f"trouble: {event.error.error}", file=sys.stderr, flush=True)
        else:
            fatal.append(str(event.error.error))
            line.over.set()

    session.input.audio = line
    await session.start(Clerk(instructions="Write down what the user says."))
    await line.over.wait()
    await session.aclose()  # waits for the last words
    if fatal:
        raise SessionError(fatal[0])


async def main(path: str, url: str | None, own: bool) -> None:
    async with AsyncExitStack() as stack:
        if url is None:
            url = await stack.enter_async_context(aio.local_server())
        await stack.enter_async_context(http_context.open())  # a job has one
        await talk(path, url, own)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A WAV file talks to a LiveKit agent.")
    parser.add_argument("path", metavar="FILE.wav")
    parser.add_argument("--url", help="of the transcriber; default: the local recogniser")
    parser.add_argument("--own", action="store_true", help="LiveKit's Deepgram plugin with hearout's turns")
    options = parser.parse_args()
    logging.getLogger("livekit").setLevel(logging.CRITICAL)
    try:
        asyncio.run(main(options.path, options.url, options.own))
    except (HearoutError, OSError, wave.Error) as error:
        raise SystemExit(f"livekit_agent: {error}") from None
