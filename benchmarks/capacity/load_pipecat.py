"""The calls of Pipecat, all in one process: the pipeline of `benchmarks.peers.run_pipecat`, over and over."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from benchmarks.capacity.meter import Meter, Pace
from benchmarks.capacity.script import RATE, Talk, load_talk
from benchmarks.peers.run_pipecat import aggregator_params


class _Line(BaseInputTransport):
    def __init__(self, talk: Talk, meter: Meter) -> None:
        super().__init__(TransportParams(audio_in_enabled=True, audio_in_sample_rate=RATE))
        self._talk = talk
        self._meter = meter
        self.pace = Pace(talk, meter)

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self.pace = Pace(self._talk, self._meter)
        self._pump_task = self.create_task(self._pump())

    async def _pump(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self.pace.wait()))
            frame = InputAudioRawFrame(audio=self.pace.frame(), sample_rate=RATE, num_channels=1)
            await self.push_audio_frame(frame)


async def call(talk: Talk, base_url: str, settings: str, meter: Meter) -> None:
    line = _Line(talk, meter)
    stt = DeepgramSTTService(api_key="local", base_url=base_url)
    user = LLMContextAggregatorPair(LLMContext(), user_params=aggregator_params(settings)).user()

    @user.event_handler("on_user_turn_stopped")
    async def stopped(aggregator: Any, strategy: Any, message: Any) -> None:
        meter.turn(talk, time.monotonic() - line.pace.began, message.content or "")

    params = PipelineParams(audio_in_sample_rate=RATE)
    worker = PipelineWorker(Pipeline([line, stt, user]), params=params, idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


async def main(url: str, calls: int, seconds: float, pcm: Path, settings: str) -> None:
    talk, meter = load_talk(pcm), Meter(calls)
    base_url = url.removesuffix("/v1/listen")
    running = []
    for _ in range(calls):
        running.append(asyncio.create_task(call(talk, base_url, settings, meter)))
        await asyncio.sleep(0.137)
    meter.settle()
    await asyncio.sleep(5)
    meter.start()
    await asyncio.sleep(seconds)
    meter.stop()
    meter.report()
    sys.stdout.flush()
    os._exit(0)  # nothing of it is needed any more, and hundreds of pipelines take long to stop


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--core", type=int)
    parser.add_argument("--pcm", type=Path, required=True)
    parser.add_argument("--settings", default="default")
    args = parser.parse_args()
    logger.remove()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    asyncio.run(main(args.url, args.calls, args.seconds, args.pcm, args.settings))
