"""Which words reach the LLM, in which turn: Pipecat's real aggregator on a virtual clock. Run by ``run_pipecat.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.workers.runner import WorkerRunner

from hearout.integrations.pipecat_turns import HearoutTurns
from tests.kit.virtual import run_virtually

Step = tuple[float, Frame | Callable[[HearoutTurns], object]]


def on() -> Frame:
    return VADUserStartedSpeakingFrame(start_secs=0.2)


def off() -> Frame:
    return VADUserStoppedSpeakingFrame(stop_secs=0.2)


def interim(text: str) -> Frame:
    return InterimTranscriptionFrame(text, "", "")


def final(text: str, finalized: bool = False) -> Frame:
    return TranscriptionFrame(text, "", "", finalized=finalized)


def patience(turns: HearoutTurns) -> None:
    """Pipecat's Deepgram service says so of itself."""
    turns._desk.turns.patience = 0.35


def heard(*steps: Step) -> list[str]:
    """What the aggregator hands over as turns of its user, each step so many seconds after the one before."""
    logger.remove()
    texts: list[str] = []

    async def conversation() -> None:
        turns = HearoutTurns()
        user = LLMContextAggregatorPair(
            LLMContext(), user_params=LLMUserAggregatorParams(user_turn_strategies=turns)
        ).user()

        @user.event_handler("on_user_turn_stopped")
        async def stopped(_: Any, __: Any, message: Any) -> None:
            texts.append(message.content or "")

        worker = PipelineWorker(Pipeline([user]), params=PipelineParams(), idle_timeout_secs=None)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(1.0)
        for pause, step in steps:
            await asyncio.sleep(pause)
            if isinstance(step, Frame):
                await worker.queue_frame(step)
            else:
                step(turns)
        await asyncio.sleep(20.0)
        await worker.cancel()
        await running

    run_virtually(conversation())
    return texts


UM: list[Step] = [(0.5, on()), (0.6, interim("i want tea um")), (0.3, off()), (2.0, final("i want tea"))]
NO: list[Step] = [(5.0, on()), (0.4, interim("no thanks")), (0.3, off()), (0.3, final("no thanks"))]


def test_a_final_that_is_shorter_takes_up_no_words_of_the_next_turn() -> None:
    assert heard(*UM, *NO) == ["i want tea um", "no thanks"]


@pytest.mark.parametrize("first", ["yes please", "no thanks", "no thanks i am done"])
def test_a_final_that_never_comes_does_not_either(first: str) -> None:
    assert heard((0.5, on()), (0.6, interim(first)), (0.3, off()), *NO) == [first, "no thanks"]


def test_words_that_come_when_no_more_were_expected() -> None:
    steps: list[Step] = [(0.1, patience), (0.5, on()), (1.0, off()), (0.4, interim("not that one"))]
    assert heard(*steps, (3.5, final("not that one"))) == ["not that one"]


def test_a_turn_that_pipecat_has_cut_gets_its_words() -> None:
    """Its watchdog ends a turn after 5 s without frames, here while the voice detection goes on."""
    steps: list[Step] = [(0.5, on()), (1.4, final("stop it")), (7.5, interim("i said stop")), (0.3, off())]
    assert heard(*steps, (1.0, final("i said stop"))) == ["stop it", "i said stop"]


def test_noise_that_keeps_the_voice_detection_going_loses_no_words() -> None:
    steps: list[Step] = [(0.1, on()), (7.0, final("one two", True)), (7.6, interim("three")), (7.0, off())]
    assert " ".join(heard(*steps, (1.0, final("three", True)))) == "one two three"
