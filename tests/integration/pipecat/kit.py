"""What the user of the tests says, what the transcriber makes of it, and the service between the two."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from trio.lowlevel import current_trio_token

from hearout import Deepgram
from hearout.integrations.pipecat import HearoutSTTService
from tests.integration.pipecat.conversation import RATE, Conversation, converse
from tests.kit.paths import ROOT
from tests.kit.serving import playing

LEAD = 0.3  # seconds of silence before the first word

Words = Sequence[tuple[str, float, float]]


def spoken(first: int, last: int) -> tuple[bytes, Words]:
    """Some words of "please call me back tomorrow morning": audio, and the words with times counted from its start."""
    turn = json.loads((ROOT / "samples" / "phone_number.json").read_text())["turns"][1]
    words = [(w["text"], w["start"], w["end"]) for w in turn["words"][first:last]]
    with wave.open(str(ROOT / "samples" / "phone_number.wav")) as file:
        assert file.getframerate() == RATE
        begin = words[0][1]
        file.setpos(round(begin * RATE))
        audio = file.readframes(round((words[-1][2] - begin + 0.05) * RATE))
    return audio, [(text, start - begin, end - begin) for text, start, end in words]


class Script:
    """What the transcriber says: messages of Deepgram at audio times, as lines of a trace."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._final_until = 0.0

    def result(self, at: float, words: Words, *, final: bool = False, speech_final: bool = False) -> None:
        """``words`` with times of the session, sent once the audio up to ``at`` is there."""
        self.lines.append({"t": at, "stt": self._message(at, words, final=final, speech_final=speech_final)})
        if final:
            self._final_until = at

    def answer(self, at: float, words: Words, *, after: float = 0.1) -> None:
        """To the next Finalize, about audio up to ``at``."""
        message = self._message(at, words, final=True, speech_final=True, from_finalize=True)
        self.lines.append({"on": "finalize", "after": after, "stt": message})
        self._final_until = at

    def _message(self, at: float, words: Words, **flags: bool) -> dict[str, Any]:
        listed = [
            {"word": text, "start": round(start, 3), "end": round(end, 3), "confidence": 0.99, "punctuated_word": text}
            for text, start, end in words
        ]
        transcript = {"transcript": " ".join(text for text, _, _ in words), "confidence": 0.99, "words": listed}
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": self._final_until,
            "duration": round(at - self._final_until, 3),
            "is_final": flags.get("final", False),
            "speech_final": flags.get("speech_final", False),
            "from_finalize": flags.get("from_finalize", False),
            "channel": {"alternatives": [transcript]},
        }


def moved(words: Words, by: float) -> Words:
    return [(text, start + by, end + by) for text, start, end in words]


CALL_ME_BACK, WORDS = spoken(1, 4)  # 0.75 s


def one_turn(script: Script, start: float, words: Words = WORDS) -> None:
    """An interim result, and a final one at the endpoint."""
    said = moved(words, start)
    script.result(said[-1][2], said[:-1])
    script.result(said[-1][2] + 0.3, said, final=True, speech_final=True)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run it, and see that nothing of it is left."""

    async def watched() -> None:
        async with asyncio.timeout(30):
            await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(RuntimeError):
            current_trio_token()

    asyncio.run(watched())


def service(server: str, **options: Any) -> HearoutSTTService:
    return HearoutSTTService(Deepgram("any-key", f"ws://{server}/v1/listen"), **options)


@asynccontextmanager
async def against(
    script: Script, *, reply: float = 0.0, user: LLMUserAggregatorParams | None = None, **options: Any
) -> AsyncIterator[Conversation]:
    with playing(*script.lines) as server:
        async with converse(service(server, **options), reply=reply, user=user) as call:
            yield call
