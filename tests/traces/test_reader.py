"""Reading traces strictly, and writing them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.traces.reader import parse_trace, read_trace
from hearout.traces.recorder import Recorder, redacted
from hearout.traces.records import (
    AgentChange,
    AgentText,
    AppCall,
    AudioEnd,
    AudioStall,
    BotInterrupted,
    BotTurn,
    Bounds,
    Expected,
    Expecting,
    Header,
    KeyPress,
    LinkChange,
    Received,
    Reply,
    Sent,
    VoiceChange,
)
from hearout_policies.expect import Digits, Open
from hearout_policies.marks import count_words

HEADER = '{"hearout_trace": 1, "stt": "deepgram", "channels": 2, "vad": true}'


def test_every_kind_of_record() -> None:
    trace = parse_trace(
        [
            '{"hearout_trace": 1, "stt": "deepgram", "channels": 2, "vad": true,'
            ' "policy": {"base": "fast"}, "source": "by hand"}',
            '{"t": 0.5, "vad": "start", "audio": 0.4, "channel": 1, "heard": 0.48}',
            "",
            '{"t": 1, "vad": "stop"}',
            '{"t": 1, "vad": "maybe", "audio": 0.96}',
            '{"t": 1.5, "stt": {"type": "Results"}}',
            '{"t": 1.5, "sent": {"type": "Finalize"}}',
            '{"on": "finalize", "after": 0.25, "stt": {"a": 1}}',
            '{"t": 5.0, "link": "lost"}',
            '{"t": 6.1, "link": "restored", "audio": 4.2}',
            '{"t": 6.2, "audio": "stalled", "heard": 6.0}',
            '{"t": 7.0, "agent": "started"}',
            '{"t": 7.1, "bot": "interrupted"}',
            '{"t": 7.2, "bot": "committed", "text": "yes", "channel": 1}',
            '{"t": 8.0, "app": "force_end", "channel": 1}',
            '{"t": 12.0, "end": true}',
            '{"expect": [{"text": "yes", "after": 1, "before": 2, "confirmed": true},'
            ' {"type": "turn_abandoned", "reason": "no_words"}]}',
            '{"expect_commands": {"finalize": {"min": 1, "max": 2}}}',
            '{"forbid": ["turn_amended"]}',
        ]
    )
    assert trace.header == Header("deepgram", 2, True, {"base": "fast"}, "by hand")
    assert trace.records == (
        VoiceChange(0.5, "start", 0.4, channel=1, heard=0.48),
        VoiceChange(1.0, "stop", 1.0, heard=1.0),  # audio time is the session clock's unless said otherwise
        VoiceChange(1.0, "maybe", 0.96, heard=1.0),
        Received(1.5, {"type": "Results"}),
        Sent(1.5, {"type": "Finalize"}),
        LinkChange(5.0, "lost"),
        LinkChange(6.1, "restored", 4.2),
        AudioStall(6.2, 6.0),
        AgentChange(7.0, "started"),
        BotInterrupted(7.1),
        BotTurn(7.2, "yes", channel=1),
        AppCall(8.0, "force_end", channel=1),
        AudioEnd(12.0),
    )
    assert [record.line for record in trace.records] == [2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16]
    assert trace.answers == (Reply(0.25, {"a": 1}),)
    assert trace.expect == (
        Expected("turn_completed", 1.0, 2.0, {"text": "yes", "confirmed": True}),
        Expected("turn_abandoned", None, None, {"reason": "no_words"}),
    )
    assert trace.commands == {"finalize": Bounds(1, 2)}
    assert trace.forbid == {"turn_amended"}


def test_a_turn_that_is_told_of_later_stands_where_it_ended() -> None:
    trace = parse_trace(
        [
            '{"hearout_trace": 1, "stt": "results", "channels": 1}',
            '{"t": 1.0, "vad": "stop"}',
            '{"t": 2.0, "vad": "start"}',
            '{"t": 2.5, "bot": "committed", "text": "yes", "at": 1.5}',
            '{"t": 2.5, "vad": "stop"}',
        ]
    )
    assert [(record.t, record.line) for record in trace.records] == [(1.0, 2), (1.5, 4), (2.0, 3), (2.5, 5)]
    assert trace.records[1] == BotTurn(1.5, "yes")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ('{"t": 1, "a', "not JSON: Unterminated string starting at column 10"),
        ("# a comment", "not JSON"),
        ("[1]", "[1] is not a JSON object"),
        ('{"t": NaN, "end": true}', "NaN is not JSON; numbers must be finite"),
        ('{"t": 1e999, "end": true}', '"t" must be a number of seconds, 0 or more'),
        ('{"t": -1, "end": true}', '"t" must be a number of seconds, 0 or more, not -1'),
        ('{"t": true, "end": true}', '"t" must be a number of seconds, 0 or more, not true'),
        ('{"t": 1, "t": 2, "end": true}', 'key "t" stands twice'),
        ('{"end": true}', '"t" is missing'),
        ('{"t": 1, "end": false}', '"end" must be true'),
        ('{"t": 1}', 'unknown kind of record; a record has "t" and one of "vad", "ear", "stt"'),
        ('{"t": 1, "wad": "start"}', "unknown kind of record"),
        ('{"t": 0.1, "agent": "started"}', "t goes backwards: 0.1 after 0.5"),
        ('{"t": 1, "bot": "committed"}', '"text" is missing'),
        ('{"t": 1, "bot": "committed", "text": "a", "at": 1.1}', '"at" must be a number from 0 to 1, not 1.1'),
        ('{"t": 1, "bot": "interrupted", "text": "a"}', 'unknown key "text"'),
        ('{"t": 1, "bot": "replied"}', '"bot" must be "committed" or "interrupted", not "replied"'),
        ('{"t": 1, "vad": "begin"}', '"vad" must be "start" or "stop" or "maybe" or "pause", not "begin"'),
        ('{"t": 1, "vad": "stop", "channel": 2}', '"channel" 2 does not exist; the header says "channels": 2'),
        ('{"t": 1, "vad": "stop", "channel": 1.0}', '"channel" must be a whole number'),
        ('{"t": 1, "vad": "stop", "chanel": 1}', 'unknown key "chanel"; a record of kind "vad" has t, vad, '),
        ('{"t": 1, "stt": "hello"}', '"stt" must be an object, not "hello"'),
        ('{"t": 1, "link": "up"}', '"link" must be "lost" or "restored", not "up"'),
        ('{"t": 1, "link": "lost", "audio": 3}', 'unknown key "audio"'),
        ('{"t": 1, "link": "lost", "speed": 2}', 'unknown key "speed"'),
        ('{"t": 1, "link": "restored", "speed": 0}', '"speed" must be a number above 0, or null: no limit, not 0'),
        ('{"t": 1, "link": "restored", "speed": "fast"}', '"speed" must be a number above 0, or null: no limit, not'),
        ('{"t": 1, "link": "restored", "speed": true}', '"speed" must be a number above 0, or null: no limit, not'),
        ('{"t": 1, "audio": "stopped"}', '"audio" must be "stalled"'),
        ('{"t": 1, "app": "end"}', '"app" must be "force_end" or "hold" or "release" or "clear", not "end"'),
        ('{"on": "finalise", "after": 1, "stt": {}}', '"on" must be "finalize"'),
        ('{"on": "finalize", "stt": {}}', '"after" is missing'),
        ('{"expect": {"text": "a"}}', '"expect" must be a list'),
        ('{"expect": [{"txt": "a"}]}', 'expect, entry 1: unknown key "txt"; an expected turn_completed has type'),
        ('{"expect": [{}, {"type": "turn_compleated"}]}', 'expect, entry 2: "type" must be "turn_started" or'),
        ('{"expect": [{"text": 1}]}', '"text" must be a string'),
        ('{"expect": [{"after": 2, "before": 1}]}', '"before" 1 lies before "after" 2'),
        ('{"expect": [{"timings": {"spech_end": 1}}]}', 'unknown key "spech_end"; timings has speech_end'),
        ('{"expect": [{"type": "turn_resumed", "text": "a"}]}', 'unknown key "text"; an expected turn_resumed'),
        ('{"expect_commands": {"finalise": {"min": 1}}}', '"finalize" is missing'),
        ('{"expect_commands": {"finalize": {"mim": 1}}}', 'unknown key "mim"; "finalize" has min, max'),
        ('{"expect_commands": {"finalize": {"min": 2, "max": 1}}}', '"max" 1 is less than "min" 2'),
        ('{"forbid": ["turn_ammended"]}', '"forbid" names "turn_ammended"; events are turn_started'),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named(line: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_trace([HEADER, '{"t": 0.5, "agent": "stopped"}', line], "call.jsonl")
    assert str(caught.value).startswith("call.jsonl:3: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("", "the trace is empty"),
        ('{"t": 1, "end": true}', "not a hearout trace: line 1 must be the header"),
        ('{"hearout_trace": 2, "stt": "deepgram"}', "trace of version 2; this hearout reads version 1"),
        ('{"hearout_trace": "1", "stt": "deepgram"}', '"hearout_trace" must be a whole number'),
        ('{"hearout_trace": 1}', '"stt" is missing'),
        ('{"hearout_trace": 1, "stt": "whisper"}', '"stt" is "whisper", a transcriber that is not known here'),
        ('{"hearout_trace": 1, "stt": "flux", "channels": 0}', '"channels" must be a whole number, 1 or more'),
        ('{"hearout_trace": 1, "stt": "flux", "chanels": 1}', 'unknown key "chanels"; the header has'),
        ('{"hearout_trace": 1, "stt": "flux", "policy": "fast"}', '"policy" must be an object'),
    ],
)
def test_a_bad_header_is_named(header: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_trace([header], "call.jsonl")
    assert str(caught.value).startswith("call.jsonl:1: ")
    assert complaint in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.sampled_from(["start", "lost", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["t", "text", "type", "min", "finalize"]), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = ["t", "vad", "stt", "sent", "on", "after", "link", "audio", "agent", "bot", "app", "end", "expect", "forbid"]


@given(st.dictionaries(st.sampled_from([*keys, "expect_commands", "channel", "heard"]), json_values, max_size=4))
def test_any_other_line_is_refused_in_one_line(record: dict[str, Any]) -> None:
    message = None
    try:
        parse_trace([HEADER, json.dumps(record)], "call.jsonl")
    except UsageError as error:
        message = str(error)
    assert message is None or (message.startswith("call.jsonl:2: ") and "\n" not in message)


def test_voice_records_need_a_vad() -> None:
    with pytest.raises(UsageError, match='2: a "vad" record, but the header says "vad": false'):
        parse_trace(['{"hearout_trace": 1, "stt": "deepgram", "vad": false}', '{"t": 1, "vad": "stop"}'])


def test_files_that_are_no_traces(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the trace: No such file"):
        read_trace(tmp_path / "missing.jsonl")
    with pytest.raises(UsageError, match="cannot read the trace: Is a directory"):
        read_trace(tmp_path)
    (tmp_path / "speech.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE")
    with pytest.raises(UsageError, match="not a trace: a trace is JSON Lines in UTF-8"):
        read_trace(tmp_path / "speech.wav")


def message(*words: str) -> dict[str, Any]:
    timed = [
        {"word": word.lower().strip(".,"), "start": n * 0.5, "end": n * 0.5 + 0.4, "punctuated_word": word}
        for n, word in enumerate(words)
    ]
    alternative = {"transcript": " ".join(words), "confidence": 0.98, "words": timed}
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 0.0,
        "duration": len(words) * 0.5,
        "is_final": True,
        "channel": {"alternatives": [alternative]},
    }


def test_how_fast_a_new_connection_is_fed() -> None:
    lines = [
        '"link": "restored"',
        '"link": "restored", "speed": null',
        '"link": "restored", "speed": 2',
        '"link": "lost"',
    ]
    trace = parse_trace([HEADER, *(f'{{"t": 1, {line}}}' for line in lines)])
    assert trace.records == (
        LinkChange(1.0, "restored", 1.0, 1.25),
        LinkChange(1.0, "restored", 1.0, None),
        LinkChange(1.0, "restored", 1.0, 2.0),
        LinkChange(1.0, "lost"),
    )


def test_how_much_had_been_heard_is_the_session_clock_unless_said_otherwise() -> None:
    lines = ['"vad": "start", "audio": 0.9', '"vad": "stop", "audio": 0.9, "heard": 0.95', '"audio": "stalled"']
    trace = parse_trace([HEADER, *(f'{{"t": 1, {line}}}' for line in lines)])
    assert [record.heard for record in trace.records if isinstance(record, (VoiceChange, AudioStall))] == [
        1.0,
        0.95,
        1.0,
    ]


def test_what_is_recorded_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    header = Header("deepgram", 1, True, {"base": "balanced", "max_turn": 60.0}, "samples/order.flac")
    with Recorder(path, header) as recorder:
        recorder.write({"t": 0.52, "vad": "start", "audio": 0.44, "channel": 0, "heard": 0.52})
        recorder.write({"t": 1.02, "stt": message("Grüezi.")})
        # Each record is on disk at once: a crash must not take the trace with it.
        assert len(read_trace(path).records) == 2
        recorder.write({"t": 12.0, "end": True})
    trace = read_trace(path)
    assert trace.header == header
    assert trace.records == (
        VoiceChange(0.52, "start", 0.44, heard=0.52),
        Received(1.02, message("Grüezi.")),
        AudioEnd(12.0),
    )


def test_an_open_file_stays_open() -> None:
    file = io.StringIO()
    with Recorder(file, Header("deepgram")) as recorder:
        recorder.write({"t": 1.0, "end": True})
    assert len(file.getvalue().splitlines()) == 2


def test_a_providers_nan_makes_no_unreadable_trace() -> None:
    file = io.StringIO()
    Recorder(file, Header("deepgram")).write({"t": 1.0, "stt": {"start": float("nan"), "words": [1.5]}})
    assert parse_trace(file.getvalue().splitlines()).records == (Received(1.0, {"start": None, "words": [1.5]}),)


@pytest.mark.parametrize("redact", [False, True])
def test_a_message_too_deep_to_be_written_is_left_out(redact: bool) -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    file = io.StringIO()
    recorder = Recorder(file, Header("deepgram"), redact=redact)
    recorder.write({"t": 1.0, "stt": {"more": deep}})
    recorder.write({"t": 2.0, "stt": {"start": 1.5}})
    assert [json.loads(line).get("t") for line in file.getvalue().splitlines()] == [None, 2.0]


def test_half_a_character_makes_no_unreadable_trace(tmp_path: Path) -> None:
    with Recorder(tmp_path / "call.jsonl", Header("deepgram")) as recorder:
        recorder.write({"t": 1.0, "stt": {"transcript": "\ud83d"}})
    assert read_trace(tmp_path / "call.jsonl").records == (Received(1.0, {"transcript": "\ud83d"}),)


def test_a_trace_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the trace: No such file or directory"):
        Recorder(tmp_path / "missing" / "call.jsonl", Header("deepgram"))


def test_redaction_keeps_everything_but_the_words() -> None:
    file = io.StringIO()
    recorder = Recorder(file, Header("deepgram"), redact=True)
    original = message("My", "PIN", "is", "42,", "Müller.")
    original["entities"] = [{"label": "NAME", "raw_value": "Müller"}]
    recorder.write({"t": 1.0, "stt": original})
    (record,) = parse_trace(file.getvalue().splitlines()).records
    assert isinstance(record, Received)
    for secret in ("pin", "PIN", "My", "42", "üller", "NAME"):
        assert secret not in json.dumps(record.message, ensure_ascii=False)
    alternative = record.message["channel"]["alternatives"][0]
    assert alternative["transcript"] == "Xx XXX xx 00, Xxxxxx."
    assert [word["start"] for word in alternative["words"]] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert record.message["type"] == "Results"
    assert record.message["is_final"] is True


def test_redaction_keeps_end_marks() -> None:
    tokens = {"tokens": [{"text": " yes", "is_final": True}, {"text": "<end>", "is_final": True}]}
    assert [token["text"] for token in redacted(tokens)["tokens"]] == [" xxx", "<end>"]


@pytest.mark.parametrize("digits", [300, 301, 4000, 5000])
@pytest.mark.parametrize(
    "line",
    [
        '{"t": %s, "end": true}',
        '{"t": 1, "vad": "start", "audio": %s}',
        '{"t": 1, "vad": "start", "channel": %s}',
        '{"on": "finalize", "after": %s, "stt": {}}',
    ],
)
def test_a_number_that_no_float_holds_is_one_short_line(line: str, digits: int) -> None:
    with pytest.raises(UsageError) as caught:
        parse_trace([HEADER, line % ("9" * digits)], "call.jsonl")
    assert str(caught.value).startswith("call.jsonl:2: ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["t", "kind", "key"])
def test_what_is_long_is_cut(name: str) -> None:
    long = "k" * 100_000
    line = {"t": {"t": long}, "kind": {"t": 1, "app": long}, "key": {"t": 1, "end": True, long: 1}}[name]
    with pytest.raises(UsageError) as caught:
        parse_trace([HEADER, json.dumps(line)], "call.jsonl")
    assert len(str(caught.value)) < 300


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero")
def test_a_trace_that_is_broken_off_is_read_by_who_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    told: list[str] = []
    for last, notes in (("{}", 0), ('{"t": 2, "k', 1), ('{"t": 2, "key": "5"}', 0)):
        path.write_text(f'{HEADER}\n{{"t": 1, "key": "5"}}\n{last}')
        told.clear()
        if last == "{}":
            with pytest.raises(UsageError, match=r"call.jsonl:3: unknown kind"):
                read_trace(path, broken_off=told.append)
        else:
            assert len(read_trace(path, broken_off=told.append).records) == 2 - notes
        assert told == [f"{path}: broken off in line 3, the last, which is left out"] * notes
    path.write_text(f'{HEADER}\n{{"t": 2, "k')
    with pytest.raises(UsageError, match=r"call.jsonl:2: not JSON"):
        read_trace(path)
    path.write_text(HEADER[:-9])
    with pytest.raises(UsageError, match=r"call.jsonl:1: not JSON"):
        read_trace(path, broken_off=told.append)


def test_a_file_without_end_is_no_trace() -> None:
    with pytest.raises(UsageError, match=r"^/dev/zero:1: a line of more than 10000000 characters"):
        read_trace("/dev/zero")


@pytest.mark.skipif(os.name != "posix", reason="no modes")
def test_only_its_owner_can_read_a_trace(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        with Recorder(tmp_path / "call.jsonl", Header("deepgram")):
            pass
        (tmp_path / "old.jsonl").touch(0o644)  # somebody wants it so
        with Recorder(tmp_path / "old.jsonl", Header("deepgram")):
            pass
    finally:
        os.umask(umask)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("call.jsonl", "old.jsonl")]
    assert modes == [0o600, 0o644]


def test_redaction_keeps_how_many_words_there_are_in_any_script() -> None:
    said = {"transcript": "等一下，ठीक है। เดี๋ยว 25"}
    masked = redacted(said)["transcript"]
    assert masked == "〇〇〇，xx x। 〇〇〇〇 00"
    assert count_words(masked) == count_words(said["transcript"])


def test_redaction_hides_what_was_asked_for_said_and_pressed_and_is_a_trace_still() -> None:
    file = io.StringIO()
    recorder = Recorder(file, Header("deepgram"), redact=True)
    options = {"type": "one_of", "options": ["Smith", "Jones"]}
    recorder.write({"t": 1.0, "agent": "said", "text": "Is it Smith, or Jones?"})
    recorder.write({"t": 1.5, "bot": "committed", "text": "Jones, 5"})
    recorder.write({"t": 2.0, "expected": [options, {"type": "digits", "least": 4, "most": 4}], "keep": True})
    for at, key in ((3.0, "7"), (3.1, "A"), (3.2, "#")):
        recorder.write({"t": at, "key": key, "channel": 0})
    written = file.getvalue()
    assert "Smith" not in written
    assert "Jones" not in written
    said, committed, asked, *keys = parse_trace(written.splitlines()).records
    assert said == AgentText(1.0, "Xx xx Xxxxx, xx Xxxxx?")
    assert committed == BotTurn(1.5, "Xxxxx, 0")
    assert asked == Expecting(2.0, (Open(), Digits(4)), True)
    assert [press.key for press in keys if isinstance(press, KeyPress)] == ["0", "0", "#"]
