"""The messages of a Twilio call, for its tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from hearout.sources.twilio import to_mulaw

SID = "MZ18ad3ab5a668481ce02b83e7395059f0"
PACKET = 160  # samples: 20 ms
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
STOP = {"event": "stop", "streamSid": SID, "stop": {"accountSid": "AC0", "callSid": "CA0"}}


def start(*tracks: str, **changes: Any) -> dict[str, Any]:
    content = {
        "accountSid": "AC0",
        "streamSid": SID,
        "callSid": "CA0",
        "tracks": list(tracks or ("inbound",)),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"Language": "en"},
    }
    return {"event": "start", "streamSid": SID, "start": content | changes}


def media(timestamp: int | None, value: int = 0, track: str = "inbound", packets: int = 1) -> dict[str, Any]:
    """20 ms of a constant sample (one that mulaw has)."""
    payload = base64.b64encode(to_mulaw(np.full(PACKET * packets, value, "<i2").tobytes())).decode()
    content = {"track": track, "chunk": "1", "payload": payload}
    if timestamp is not None:
        content["timestamp"] = str(timestamp)
    return {"event": "media", "streamSid": SID, "media": content}


def numbered(*messages: dict[str, Any]) -> list[str]:
    """As Twilio sends them: numbers are text, and ``connected`` has none."""
    numbers = iter(range(1, len(messages) + 1))
    return [json.dumps(m if m is CONNECTED else m | {"sequenceNumber": str(next(numbers))}) for m in messages]


def packets(samples: list[int], channels: int = 1) -> list[Any]:
    """The constant of every 20 ms (of each channel); a list where it is not constant."""
    shaped = np.array(samples).reshape(-1, PACKET, channels)
    out = []
    for packet in shaped:
        assert (packet == packet[0]).all()
        out.append(int(packet[0, 0]) if channels == 1 else tuple(int(v) for v in packet[0]))
    return out


# A few of the values that mulaw has exactly.
A, B, C, D = 988, 1884, 3900, 7932


def in_time(*messages: dict[str, Any]) -> Iterator[tuple[float, str]]:
    """Each packet when its last sample has been spoken, everything else with the packet before."""
    moment = 0.0
    for text in numbered(*messages):
        data = json.loads(text)
        if data["event"] == "media":
            moment = int(data["media"]["timestamp"]) / 1000 + 0.02
        yield moment, text


def audio(begin: float, end: float, track: str = "inbound") -> list[dict[str, Any]]:
    return [media(ms, 0, track) for ms in range(round(1000 * begin), round(1000 * end), 20)]
