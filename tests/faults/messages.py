"""Rows of the fault matrix: messages that make no sense, for each provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from tests.faults.kit import BROKE, GOOD
from tests.faults.runs import DIALECTS, Row
from tests.faults.server import Trouble, frame
from tests.kit.secret import KEY

__all__ = ["MESSAGES"]

DEEP = "[" * 100_000
HUGE = frame(1, b'"' + b"x" * 50_000_000)
KEY_FIELD = {
    "deepgram": "start",
    "soniox": "tokens",
    "flux": "audio_window_end",
    "assemblyai": "turn_order",
    "elevenlabs": "words",
}
DEEPGRAM_RESULT = {"type": "Results", "channel_index": [0, 1], "start": 2.0, "duration": 1.0, "is_final": True}
DEEPGRAM_RESULT["channel"] = {"alternatives": []}
SONIOX_RESULT = {"tokens": [], "final_audio_proc_ms": 0, "total_audio_proc_ms": 500}
FLUX_RESULT = {"type": "TurnInfo", "event": "Update", "audio_window_start": 0.0, "audio_window_end": 0.5}
RESULTS: Mapping[str, dict[str, Any]] = {
    "deepgram": DEEPGRAM_RESULT,
    "soniox": SONIOX_RESULT,
    "flux": FLUX_RESULT,
    "assemblyai": {"type": "Turn", "turn_order": 0, "turn_is_formatted": False, "end_of_turn": False, "words": []},
    "elevenlabs": {"message_type": "committed_transcript_with_timestamps", "text": "", "words": []},
    "openai": {"type": "conversation.item.input_audio_transcription.delta", "item_id": "odd", "delta": ""},
}
WRONG: Mapping[str, Sequence[dict[str, Any]]] = {
    "deepgram": [
        {"start": "soon"},
        {"duration": None},
        {"start": 1e999},
        {"channel": []},
        {"channel": {"alternatives": {}}},
        {"channel": {"alternatives": ["hello"]}},
        {"channel": {"alternatives": [{"words": [{"word": 5, "start": 0, "end": 1}]}]}},
        {"channel": {"alternatives": [{"words": [{"word": "late", "start": 9, "end": 1}]}]}},
        {"is_final": "yes"},
        {"channel_index": [7, 1]},
        {"channel_index": "left"},
        {"type": 7},
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": []},
    ],
    "soniox": [
        {"tokens": {}},
        {"tokens": ["hello"]},
        {"tokens": [{"text": 5, "is_final": False}]},
        {"tokens": [{"text": " late", "start_ms": 900, "end_ms": 100, "is_final": False}]},
        {"tokens": [{"text": " no", "start_ms": "soon", "end_ms": 100, "is_final": False}]},
        {"tokens": [{"text": " maybe", "is_final": "yes"}]},
        {"total_audio_proc_ms": "all"},
        {"total_audio_proc_ms": 1e999},
        {"finished": "yes"},
    ],
    "flux": [
        {"audio_window_end": "soon"},
        {"audio_window_end": None},
        {"audio_window_end": 1e999},
        {"audio_window_start": 2.0},
        {"words": {}},
        {"words": ["hello"]},
        {"transcript": "late", "words": [{"word": "late", "start": 9, "end": 1}]},
        {"transcript": 7},
        {"type": 7},
    ],
    "assemblyai": [
        {"turn_order": "first"},
        {"turn_order": 1e999},
        {"end_of_turn": "yes"},
        {"words": {}},
        {"words": ["hello"]},
        {"words": [{"text": 5, "start": 0, "end": 1}]},
        {"words": [{"text": "late", "start": 9, "end": 1}]},
        {"words": [{"text": "no", "start": "soon", "end": 1}]},
        {"words": [{"text": "maybe", "start": 0, "end": 1, "word_is_final": "yes"}]},
        {"transcript": 7},
        {"type": 7},
        {"type": "Heartbeat", "total_audio_received_ms": "all"},
    ],
    "openai": [
        {"item_id": 7},
        {"delta": {}},
        {"delta": ["hello"]},
        {"type": "conversation.item.input_audio_transcription.completed", "transcript": 7},
        {"type": "input_audio_buffer.committed", "item_id": []},
        {"type": "conversation.item.input_audio_transcription.completed", "transcript": ["no"]},
        {"type": 7},
    ],
    "elevenlabs": [
        {"text": 7},
        {"words": {}},
        {"words": ["hello"]},
        {"words": [{"text": 5, "start": 0, "end": 1}]},
        {"words": [{"text": "late", "start": 9, "end": 1}]},
        {"words": [{"text": "no", "start": "soon", "end": 1}]},
        {"words": [{"text": "huge", "start": 0, "end": 1e999}]},
        {"words": [{"text": "what", "start": 0, "end": 1, "type": 7}]},
        {"message_type": 7},
        {"message_type": "committed_transcript", "text": ["no"]},
        {"message_type": "partial_transcript", "text": {}},
    ],
}
FAILURES = {
    "deepgram": {"type": "Error", "variant": "SchemaError", "description": "odd"},
    "soniox": {"tokens": [], "error_code": 500, "error_type": "internal_error", "error_message": "odd"},
    "flux": {"type": "Error", "code": "ODD", "description": "odd"},
    "assemblyai": {"type": "Error", "error_code": 3005, "error": "odd"},
    "elevenlabs": {"message_type": "transcriber_error", "error": "odd"},
    "openai": {"type": "error", "error": {"type": "server_error", "code": None, "message": "odd"}},
}


FAILED = "the transcriber reports: "


def spellings() -> list[str]:
    """The key in a text that is cut, behind something, and with a character that JSON escapes."""
    behind = [f"{'x' * more}{KEY}" for more in range(41)]
    cut = [text for at in range(len(KEY)) for text in (KEY[:at], KEY[at:])]
    return [*behind, *cut, *(f"{KEY[:at]}\\u{ord(KEY[at]):04x}{KEY[at + 1 :]}" for at in range(len(KEY)))]


def nonsense(dialect: str) -> Iterator[Row]:
    result, key = RESULTS[dialect], KEY_FIELD.get(dialect, "")
    wrong = [json.dumps(result | change) for change in WRONG[dialect]] + ["[]", "null", "0", '"Results"']
    surrogate = json.dumps(result | {"type": "\ud800"})
    known: list[tuple[str, str, Sequence[str | bytes], str, str]] = [
        ("malformed JSON", "a result cut in half", [json.dumps(result)[:40]], "warning", "not JSON"),
        ("wrong types", f"{len(wrong)} messages, each wrong in its own way", wrong, "warning", "sense"),
        ("unknown types", "three messages", ['{"type":"News"}', '{"type":"Results2"}', "{}"], "", ""),
        ("deep nesting", "100,000 brackets", [DEEP], "warning", "not JSON"),
        ("a message of 50 MB", "in one frame", [HUGE], BROKE, "1009"),
        (
            "a message without end",
            "60 fragments of 20 kB each, none the last",
            [frame(1, b'"' + b"x" * 20_000, final=False) + frame(0, b"x" * 20_000, final=False) * 59],
            BROKE,
            "1009",
        ),
        ("invalid UTF-8", "in a text frame", [frame(1, b'{"type":"\xff\xfe"}')], BROKE, ""),
        ("half a surrogate pair", "in a string of JSON", ['{"type":"\\ud800"}', surrogate], "", ""),
        (
            "binary where text belongs",
            "a result in a binary frame",
            [frame(2, json.dumps(result).encode())],
            "warning",
            "",
        ),
        ("a frame of no known kind", "opcode 3", [frame(3, b"hello")], BROKE, ""),
        ("a close frame that is none", "one byte of a status", [frame(8, b"\x03")], BROKE, ""),
        (
            "the key in a message",
            "where a time should be, behind 0 to 40 characters, in part and escaped",
            [json.dumps(result | {key: spelled}).replace("\\\\", "\\") for spelled in spellings()],
            "warning",
            "***",
        ),
        ("a flood", "5,000 messages of an unknown type at once", ['{"type":"News"}'] * 5_000, "", ""),
        (
            "an Error message",
            "in mid-stream; the stream goes on",
            [json.dumps(FAILURES[dialect])],
            "warning",
            FAILED,
        ),
    ]
    for name, cause, raw, notices, says in known:
        if name == "the key in a message" and dialect not in KEY_FIELD:
            continue  # no field of OpenAI's results must be a number; texts are checked in tests/link
        plans = (Trouble(raw=raw, raw_at=3.0), GOOD)
        if dialect == "soniox" and notices == "warning" and says != FAILED:
            notices += " " + BROKE  # it may have held final tokens, which are not sent again
        recovered = 1.0 if BROKE in notices else None
        yield Row(name, cause, plans, notices, says=says, recovered=recovered, dialect=dialect, only=(dialect,))


MESSAGES = [row for rows in zip_longest(*map(nonsense, DIALECTS)) for row in rows if row is not None]
MESSAGES += [
    Row(
        "a final result that cannot be read",
        "it is cut in half; all before and after it is well",
        (Trouble(garble=number), GOOD),
        f"warning {BROKE}",
        recovered=recovered,  # counted from the message; that it was a final shows with the next one
        turns=False,
        dialect=dialect,
        only=(dialect,),
    )
    for dialect, number, recovered in (("deepgram", 5, 3.0), ("soniox", 13, 3.0), ("flux", 33, 3.0))
]
