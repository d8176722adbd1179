"""Answers telephone calls: prints what each caller says, turn by turn, replies with a tone, and stops when interrupted.

    export DEEPGRAM_API_KEY=... TWILIO_AUTH_TOKEN=... STREAM_URL=wss://bot.example.com/media
    python examples/twilio_turns.py 8080 [--url ws://127.0.0.1:PORT/v1/listen]

STREAM_URL is what the TwiML of the telephone number names (docs/telephony.md); the proxy or tunnel behind that address
forwards to the port given here. With ``--url`` a local server (``hearout stt-server``) transcribes, for any key.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

import numpy as np
import trio

from hearout import Deepgram, TurnCompleted, TurnUpdated, UsageError, open_session
from hearout.sources import TwilioCall, serve_twilio, signed_by_twilio, to_mulaw

# 0.4 s of 440 Hz, where a bot would play its speech.
TONE = to_mulaw((4000 * np.sin(np.arange(3200) / 8000 * 2 * np.pi * 440)).astype("<i2").tobytes())


async def answer(call: TwilioCall, url: str = Deepgram.url, **options: Any) -> None:
    """One call; ``options`` are those of `open_session`."""
    deepgram = Deepgram(os.environ["DEEPGRAM_API_KEY"], url, sample_rate=call.sample_rate, channels=call.channels)
    async with open_session(call, deepgram, **options) as session:
        call.on_mark = lambda name: session.agent_stopped()
        async for event in session:
            match event:
                case TurnUpdated(interrupts=True):
                    await call.clear()  # Twilio then sends the mark, too
                case TurnCompleted():
                    print(f"{call.call_sid}: {event.text}", flush=True)
                    session.agent_started()
                    await call.send_audio(TONE)
                    await call.send_mark("reply")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answers telephone calls.")
    parser.add_argument("port", type=int)
    parser.add_argument("--url", default=Deepgram.url, help="of the transcriber; default: Deepgram's")
    given = parser.parse_args()
    if missing := {"DEEPGRAM_API_KEY", "TWILIO_AUTH_TOKEN", "STREAM_URL"} - os.environ.keys():
        raise SystemExit(f"twilio_turns: set {' and '.join(sorted(missing))}")
    try:
        caller = signed_by_twilio(os.environ["TWILIO_AUTH_TOKEN"], os.environ["STREAM_URL"])
        handler = partial(answer, url=given.url)
        trio.run(partial(serve_twilio, handler, given.port, authorise=caller, grace=8.0))
    except UsageError as error:
        raise SystemExit(f"twilio_turns: {error}") from None
