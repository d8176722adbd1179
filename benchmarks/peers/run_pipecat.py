"""Pipecat listens to the calls of a plan.

    python -m benchmarks.peers.run_pipecat PLAN --settings NAME [--at-once N]

A usual pipeline: input transport, Deepgram service, user context aggregator with Silero's voice detection. A turn is
handed over with ``on_user_turn_stopped``; there is no LLM behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import sys
from functools import partial
from typing import Any

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import InputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from benchmarks.peers.feed import RATE, Call, Feed, play, report

_SETTINGS = ("default", "tuned", "timeout", "timeout-tuned", "hearout")


def aggregator_params(settings: str) -> LLMUserAggregatorParams:
    vad = SileroVADAnalyzer()
    if settings == "hearout":
        from hearout.integrations.pipecat_turns import HearoutTurns

        return LLMUserAggregatorParams(vad_analyzer=vad, user_turn_strategies=HearoutTurns())
    if not settings.startswith("timeout"):  # Smart Turn v3.2 on Silero's stop after 0.2 s
        return LLMUserAggregatorParams(vad_analyzer=vad)
    stop = SpeechTimeoutUserTurnStopStrategy()  # no model: 0.6 s after Silero's stop
    return LLMUserAggregatorParams(vad_analyzer=vad, user_turn_strategies=UserTurnStrategies(stop=[stop]))


def _transcriber(call: Call, settings: str) -> DeepgramSTTService:
    url = f"ws://127.0.0.1:{call.port}"
    if not settings.endswith("tuned"):
        return DeepgramSTTService(api_key="local", base_url=url)
    # Finals only for Finalize, which Pipecat sends on Silero's stop: its answer then says that nothing is missing, and
    # the time for which Pipecat waits where none comes can be long.
    only_finalize = DeepgramSTTService.Settings(endpointing=False)
    return DeepgramSTTService(api_key="local", base_url=url, settings=only_finalize, ttfs_p99_latency=1.2)


class _Line(BaseInputTransport):
    """The caller's line."""

    def __init__(self, call: Call) -> None:
        super().__init__(TransportParams(audio_in_enabled=True, audio_in_sample_rate=RATE))
        self._feed = Feed(call)
        self.over = asyncio.Event()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._pump_task = self.create_task(self._pump())

    async def _pump(self) -> None:
        while item := self._feed.next():
            wait, block = item
            await asyncio.sleep(wait)
            await self.push_audio_frame(InputAudioRawFrame(audio=block, sample_rate=RATE, num_channels=1))
        self.over.set()


async def listen(call: Call, settings: str) -> None:
    line = _Line(call)
    stt = _transcriber(call, settings)
    user = LLMContextAggregatorPair(LLMContext(), user_params=aggregator_params(settings)).user()

    @user.event_handler("on_user_turn_stopped")
    async def stopped(aggregator: Any, strategy: Any, message: Any) -> None:
        report(call.name, "turn", text=message.content or "", reason=type(strategy).__name__)

    worker = PipelineWorker(
        Pipeline([line, stt, user]), params=PipelineParams(audio_in_sample_rate=RATE), idle_timeout_secs=None
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await line.over.wait()
    await worker.cancel()
    await asyncio.wait([running])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pipecat listens to the calls of a plan.")
    parser.add_argument("plan")
    parser.add_argument("--settings", choices=_SETTINGS, default="default")
    parser.add_argument("--at-once", type=int, default=1)
    args = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("PEERS_LOG", "WARNING"))
    packages = ("pipecat-ai", "deepgram-sdk", "onnxruntime")
    report("", "version", versions={name: importlib.metadata.version(name) for name in packages})
    asyncio.run(play(args.plan, partial(listen, settings=args.settings), args.at_once))
