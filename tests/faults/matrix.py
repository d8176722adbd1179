"""The fault matrix: what can go wrong, how it is made to, and what must come of it.

`test_faults` holds every row to what it says here; ``python -m benchmarks.faults`` writes what was measured to
``docs/faults.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hearout.link.settings import LinkSettings
from tests.faults.kit import (
    BROKE,
    GOOD,
    LONG,
    REFUSED,
    UNKNOWN,
    bursts,
    flapping,
    odd_chunks,
    refusal,
    sound,
    talk_for,
)
from tests.faults.messages import MESSAGES
from tests.faults.parts import broken_recorder, broken_rule, broken_voice, full_disk, odd_rule
from tests.faults.providers import FLUX, SONIOX
from tests.faults.runs import DIALECTS, END, OTHER, TALK, Row
from tests.faults.server import RATE, Trouble, frame, say

__all__ = ["BELOW", "GROUPS", "ROWS", "dialects"]

CONNECTING = [
    Row(
        "refused",
        "no server on the port for three attempts",
        (REFUSED, REFUSED, REFUSED, GOOD),
        BROKE,
        says="Connection refused",
        recovered=3.0,
    ),
    Row(
        "refused for good",
        "a port of this machine that nobody listens on",
        wire="no port",
        notices="link_down",
        error="Connection refused; gave up after 9 s",
    ),
    Row(
        "name not found for a moment",
        "the resolver fails twice",
        (UNKNOWN, UNKNOWN, GOOD),
        BROKE,
        says="Temporary failure in name resolution",
        recovered=2.0,
    ),
    Row(
        "name not found",
        "the resolver knows no such name",
        wire="no name",
        notices="link_down",
        error="Name or service not known; gave up after 9 s",
    ),
    Row(
        "TLS in order",
        "control: a real TLS server whose authority is trusted",
        wire="trusted",
    ),
    Row(
        "certificate of an unknown authority",
        "a real TLS server",
        wire="untrusted",
        error="unable to get local issuer certificate",
    ),
    Row(
        "certificate of another host",
        "a real TLS server",
        wire="other name",
        error="Hostname mismatch",
    ),
    Row(
        "certificate out of date",
        "a real TLS server",
        wire="expired",
        error="certificate has expired",
    ),
    Row(
        "no TLS",
        "a real server that answers in plain HTTP",
        (Trouble(reply=b"HTTP/1.1 400 Bad Request\r\n\r\n"),),
        wire="no tls",
        notices="link_down",
        error="gave up after 9 s",
    ),
    Row(
        "TLS handshake hangs",
        "a real server that accepts and says nothing",
        (Trouble(hang_handshake=True),),
        wire="no tls",
        notices="link_down",
        error="no answer within 5 s",
    ),
    Row(
        "handshake hangs once",
        "the first request is never answered",
        (Trouble(hang_handshake=True), GOOD),
        BROKE,
        says="no answer within 5 s",
        recovered=6.0,
        turns=False,
    ),
    Row(
        "handshake hangs",
        "no request is ever answered",
        (Trouble(hang_handshake=True),),
        "link_down",
        error="no answer within 5 s",
    ),
    Row(
        "hangs up in the handshake",
        "the first two connections end after the request",
        (Trouble(hang_up_handshake=True), Trouble(hang_up_handshake=True), GOOD),
        BROKE,
        says="it hung up in the handshake",
        recovered=2.0,
    ),
    Row(
        "no websocket",
        "the server answers with a web page",
        (Trouble(reply=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),),
        error="HTTP 200",
    ),
    Row(
        "no HTTP",
        "the server answers with noise, then is well",
        (Trouble(reply=bytes(range(256))), GOOD),
        BROKE,
        recovered=1.0,
    ),
    Row(
        "HTTP 302",
        "the handshake is redirected, which no websocket client follows",
        (refusal(302, location="https://example.com/"),),
        error="HTTP 302",
    ),
    Row(
        "HTTP 400",
        "handshake refused with a reason",
        (refusal(400, "Bad Request: no such model"),),
        error="HTTP 400 (Bad Request: no such model); check the options",
    ),
    Row(
        "HTTP 401",
        "handshake refused with a reason",
        (refusal(401, "Invalid credentials."),),
        error="HTTP 401 (Invalid credentials.); check the key",
    ),
    Row(
        "HTTP 402",
        "handshake refused with a reason",
        (refusal(402, "Project out of credit"),),
        error="HTTP 402 (Project out of credit); the account has no credit left",
    ),
    Row(
        "HTTP 403",
        "handshake refused with a reason",
        (refusal(403, "Insufficient permissions."),),
        error="HTTP 403 (Insufficient permissions.); ",
    ),
    Row(
        "HTTP 401 later on",
        "the key is withdrawn; noticed when the connection drops",
        (Trouble(drop_at=7.0), refusal(401)),
        "link_down",
        error="check the key",
    ),
    Row(
        "HTTP 429",
        "too many connections, Retry-After: 4",
        (refusal(429, "Too many requests", **{"retry-after": "4"}), GOOD),
        BROKE,
        says="HTTP 429 (Too many requests); too many connections at once",
        recovered=4.1,
        merges=("flux",),
    ),
    Row(
        "HTTP 429 for good",
        "Retry-After: 4 each time",
        (refusal(429, **{"retry-after": "4"}),),
        "link_down",
        error="too many connections at once; gave up after 8 s",
    ),
    Row(
        "HTTP 500",
        "three times",
        (refusal(500), refusal(500), refusal(500), GOOD),
        BROKE,
        says="HTTP 500",
        recovered=3.0,
    ),
    Row(
        "HTTP 503",
        "three times, with a reason",
        (*[refusal(503, "Service overloaded")] * 3, GOOD),
        BROKE,
        says="HTTP 503 (Service overloaded)",
        recovered=3.0,
    ),
]

BROKEN = [
    Row("dropped within a word", "the stream ends", (Trouble(drop_at=3.1), GOOD), BROKE, recovered=0.3),
    Row(
        "dropped before the answer to a Finalize",
        "the message is made, but the stream ends first",
        (Trouble(withhold=12), GOOD),
        BROKE,
        recovered=0.3,
        only=("deepgram",),
        why_only="it is a certain message; a drop at every message is tested for all",
    ),
    Row(
        "reset inside a frame",
        "40 of 220 bytes of a message, then a TCP reset",
        (Trouble(tear_at=3.0), GOOD),
        BROKE,
        recovered=0.3,
        wire="sockets",
    ),
    *[
        Row(
            f"closed with {code} {reason}".strip(),
            "unasked, in mid-word",
            (Trouble(close=(code, reason), close_at=3.1), GOOD),
            BROKE,
            says=f"the transcriber hung up: {code} {reason}".strip(),
            recovered=0.3,
        )
        for code, reason in ((1000, ""), (1001, ""), (1011, "NET-0000"), (1011, "NET-0001"))
    ],
    Row(
        "closed with 1008 DATA-0000",
        "unasked: the audio cannot be decoded",
        (Trouble(close=(1008, "DATA-0000"), close_at=7.0), GOOD),
        error="the transcriber hung up: 1008 DATA-0000",
        only=("deepgram", "flux"),
        why_only="Soniox sends an error frame",
    ),
    Row(
        "half-open",
        "nothing is read or said any more, pings go unanswered",
        (Trouble(freeze_at=3.0), GOOD),
        BROKE,
        says="no sign of life from the transcriber for 5 s",
        recovered=10.3,
        turns=False,
    ),
    Row(
        "half-open when the user speaks after a long mute",
        "muted for 70 s from the start, then as above",
        (Trouble(freeze_at=3.0), GOOD),
        BROKE,
        recovered=10.3,
        source=sound(pauses={0.5: 70.0}),
        turns=False,
    ),
    Row(
        "the server stops reading",
        "what is sent gets stuck",
        (Trouble(clog_at=3.0), GOOD),
        BROKE,
        says="no sign of life from the transcriber for 5 s",
        recovered=10.3,
        turns=False,
    ),
    Row(
        "the server closes and stops reading",
        "the answer to its close gets stuck",
        (Trouble(raw=[frame(8, b"\x03\xf3bye")], raw_at=3.0, clog_at=3.0), GOOD),
        BROKE,
        says="no sign of life from the transcriber for 5 s",
        recovered=10.3,
        turns=False,
    ),
    Row(
        "the server stops answering",
        "it reads and answers pings, but says nothing",
        (Trouble(silent_at=3.0), GOOD),
        BROKE,
        says="the transcriber has not answered for",
        recovered=30.0,
        turns=False,
        words=(list(talk_for(60.0)),),
        end=60.0,
    ),
    Row(
        "answers 10 s late",
        "every message, all the time",
        (Trouble(answer=10.0),),
        turns=False,
        only=("deepgram", "soniox", "flux", "assemblyai"),
        why_only="ElevenLabs' partial results have no times: so late, they are taken for words of another turn",
    ),
    Row(
        "Finalize is never answered",
        "all else comes as it should",
        (Trouble(finalize_answers=False),),
        only=("deepgram", "soniox"),
        why_only="Flux is asked for none",
    ),
    Row(
        "neither end of speech nor Finalize is noticed",
        "final results come with the next speech, or not before CloseStream",
        (Trouble(finalize_answers=False, endpoints=False),),
        only=("deepgram", "soniox"),
        why_only="of Flux there is a row of its own",
    ),
    Row(
        "no end after CloseStream",
        "results, but no Metadata and no close",
        (Trouble(never_end=True),),
        only=("deepgram", "soniox", "flux"),
        why_only="of AssemblyAI there is a row of its own; ElevenLabs has no such request",
    ),
    Row(
        "two speakers, dropped",
        "two channels, one ahead of the other",
        (Trouble(drop_at=3.1), Trouble(drop_at=13.5), GOOD),
        BROKE + " " + BROKE,
        words=(TALK, OTHER),
        recovered=11.0,
        only=("deepgram",),
        why_only="the others transcribe one channel",
    ),
    Row(
        "one long sentence, dropped",
        "in the middle of 14 s of speech without a pause; Retry-After: 3",
        (Trouble(drop_at=6.0), refusal(503, **{"retry-after": "3"}), GOOD),
        BROKE,
        words=(LONG,),
        end=18.0,
        recovered=3.5,
    ),
    Row(
        "down at the end of a turn",
        "dropped before the last word, Retry-After: 8",
        (Trouble(drop_at=5.0), refusal(503, **{"retry-after": "8"}), GOOD),
        BROKE,
        words=(say("hello i would like to move my flight to next week.", 1.5),),
        end=26.0,
        recovered=8.5,
        merges=("openai",),
    ),
    Row(
        "flapping",
        "100 drops in 8 minutes, 10 of them with a refusal",
        flapping(100, seed=1),
        " ".join([BROKE] * 100),
        words=(list(talk_for(490.0)),),
        end=490.0,
        recovered=2.0,
        turns=False,
        seed=1,
        only=("deepgram",),
        why_only="Flux begins a turn anew with each connection, and would never catch up",
    ),
    Row(
        "a drop now and then",
        "20 drops in 6 minutes, 2 of them with a refusal",
        flapping(20, seed=1, pause=(14.0, 20.0)),
        " ".join([BROKE] * 20),
        words=(list(talk_for(360.0)),),
        end=360.0,
        recovered=2.0,
        turns=False,
        seed=1,
        only=("soniox", "flux"),
        why_only="instead of the row before",
    ),
    Row(
        "drops at once, for ever",
        "each connection ends after 0.1 s of audio",
        (Trouble(drop_at=0.0),),
        notices=None,
        error="the transcriber hung up: 1006; gave up after 5",
        end=100.0,
    ),
    Row(
        "outage longer than the buffer",
        "dropped at 7 s, Retry-After: 12; 6 s of audio are kept",
        (Trouble(drop_at=7.0), refusal(503, **{"retry-after": "12"}), GOOD),
        "link_down audio_lost link_up",
        settings=LinkSettings(keep=6.0),
        recovered=13.0,
        lost=("yes.", "yes."),
        turns=False,
        end=24.0,
    ),
    Row(
        "outage longer than the patience",
        "dropped at 7 s, then refused for ever",
        (Trouble(drop_at=7.0), REFUSED),
        "link_down",
        end=80.0,
        error="Connection refused; gave up after",
    ),
]

SOURCE = [
    Row(
        "audio stalls between turns",
        "no audio for 30 s",
        source=sound(pauses={7.0: 30.0}),
    ),
    Row(
        "audio stalls within a turn",
        'no audio for 4 s after the word "to"',
        source=sound(pauses={2.56: 4.0}),
        turns=False,
    ),
    Row("audio ends within a word", "the last word is cut in half", end=18.2),
    Row(
        "the source fails",
        "it raises OSError in mid-turn",
        source=sound(error=(END - 2.0, OSError("the microphone was unplugged"))),
        error="the microphone was unplugged",
    ),
    Row(
        "the disk is full",
        "the trace cannot be written on",
        parts=full_disk,
        notices="warning",
        says="No space left on device; the session goes on without",
    ),
    Row(
        "the recorder breaks",
        "it raises ZeroDivisionError for each record",
        parts=broken_recorder,
        notices="warning",
        says="the recorder failed: ZeroDivisionError: division by zero; the session goes on without",
    ),
    Row(
        "a rule breaks",
        "a rule of the application raises in mid-turn",
        parts=broken_rule,
        error="division by zero",
    ),
    Row(
        "a rule answers nonsense",
        "it returns a text",
        parts=odd_rule,
        error="the rule 'mine'",
    ),
    Row(
        "the voice detection breaks",
        "it raises in mid-turn",
        parts=broken_voice,
        error="the detector is broken",
    ),
    Row(
        "chunks of 20 ms",
        "as telephone lines give them; they are of 100 ms elsewhere",
        source=sound(chunk=lambda: RATE // 50),
    ),
    Row("audio in bursts", "the line hangs for 0.1 to 0.4 s, twice a second", source=bursts, seed=5),
    Row("odd chunks", "1 to 4000 samples each", source=odd_chunks, seed=6),
    Row("audio comes too fast", "10 times real time", source=sound(speed=10.0)),
    Row("slow reader", "the application takes 3 s for each event", reader=3.0),
]

ASSEMBLYAI = [
    Row(
        "no Termination",
        "the last turn, but no close",
        (Trouble(never_end=True),),
        "warning",
        says="the transcriber sent no last result; words at the end may be missing",
    ),
    Row(
        "session expired",
        "error 3008 after three hours, which pass quickly here",
        (Trouble(close_at=7.0, close=(3008, "x"), failure={"type": "Error", "error_code": 3008, "error": "x"}), GOOD),
        f"warning {BROKE}",
        says="the transcriber reports: error 3008: x",
        recovered=1.0,
    ),
    Row(
        "key without credit",
        "error 4002",
        (Trouble(close_at=7.0, close=(4002, "x"), failure={"type": "Error", "error_code": 4002, "error": "x"}),),
        error="the transcriber failed: error 4002: x",
    ),
]

ELEVENLABS = [
    Row(
        "session too long",
        "error session_time_limit_exceeded",
        (
            Trouble(
                close_at=7.0, close=(1000, ""), failure={"message_type": "session_time_limit_exceeded", "error": "x"}
            ),
            GOOD,
        ),
        f"warning {BROKE}",
        says="the transcriber reports: session_time_limit_exceeded: x",
        recovered=1.0,
    ),
    Row(
        "commit throttled",
        "and the connection closed, although the audio was enough",
        (
            Trouble(
                close_at=7.0,
                close=(1000, "commit_throttled"),
                failure={"message_type": "commit_throttled", "error": "x"},
            ),
            GOOD,
        ),
        BROKE,
        recovered=1.0,
    ),
    Row(
        "a key that is none",
        "error auth_error once connected",
        (Trouble(extra=('{"message_type": "auth_error", "error": "x"}',)),),
        error="the transcriber failed: auth_error: x",
    ),
]

GROUPS = {
    "Connecting": CONNECTING,
    "Connections that break": BROKEN,
    "Messages that make no sense": MESSAGES,
    "The audio, and the application": SOURCE,
    "Soniox only": [replace(row, dialect="soniox", only=("soniox",)) for row in SONIOX],
    "AssemblyAI only": [replace(row, dialect="assemblyai", only=("assemblyai",)) for row in ASSEMBLYAI],
    "ElevenLabs only": [replace(row, dialect="elevenlabs", only=("elevenlabs",)) for row in ELEVENLABS],
    "Flux only": [replace(row, dialect="flux", only=("flux",)) for row in FLUX],
}
BELOW = "nothing of the provider's is involved"


def dialects(row: Row) -> Sequence[str]:
    """Those on which it can happen; names, certificates and parts of the application are the same for all of them."""
    return row.only if row.wire in ("memory", "sockets") and row.parts is dict else DIALECTS[:1]


ROWS: list[Row] = [
    replace(row, dialect=dialect) for rows in GROUPS.values() for row in rows for dialect in dialects(row)
]
