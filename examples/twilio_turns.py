"""Answers telephone calls: prints what each caller says, turn by turn, replies with a tone, and stops when interrupted.

    export DEEPGRAM_API_KEY=... TWILIO_AUTH_TOKEN=... STREAM_URL=wss://bot.example.com/media
    python examples/twilio_turns.py 8080

STREAM_URL is what the TwiML of the telephone number names (docs/telephony.md); the proxy or tunnel behind that address
forwards to the port given here.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import trio

from hearout import Deepgram, TurnCompleted, TurnUpdated, open_session
from hearout.sources import TwilioCall, serve_twilio, signed_by_twilio, to_mulaw

# 0.4 s of 440 Hz, where a bot would play its speech.
TONE = to_mulaw((4000 * np.sin(np.arange(3200) / 8000 * 2 * np.pi * 440)).astype("<i2").tobytes())


async def answer(call: TwilioCall, **options: Any) -> None:
    """One call; ``options`` are those of `open_session`."""
    deepgram = Deepgram(os.environ["DEEPGRAM_API_KEY"], sample_rate=call.sample_rate, channels=call.channels)
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
    caller = signed_by_twilio(os.environ["TWILIO_AUTH_TOKEN"], os.environ["STREAM_URL"])
    trio.run(lambda: serve_twilio(answer, int(sys.argv[1]), authorise=caller, grace=8.0))
