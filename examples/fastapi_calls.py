"""Answers Twilio's calls in a FastAPI or Starlette application: prints what each caller says, and replies with a tone.

    pip install starlette uvicorn websockets        # or fastapi: its WebSocket is Starlette's
    export DEEPGRAM_API_KEY=... TWILIO_AUTH_TOKEN=... STREAM_URL=wss://bot.example.com/media
    uvicorn --app-dir examples fastapi_calls:app --port 8080

STREAM_URL is what the TwiML of the telephone number names (docs/telephony.md); the proxy or tunnel behind that address
forwards to the port given here. With DEEPGRAM_URL=ws://127.0.0.1:PORT/v1/listen a local server (``hearout stt-server``)
transcribes, for any key. In FastAPI, ``@app.websocket("/media")`` takes the place of the route.
"""

from __future__ import annotations

import os

import numpy as np
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from hearout import Deepgram, HearoutError, TurnCompleted, TurnUpdated, aio
from hearout.serving import Upgrade
from hearout.sources import signed_by_twilio, to_mulaw

if missing := {"DEEPGRAM_API_KEY", "TWILIO_AUTH_TOKEN", "STREAM_URL"} - os.environ.keys():
    raise SystemExit(f"fastapi_calls: set {' and '.join(sorted(missing))}")
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


async def media(websocket: WebSocket) -> None:
    if not FROM_TWILIO(Upgrade(websocket.url.path, websocket.headers, "")):
        return await websocket.close()
    await websocket.accept()
    try:
        async with aio.TwilioCall(websocket) as call:
            await answer(call)
    except HearoutError as error:
        print(f"a call failed: {error}", flush=True)


app = Starlette(routes=[WebSocketRoute("/media", media)])
