"""Rows of the fault matrix: what only one of the providers does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hearout.link.settings import LinkSettings
from tests.faults.kit import BROKE, GOOD, sound, talk_for
from tests.faults.runs import Row
from tests.faults.server import Trouble, say

__all__ = ["FLUX", "SONIOX"]


def failure(code: int, slug: str, text: str) -> dict[str, Any]:
    return {"error_code": code, "error_type": slug, "error_message": text}


RESTART = failure(503, "service_unavailable", "Cannot continue request (code 1). Please restart the request.")
OVERLOADED = failure(429, "limit_exceeded", "Too many concurrent requests")


def ending(item: Mapping[str, Any], at: float = 3.1, code: int = 1000, *, carries: bool = False) -> Trouble:
    """The transcriber's last message, and a close."""
    return Trouble(failure=item, close=(code, ""), close_at=at, carries=carries)


SONIOX = [
    Row(
        "503 in mid-call",
        "an error frame without tokens, then a close with 1000",
        (ending(RESTART), GOOD),
        f"warning {BROKE}",
        says="503 service_unavailable",
        recovered=0.3,
    ),
    Row(
        "503 with the last tokens",
        "an error frame with all words so far as final tokens, then a close with 1000",
        (ending(RESTART, carries=True), GOOD),
        f"warning {BROKE}",
        recovered=0.3,
    ),
    Row(
        "429 as an error frame",
        "twice, at the first audio",
        (ending(OVERLOADED, 0.0), ending(OVERLOADED, 0.0), GOOD),
        f"warning link_down link_up warning {BROKE}",
        says="429 limit_exceeded",
        recovered=1.0,
    ),
    Row(
        "429 as an error frame for good",
        "at the first audio, each time",
        (ending(OVERLOADED, 0.0),),
        None,
        end=100.0,
        error="429 limit_exceeded: Too many concurrent requests; gave up after",
    ),
    Row(
        "401 as an error frame",
        "the handshake went well",
        (ending(failure(401, "unauthenticated", "Invalid API key"), 0.0),),
        error="401 unauthenticated: Invalid API key",
    ),
    Row(
        "408 although audio came",
        "an error frame, then a close with 1000",
        (ending(failure(408, "request_timeout", "Input too slow")), GOOD),
        f"warning {BROKE}",
        recovered=0.3,
    ),
    Row(
        "mute for longer than Soniox waits",
        "no audio for 50 s; it hangs up after 20 s without a message",
        source=sound(pauses={7.0: 50.0}),
    ),
    Row(
        "max_duration_reached",
        "the stream is ended in mid-word, and nobody saw it coming",
        (Trouble(longest=3.1), GOOD),
        f"warning {BROKE}",
        says="413 max_duration_reached",
        recovered=0.3,
    ),
    Row(
        "a stream may not last for ever",
        "it is ended after 60 s (here), and left before that: between sentences",
        (Trouble(longest=60.0),),
        f"{BROKE} {BROKE} {BROKE}",
        says="planned: soniox ends a connection after 1 min",
        recovered=0.1,
        words=(list(talk_for(150.0)),),
        end=150.0,
        settings=LinkSettings(renew=20.0),
        longest=60.0,
    ),
    Row(
        "a stream may not last for ever, and nobody pauses",
        "as above, with speech all the time: it is left in mid-word",
        (Trouble(longest=60.0),),
        f"{BROKE} {BROKE}",
        says="planned: ",
        recovered=0.1,
        words=(say("and " * 300, 1.0),),
        end=100.0,
        settings=LinkSettings(renew=20.0),
        longest=60.0,
        turns=False,
    ),
]
FLUX = [
    Row(
        "INTERNAL_SERVER_ERROR",
        "an Error in mid-turn, then a close with 1011",
        (ending({"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "oops"}, code=1011), GOOD),
        f"warning {BROKE}",
        says="INTERNAL_SERVER_ERROR",
        recovered=0.3,
    ),
    Row(
        "ConfigureFailure",
        "in mid-turn",
        (Trouble(raw=['{"type":"ConfigureFailure","code":"ODD","description":"no"}'], raw_at=3.0),),
        "warning",
        says="the transcriber reports: ConfigureFailure: ODD: no",
    ),
    Row(
        "it forgets the end of turn",
        "its turn goes on for ever: words in Updates only",
        (Trouble(endpoints=False),),
        turns=False,
    ),
    Row(
        "the same message again and again",
        "it answers, but hears no more",
        (Trouble(stuck_at=3.0), GOOD),
        BROKE,
        says="the transcriber has not answered for",
        recovered=30.0,
        turns=False,
        words=(list(talk_for(60.0)),),
        end=60.0,
    ),
    Row(
        "our rules end the turns",
        "own_turns; dropped within a word",
        (Trouble(drop_at=3.1), GOOD),
        BROKE,
        recovered=0.3,
        own_turns=True,
    ),
]
