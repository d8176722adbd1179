"""What Flux says, for the scripts of the local server."""

from __future__ import annotations

from typing import Any


def turn_info(t: float, event: str, text: str, sequence: int) -> dict[str, Any]:
    """The line of a script that says so after ``t`` seconds of audio."""
    message = {
        "type": "TurnInfo",
        "request_id": "id",
        "sequence_id": sequence,
        "event": event,
        "turn_index": 0,
        "audio_window_start": 0.0,
        "audio_window_end": t,
        "transcript": text,
        "words": [{"word": word, "confidence": 0.9} for word in text.split()],
        "end_of_turn_confidence": 0.5,
    }
    return {"t": t, "stt": message}
