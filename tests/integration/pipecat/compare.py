"""Calls on which something goes wrong, heard by a Pipecat pipeline with its default turns, and with hearout's.

    python tests/integration/run_pipecat.py --compare [--scenarios NAME...] [--output DIR]

The pipelines differ in the speech-to-text service and the strategies of the user aggregator only. Calls, transcriber
and scores are those of ``benchmarks.peers``: a turn is handed over with ``on_user_turn_stopped``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.services.deepgram.stt import DeepgramSTTService

from benchmarks.peers.feed import Call, Feed, report
from hearout import Deepgram, TurnAmended, TurnCompleted
from hearout.integrations.pipecat import HearoutSTTService
from tests.integration.comparison import compare
from tests.integration.pipecat.conversation import converse

SYSTEMS = {"default": "Pipecat's default turns", "hearout": "with hearout"}


async def listen(call: Call, system: str) -> None:
    number: list[int | None] = [None]
    if system == "default":
        stt = DeepgramSTTService(api_key="local", base_url=f"ws://127.0.0.1:{call.port}")
        params = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    else:
        stt = HearoutSTTService(Deepgram("local", f"ws://127.0.0.1:{call.port}/v1/listen"))
        params = LLMUserAggregatorParams(user_turn_strategies=stt.user_turn_strategies())

        @stt.event_handler("on_turn_event")
        async def note(_: HearoutSTTService, event: Any) -> None:
            if isinstance(event, TurnCompleted):
                number[0] = event.turn
            elif isinstance(event, TurnAmended):
                report(call.name, "amended", text=event.text, turn=event.turn)

    def turn(text: str) -> None:
        report(call.name, "turn", text=text, turn=number[0])

    async with converse(stt, user=params, on_turn=turn) as conversation:
        feed = Feed(call)
        while item := feed.next():
            wait, block = item
            await asyncio.sleep(wait)
            await conversation.push(block)


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    compare("pipecat", "pipecat-ai", listen, SYSTEMS)
