"""A Pipecat bot with hearout's turns: plays a WAV file as the user, and prints what the LLM would be asked.

    python examples/pipecat_bot.py samples/phone_number.wav [--url URL] [--own]

Without ``--url`` the local recogniser hears it. With ``--own`` Pipecat's Deepgram service and Silero listen, and
only the turns are hearout's: that needs ``pipecat-ai[deepgram,silero]``. A bot of yours has its transport in place of
`Line`, and its LLM, TTS and output in place of `Replies`.
"""

from __future__ import annotations

import argparse
import asyncio
import wave
from contextlib import AsyncExitStack

from loguru import logger
from pipecat.frames.frames import ErrorFrame, Frame, InputAudioRawFrame, LLMContextFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.stt_service import STTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from hearout import Deepgram, HearoutError, SessionError, aio
from hearout.integrations.pipecat import HearoutSTTService
from hearout.integrations.pipecat_turns import HearoutTurns


class Line(BaseInputTransport):
    """Plays a WAV file of 16 bits and one channel in real time."""

    def __init__(self, path: str) -> None:
        with wave.open(path) as file:
            self.rate = file.getframerate()
            self._pcm = file.readframes(file.getnframes())
        super().__init__(TransportParams(audio_in_enabled=True))
        self.over = asyncio.Event()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._playing = self.create_task(self._play())

    async def _play(self) -> None:
        size, began = self.rate // 50 * 2, asyncio.get_running_loop().time()
        for number, begin in enumerate(range(0, len(self._pcm), size)):
            block = self._pcm[begin : begin + size]
            await self.push_audio_frame(InputAudioRawFrame(audio=block, sample_rate=self.rate, num_channels=1))
            await asyncio.sleep(began + (number + 1) * 0.02 - asyncio.get_running_loop().time())
        self.over.set()


class Replies(FrameProcessor):
    """Prints what it is asked."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            print(f"user: {frame.context.messages[-1]['content']}", flush=True)
        await self.push_frame(frame, direction)


def our_service(url: str) -> tuple[STTService, LLMUserAggregatorParams]:
    stt = HearoutSTTService(Deepgram("any-key", url))
    return stt, LLMUserAggregatorParams(user_turn_strategies=stt.user_turn_strategies())


def own_service(url: str) -> tuple[STTService, LLMUserAggregatorParams]:
    from pipecat.audio.vad.silero import SileroVADAnalyzer
    from pipecat.services.deepgram.stt import DeepgramSTTService

    stt = DeepgramSTTService(api_key="any-key", base_url=url.removesuffix("/v1/listen"))
    return stt, LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=HearoutTurns())


async def talk(path: str, url: str, own: bool) -> None:
    line = Line(path)
    stt, user_params = own_service(url) if own else our_service(url)
    user = LLMContextAggregatorPair(LLMContext(), user_params=user_params).user()

    errors: list[str] = []

    @stt.event_handler("on_error")
    async def failed(_: STTService, error: ErrorFrame) -> None:
        errors.append(error.error)
        line.over.set()

    worker = PipelineWorker(
        Pipeline([line, stt, user, Replies()]), params=PipelineParams(audio_in_sample_rate=line.rate)
    )
    runner = WorkerRunner()
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await line.over.wait()
    await worker.stop_when_done()
    await running
    if errors:
        raise SessionError(errors[0])


async def main(path: str, url: str | None, own: bool) -> None:
    async with AsyncExitStack() as stack:
        if url is None:
            url = await stack.enter_async_context(aio.local_server())
        await talk(path, url, own)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A WAV file talks to a Pipecat bot.")
    parser.add_argument("path", metavar="FILE.wav")
    parser.add_argument("--url", help="of the transcriber; default: the local recogniser")
    parser.add_argument("--own", action="store_true", help="Pipecat's Deepgram service with hearout's turns")
    options = parser.parse_args()
    logger.remove()
    try:
        asyncio.run(main(options.path, options.url, options.own))
    except (HearoutError, OSError, wave.Error) as error:
        raise SystemExit(f"pipecat_bot: {error}") from None
