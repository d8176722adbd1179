"""A caller who fills in a form: a number with pauses of 2 s, a yes. With and without the question.

    python examples/form_filling.py [--untold] [--url URL]

The audio comes from ``samples/``, the pauses of the number made longer. The local recogniser hears it
(``pip install 'hearout[local]'``).
Told what the bot says, hearout knows what was asked: the number is one turn, and ends with its last digit. Untold, each
pause ends a turn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import trio

from hearout import Deepgram, HearoutError, Session, TurnCompleted, local_server, open_session

SAMPLES = Path(__file__).parent.parent / "samples"
RATE = 16_000
PAUSE = 2.0  # seconds between the groups of the number
FORM = [
    ("What is your phone number?", "phone_number", 0),
    ("Thank you. Is that right?", "order", 2),
]


def spoken(name: str, number: int) -> npt.NDArray[np.int16]:
    """A turn of a sample, its pauses made longer."""
    about = json.loads((SAMPLES / f"{name}.json").read_text())
    sound, rate = soundfile.read(SAMPLES / about["file"], dtype="int16")
    assert rate == RATE
    words = about["turns"][number]["words"]
    parts: list[npt.NDArray[np.int16]] = []
    begin = words[0]["start"] - 0.1
    for word, following in pairwise(words):
        if following["start"] - word["end"] > 0.3:
            cut = (word["end"] + following["start"]) / 2
            parts += [sound[int(begin * RATE) : int(cut * RATE)], silence(PAUSE - (following["start"] - word["end"]))]
            begin = cut
    return np.concatenate([*parts, sound[int(begin * RATE) : int((words[-1]["end"] + 0.1) * RATE)]])


def silence(seconds: float) -> npt.NDArray[np.int16]:
    noise = np.random.default_rng(1).normal(0, 20, int(seconds * RATE))
    return noise.astype("int16")


class Caller:
    """Answers each question of the form; the bot says it just before."""

    sample_rate, channels, duration = RATE, 1, None
    session: Session

    def __init__(self, told: bool) -> None:
        self._told = told

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for question, name, number in FORM:
            print(f"bot: {question}", flush=True)
            if self._told:
                self.session.agent_said(question)  # or: self.session.expect(Phone())
            sound = np.concatenate([silence(0.5), spoken(name, number), silence(5.0)])
            for at in range(0, len(sound), RATE // 50):
                yield sound[at : at + RATE // 50].tobytes()


async def main(told: bool, url: str | None) -> None:
    async with AsyncExitStack() as stack:
        if url is None:
            url = await stack.enter_async_context(local_server())
        caller = Caller(told)
        transcriber = Deepgram("any-key", url, sample_rate=RATE)
        async with open_session(caller, transcriber, realtime=False) as session:
            caller.session = session
            async for event in session:
                if isinstance(event, TurnCompleted):
                    after = event.at - (event.timings.speech_end or event.at)
                    print(f"  {event.text!r}, {after:.2f} s after its end: {event.answer}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A form, filled in by voice.")
    parser.add_argument("--untold", action="store_true", help="hearout does not know what was asked")
    parser.add_argument("--url", help="of the transcriber; default: the local recogniser")
    options = parser.parse_args()
    try:
        trio.run(main, not options.untold, options.url)
    except HearoutError as error:
        raise SystemExit(str(error)) from None
