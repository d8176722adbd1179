"""Answers Twilio's calls in an aiohttp application: prints what each caller says, and replies with a tone.

    pip install aiohttp
    export DEEPGRAM_API_KEY=... TWILIO_AUTH_TOKEN=... STREAM_URL=wss://bot.example.com/media
    python examples/aiohttp_calls.py 8080

STREAM_URL is what the TwiML of the telephone number names (docs/telephony.md); the proxy or tunnel behind that address
forwards to the port given here. With DEEPGRAM_URL=ws://127.0.0.1:PORT/v1/listen a local server (``hearout stt-server``)
transcribes, for any key.
"""

from __future__ import annotations

import asyncio
import os
import sys
from weakref import WeakSet

import numpy as np
from aiohttp import WSCloseCode, web

from hearout import Deepgram, HearoutError, TurnCompleted, TurnUpdated, aio
from hearout.serving import Upgrade
from hearout.sources import signed_by_twilio, to_mulaw

if missing := {"DEEPGRAM_API_KEY", "TWILIO_AUTH_TOKEN", "STREAM_URL"} - os.environ.keys():
    raise SystemExit(f"aiohttp_calls: set {' and '.join(sorted(missing))}")
KEY, URL = os.environ["DEEPGRAM_API_KEY"], os.environ.get("DEEPGRAM_URL", Deepgram.url)
FROM_TWILIO = signed_by_twilio(os.environ["TWILIO_AUTH_TOKEN"], os.environ["STREAM_URL"])

# 0.4 s of 440 Hz, where a bot would play its speech.
TONE = to_mulaw((4000 * np.sin(np.arange(3200) / 8000 * 2 * np.pi * 440)).astype("<i2").tobytes())


async def answer(call: aio.TwilioCall) -> None:
    deepgram = Deepgram(KEY, URL, sample_rate=call.sample_rate, channels=call.channels)
    async with aio.open_session(call, deepgram) as session:
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


async def media(request: web.Request) -> web.WebSocketResponse:
    if not FROM_TWILIO(Upgrade(request.path, request.headers, "")):
        raise web.HTTPForbidden
    websocket = web.WebSocketResponse(heartbeat=20.0)  # seconds: who does not answer is gone
    await websocket.prepare(request)
    open_calls.add(websocket)
    try:
        async with aio.TwilioCall(websocket) as call:
            await answer(call)
    except HearoutError as error:
        print(f"a call failed: {error}", flush=True)
    return websocket


async def hang_up(app: web.Application) -> None:
    """The server is told to end, and aiohttp reads nothing any more: so sessions have their last words now."""
    await asyncio.gather(*(websocket.close(code=WSCloseCode.GOING_AWAY) for websocket in open_calls))


open_calls: WeakSet[web.WebSocketResponse] = WeakSet()
app = web.Application()
app.add_routes([web.get("/media", media)])
app.on_shutdown.append(hang_up)

if __name__ == "__main__":
    web.run_app(app, port=int(sys.argv[1]))
