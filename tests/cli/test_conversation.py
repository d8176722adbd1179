"""What a client of ``hearout serve`` may ask for beside turns: the trace, what is waited for, a voice detection."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import trio

from hearout import as_dict, parse_trace, replay
from hearout.cli.conversation import converse
from hearout.cli.voice import VADS
from hearout.errors import UsageError
from hearout.sources.websocket import websocket_server
from hearout.transcribers.deepgram import Deepgram
from hearout.vad import SpeechGate, webrtc_gate
from hearout_policies.policy import preset
from tests.kit.callers import Caller, calling, heard, run_with, transcriber

WORDS = heard(2.0, "my number is", 0.5, 1.4)
WORDS["stt"]["speech_final"] = False


def server(nursery: trio.Nursery) -> Any:
    connect = transcriber(nursery, WORDS)

    def transcribers(call: Any) -> Deepgram:
        return Deepgram("any", sample_rate=call.sample_rate, channels=call.channels)

    return websocket_server(partial(converse, transcribers=transcribers, policy=preset("balanced"), connect=connect))


def speech() -> list[tuple[float, Any]]:
    """Something like a voice from 0.5 to 1.4 s, and silence up to 5 s, in blocks of 20 ms."""
    seconds = np.arange(16_000 * 5) / 16_000
    voiced = (seconds > 0.5) & (seconds < 1.4)
    buzz = sum(np.sin(2 * np.pi * 140 * n * seconds) / n for n in range(1, 20))
    pcm = (6000 * buzz * voiced).astype("<i2").tobytes()
    return [((n + 1) / 50, pcm[640 * n : 640 * n + 640]) for n in range(250)]


async def say(nursery: trio.Nursery, header: dict[str, Any], *more: tuple[float, Any]) -> Caller:
    async with calling(server(nursery)) as caller:
        messages = sorted([*speech(), *more], key=lambda m: m[0])
        nursery.start_soon(
            caller.say_in_time, [(0.0, {"sample_rate": 16000} | header), *messages, (5.0, {"type": "end"})]
        )
        assert await caller.listen() == (1000, "")
    return caller


def of(caller: Caller, kind: str) -> list[Any]:
    return [message for message in caller.got if message["type"] == kind]


def test_the_trace_of_a_session_is_told_and_its_replay_is_the_session(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        caller = await say(nursery, {"trace": True}, (0.1, {"type": "use", "policy": {"silence.price": 3}}))
        trace = parse_trace([json.dumps(message["record"]) for message in of(caller, "trace")])
        assert trace.header.source == "hearout serve"
        assert [as_dict(event) for event in replay(trace).of_type("turn_completed")] == of(caller, "turn_completed")
        (completed,) = of(caller, "turn_completed")
        assert completed["text"] == "my number is"
        looks = of(caller, "outlook")
        first, *_, last = looks
        assert first["speaking"]
        assert (last["when"], last["opinions"]) == (completed["at"], completed["opinions"])
        assert last["evidence"] == completed["evidence"] == [["function_word", completed["odds"]]]

    run_virtual(run_with(main))


def test_who_does_not_ask_gets_events_only(run_virtual: Callable[..., Any]) -> None:
    async def main(nursery: trio.Nursery) -> None:
        caller = await say(nursery, {})
        assert {message["type"] for message in caller.got} & {"trace", "outlook"} == set()
        assert of(caller, "turn_completed")

    run_virtual(run_with(main))


def test_a_voice_detection_may_be_named(run_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def own(rate: int) -> SpeechGate:
        made.append("silero")
        return webrtc_gate(rate)

    def missing(rate: int) -> SpeechGate:
        raise UsageError("it is not installed")

    async def main(nursery: trio.Nursery) -> None:
        monkeypatch.setitem(VADS, "silero", own)
        await say(nursery, {})
        assert made == []
        await say(nursery, {"vad": "silero"})
        assert made == ["silero"]
        monkeypatch.setitem(VADS, "silero", missing)
        for name, code, detail in (
            ("silero", 1011, "it is not installed"),
            ("mine", 1007, "vad 'mine': there are webrtc, silero"),
        ):
            async with calling(server(nursery)) as caller:
                await caller.say({"sample_rate": 16000, "vad": name})
                assert await caller.listen() == (code, detail)
            assert caller.got[-1] == {"type": "error", "detail": detail}

    run_virtual(run_with(main))
