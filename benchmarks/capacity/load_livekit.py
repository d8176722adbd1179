"""The calls of LiveKit Agents, all in one process: the session of `benchmarks.peers.run_livekit`, over and over."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, StopResponse
from livekit.agents.voice import io
from livekit.plugins import deepgram

from benchmarks.capacity.meter import Meter, Pace
from benchmarks.capacity.script import FRAME, RATE, Talk, load_talk
from benchmarks.peers.run_livekit import agent_session


class _Line(io.AudioInput):
    def __init__(self, talk: Talk, meter: Meter) -> None:
        super().__init__(label="line")
        self._talk = talk
        self._meter = meter
        self.pace: Pace | None = None

    async def __anext__(self) -> rtc.AudioFrame:
        self.pace = self.pace or Pace(self._talk, self._meter)
        await asyncio.sleep(max(0.0, self.pace.wait()))
        frame = self.pace.frame()
        return rtc.AudioFrame(data=frame, sample_rate=RATE, num_channels=1, samples_per_channel=round(RATE * FRAME))


class _Receptionist(Agent):
    def __init__(self, talk: Talk, line: _Line, meter: Meter) -> None:
        super().__init__(instructions="Say nothing.")
        self._talk, self._line, self._meter = talk, line, meter

    async def on_user_turn_completed(self, turn_ctx: Any, new_message: Any) -> None:
        assert self._line.pace is not None
        self._meter.turn(self._talk, time.monotonic() - self._line.pace.began, new_message.text_content or "")
        raise StopResponse


async def call(talk: Talk, url: str, settings: str, http: aiohttp.ClientSession, meter: Meter) -> None:
    session = agent_session(settings, deepgram.STT(api_key="local", base_url=url, http_session=http))
    line = _Line(talk, meter)
    session.input.audio = line
    await session.start(_Receptionist(talk, line, meter))


async def main(url: str, calls: int, seconds: float, pcm: Path, settings: str) -> None:
    talk, meter = load_talk(pcm), Meter(calls)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        running = []
        for _ in range(calls):
            running.append(asyncio.create_task(call(talk, url.replace("ws://", "http://"), settings, http, meter)))
            await asyncio.sleep(0.137)
        meter.settle()
        await asyncio.sleep(5)
        meter.start()
        await asyncio.sleep(seconds)
        meter.stop()
        meter.report()
        sys.stdout.flush()
        os._exit(0)  # its threads of native code do not always end


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--core", type=int)
    parser.add_argument("--pcm", type=Path, required=True)
    parser.add_argument("--settings", default="default")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    asyncio.run(main(args.url, args.calls, args.seconds, args.pcm, args.settings))
