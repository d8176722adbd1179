"""The AssemblyAI dialect on messages in the shapes of its documents (texts are our own)."""

from __future__ import annotations

import json
import warnings
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.testing import check_dialect
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, StreamFinished
from hearout.transcribers.decoding import apply_options, options_record
from hearout_policies.signals import ProviderSpeechStarted, ProviderTurn, Transcript, Word
from hearout_policies.words import join

KEY = "aai-secret-key"


def query(**options: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(AssemblyAI(KEY, **options).address()).query)


def turn(text: str, *, order: int = 0, final: int = 0, start: float = 1.0, **more: Any) -> dict[str, Any]:
    """A Turn message: a word every half second from ``start`` on, the first ``final`` of them final."""
    words = [
        {
            "start": round(1000 * (start + 0.5 * n)),
            "end": round(1000 * (start + 0.5 * n + 0.4)),
            "text": word,
            "confidence": 0.9,
            "word_is_final": n < final or more.get("end_of_turn", False),
        }
        for n, word in enumerate(text.split())
    ]
    return {
        "type": "Turn",
        "turn_order": order,
        "turn_is_formatted": False,
        "end_of_turn": False,
        "transcript": " ".join(text.split()[:final]),
        "end_of_turn_confidence": 0.1,
        "words": words,
        "utterance": "",
    } | more


def ended(text: str, *, order: int = 0, start: float = 1.0, **more: Any) -> dict[str, Any]:
    return turn(text, order=order, start=start, end_of_turn=True, transcript=text, **more)


def decode(*messages: Any, offset: float = 0.0, **options: Any) -> list[Any]:
    dialect = AssemblyAI(KEY, **options)
    dialect.opening()
    texts = [m if isinstance(m, (str, bytes)) else json.dumps(m) for m in messages]
    return [item for text in texts for item in dialect.decode(text, 7.5, offset)]


def signals(*messages: Any, offset: float = 0.0, **options: Any) -> list[Any]:
    news = decode(*messages, offset=offset, **options)
    assert all(isinstance(item, Heard) for item in news)
    return [item.signal for item in news]


def finals(heard: list[Any]) -> list[str]:
    return [join(one.words) for one in heard if isinstance(one, Transcript) and one.is_final]


# The connection


def test_defaults() -> None:
    assert query() == {
        "speech_model": ["universal-streaming-english"],
        "encoding": ["pcm_s16le"],
        "sample_rate": ["16000"],
        "session_heartbeat": ["true"],
        "end_of_turn_confidence_threshold": ["1.0"],  # our rules decide
    }
    assert AssemblyAI(KEY).address().startswith("wss://streaming.assemblyai.com/v3/ws?")


def test_all_kinds_of_options() -> None:
    assert query(
        sample_rate=8000,
        own_turns=False,
        format_turns=True,
        end_of_turn_confidence_threshold=0.7,
        min_turn_silence=400,
        max_turn_silence=1280,
        vad_threshold=0.5,
        keyterms_prompt=["Quist", "Ænima"],
        extra={"domain": "medical-v1", "inactivity_timeout": 60},
    ) == {
        "speech_model": ["universal-streaming-english"],
        "encoding": ["pcm_s16le"],
        "sample_rate": ["8000"],
        "session_heartbeat": ["true"],
        "format_turns": ["true"],
        "end_of_turn_confidence_threshold": ["0.7"],
        "min_turn_silence": ["400"],
        "max_turn_silence": ["1280"],
        "vad_threshold": ["0.5"],
        "keyterms_prompt": ['["Quist", "Ænima"]'],
        "domain": ["medical-v1"],
        "inactivity_timeout": ["60"],
    }


def test_a_model_without_a_threshold_is_sent_none() -> None:
    got = query(speech_model="universal-3-5-pro", language_codes=("es",), agent_context="Your name, please?")
    assert "end_of_turn_confidence_threshold" not in got
    assert got["language_codes"] == ['["es"]']
    assert got["agent_context"] == ["Your name, please?"]


def test_messages_to_the_service() -> None:
    dialect = AssemblyAI(KEY)
    assert dialect.headers() == [("Authorization", KEY)]
    assert list(dialect.opening()) == []
    assert dialect.audio(b"\1\0") == b"\1\0"
    assert dialect.finalize() == '{"type":"ForceEndpoint"}'
    assert dialect.closing() == '{"type":"Terminate"}'
    assert dialect.keepalive() is None
    assert AssemblyAI(KEY, own_turns=False).finalize() is None
    assert dialect.longest == 3 * 3600, "then the session ends with error 3008"
    assert KEY not in repr(dialect)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": ""}, "AssemblyAI: the key is empty or not plain text; set ASSEMBLYAI_API_KEY"),
        ({"url": "https://streaming.assemblyai.com"}, "must be ws://HOST/... or wss://HOST/..."),
        ({"sample_rate": 4000}, "AssemblyAI: sample_rate must be 8000 to 48000, not 4000"),
        ({"channels": 2}, "AssemblyAI: it transcribes one channel; open a session for each channel"),
        ({"vad_threshold": 1.5}, "AssemblyAI: vad_threshold must be 0 to 1, not 1.5"),
        ({"min_turn_silence": -1}, "AssemblyAI: min_turn_silence must be 0 to 60000, not -1"),
        ({"keyterms_prompt": "Quist"}, "AssemblyAI: keyterms_prompt must be of type Sequence[str]"),
        ({"extra": {"sample_rate": 1}}, "AssemblyAI: extra must not set 'sample_rate'; it is an option of its own"),
        ({"eager_threshold": 0.5}, "AssemblyAI: eager_threshold is for own_turns=False"),
        ({"end_of_turn_confidence_threshold": 0.5}, "end_of_turn_confidence_threshold is for own_turns=False"),
        ({"min_turn_silence": 900, "max_turn_silence": 800}, "must not be above max_turn_silence; 900 and 800 are"),
        ({"speech_model": "u3-rt-pro", "format_turns": True}, "u3-rt-pro formats by itself; leave format_turns out"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as failure:
        AssemblyAI(**({"key": KEY} | options))
    assert says in str(failure.value)
    assert "\n" not in str(failure.value)


def test_options_known_to_hurt_warn() -> None:
    with pytest.warns(UserWarning, match="max_turn_silence=500 ends turns at pauses for thought"):
        AssemblyAI(KEY, own_turns=False, max_turn_silence=500)
    with pytest.warns(UserWarning, match="eager_threshold=0.5 predicts no end: turns end at a confidence of 0.4"):
        AssemblyAI(KEY, own_turns=False, eager_threshold=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AssemblyAI(KEY, own_turns=False, max_turn_silence=501, eager_threshold=0.4)
        AssemblyAI(KEY, max_turn_silence=100)  # what AssemblyAI ends is nothing to our rules


# What it says


def test_a_final_word_does_not_wait_for_the_end_of_the_turn() -> None:
    heard = signals(turn("we have"), turn("we have two", final=2), ended("we have two"))
    assert finals(heard) == ["we have", "two"]
    assert heard[0] == Transcript(7.5, (Word("we", 1.0, 1.4), Word("have", 1.5, 1.9)), 0.0, 1.9, is_final=False)
    assert heard[1] == Transcript(7.5, (Word("we", 1.0, 1.4), Word("have", 1.5, 1.9)), 0.0, 1.9, is_final=True)
    assert heard[2] == Transcript(7.5, (Word("two", 2.0, 2.4),), 1.9, 2.4, is_final=False)
    assert heard[3] == Transcript(7.5, (Word("two", 2.0, 2.4),), 1.9, 2.4, is_final=True, finalized=True)
    assert len(heard) == 4


def test_words_of_a_universal_3_turn_may_change_until_its_end() -> None:
    heard = signals(turn("To tea", final=2), ended("Two teas.", turn_is_formatted=True), speech_model="u3-rt-pro")
    assert finals(heard) == ["Two teas."]
    assert join(heard[0].words) == "To tea"


def test_a_turn_that_comes_again_formatted_is_said_once() -> None:
    heard = signals(
        turn("we have two", final=3),
        ended("we have two"),
        ended("We have two.", turn_is_formatted=True),
        turn("yes", order=1, start=4.0),
        format_turns=True,
    )
    assert finals(heard) == ["We have two."]
    assert [join(one.words) for one in heard] == ["we have two", "we have two", "We have two.", "yes"]


def test_a_turn_whose_formatting_does_not_come_stands_as_it_was() -> None:
    heard = signals(
        ended("we have two"),
        turn("yes", order=1, start=4.0),
        ended("We have two.", turn_is_formatted=True),  # too late: it was said
        format_turns=True,
    )
    assert finals(heard) == ["we have two"]
    (*_, last) = decode(ended("we have two"), {"type": "Termination"}, format_turns=True)
    assert last == StreamFinished()
    assert finals([one.signal for one in decode(ended("two"), {"type": "Termination"}, format_turns=True)[:-1]]) == [
        "two"
    ]


def test_with_own_turns_every_end_answers_and_none_is_an_endpoint() -> None:
    (answer,) = signals(ended("yes"))
    assert (answer.finalized, answer.endpoint) == (True, False)


def test_without_own_turns_its_end_is_an_endpoint() -> None:
    result, end = signals(ended("yes"), own_turns=False)
    assert (result.finalized, result.endpoint) == (False, True)
    assert end == ProviderTurn(7.5, "ended", 1.4)


def test_an_end_without_words_answers() -> None:
    assert signals(turn("yes", final=1), ended("", order=1)) == [
        Transcript(7.5, (Word("yes", 1.0, 1.4),), 0.0, 1.4, is_final=True),
        Transcript(7.5, (), 1.4, 1.4, is_final=False),
        Transcript(7.5, (), 1.4, 1.4, is_final=True, finalized=True),
    ]


def test_its_eager_text_is_a_prediction_that_more_words_take_back() -> None:
    heard = signals(
        turn("we have two", utterance="we have two"),
        turn("we have two", utterance="we have two"),
        turn("we have two and"),
        ended("we have two and"),
        own_turns=False,
    )
    assert [one.kind for one in heard if isinstance(one, ProviderTurn)] == ["eager_end", "resumed", "ended"]


def test_a_confidence_predicts_where_a_threshold_is_set() -> None:
    heard = signals(
        turn("we have two", end_of_turn_confidence=0.2, utterance="we have two"),
        turn("we have two", end_of_turn_confidence=0.3),
        own_turns=False,
        eager_threshold=0.3,
    )
    assert [one.kind for one in heard if isinstance(one, ProviderTurn)] == ["eager_end"]


def test_offset_moves_every_time() -> None:
    got = signals(
        {"type": "SpeechStarted", "timestamp": 900, "confidence": 0.9}, ended("yes"), own_turns=False, offset=10.0
    )
    assert got == [
        ProviderSpeechStarted(7.5, 10.9),
        Transcript(7.5, (Word("yes", 11.0, 11.4),), 10.0, 11.4, is_final=True, endpoint=True),
        ProviderTurn(7.5, "ended", 11.4),
    ]


def test_a_new_connection_begins_anew() -> None:
    dialect = AssemblyAI(KEY, format_turns=True)
    for _ in range(2):
        dialect.opening()
        (heard,) = dialect.decode(json.dumps(ended("two", order=0)), 1.0, 5.0)
        assert isinstance(heard, Heard)
        assert isinstance(heard.signal, Transcript)
        assert heard.signal.start == 5.0
        dialect.decode(json.dumps(turn("three", order=3)), 1.0, 5.0)


def test_words_without_times_lie_at_a_point() -> None:
    (result,) = signals(ended("yes please") | {"words": []})
    assert (join(result.words), result.timed) == ("yes please", False)


def beat(received: float, voice: float = 0.0) -> dict[str, Any]:
    return {
        "type": "Heartbeat",
        "total_audio_received_ms": round(1000 * received),
        "total_duration_ms": round(1000 * received),
        "realtime_factor": 1.0,
        "max_speech_probability": voice,
    }


def test_silence_counts_as_heard_after_two_heartbeats() -> None:
    """So a lost connection is not replayed for all of a long silence, and silence is no hang."""
    heard = signals(ended("yes"), beat(5.0, 0.9), beat(10.0), beat(15.0), beat(20.0))
    assert [(one.is_final, one.end) for one in heard] == [
        (True, 1.4),
        (False, 4.0),  # a voice: its words may still come
        (True, 1.4),
        (True, 10.0),
        (True, 15.0),
    ]


def test_a_heartbeat_keeps_open_words() -> None:
    heard = signals(turn("we have"), beat(5.0), ended("we have two"))
    assert [join(one.words) for one in heard] == ["we have", "we have", "we have two"]
    assert (heard[1].is_final, heard[1].end) == (False, 4.0)


# Errors and messages that mean nothing


@pytest.mark.parametrize(
    ("message", "permanent", "says"),
    [
        (
            {"type": "Error", "error_code": 3006, "error": "Invalid sample_rate"},
            True,
            "error 3006: Invalid sample_rate",
        ),
        ({"type": "Error", "error_code": 1008, "error": "Unauthorized Connection"}, True, "error 1008"),
        ({"type": "Error", "error_code": 3005, "error": "Server error"}, False, "error 3005: Server error"),
        ({"type": "Error", "error_code": 3008, "error": "Session Expired"}, False, "error 3008"),
        ({"type": "Error", "error_code": 3009, "error": "Too many concurrent sessions"}, False, "error 3009"),
        ({"type": "Error"}, False, "error: no details"),
        ({"type": "Error", "error_code": "3006", "error": "Invalid"}, True, "error 3006: Invalid"),
        ({"type": "Error", "error_code": 3006.0, "error": "Invalid"}, True, "error 3006: Invalid"),
        ({"type": "Error", "error_code": "gone", "error": "Away"}, False, "error gone: Away"),
        ({"type": "Error", "error_code": -1, "error": "Away"}, False, "error -1: Away"),
        ({"type": "Error", "error_code": [1], "error": {"a": 1}}, False, "error [1]: {'a': 1}"),
        ({"type": "Error", "error_code": True, "error": None}, False, "error True: no details"),
        ({"type": "Warning", "warning_code": 1, "warning": "slow"}, False, "warning: slow"),
    ],
)
def test_errors(message: dict[str, Any], permanent: bool, says: str) -> None:
    (failed,) = decode(message)
    assert isinstance(failed, ProviderFailed)
    assert failed.permanent == permanent
    assert failed.detail.startswith(says)


def test_unknown_messages_are_counted() -> None:
    dialect = AssemblyAI(KEY)
    for message in ('{"type": "LLMGatewayResponse"}', "{}"):
        assert list(dialect.decode(message, 1.0, 0.0)) == []
    assert dialect.ignored == 2
    for message in ('{"type": "Begin", "id": "x"}', '{"type": "SpeakerRevision", "revisions": []}'):
        assert list(dialect.decode(message, 1.0, 0.0)) == []
    assert dialect.ignored == 2


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        '{"type": 1}',
        '{"type": "Turn"}',
        '{"type": "Turn", "turn_order": 0, "words": [1]}',
        json.dumps(turn("yes") | {"end_of_turn": "yes"}),
        json.dumps(turn("yes") | {"words": [{"start": 900, "end": 100, "text": "yes"}]}),
        '{"type": "Heartbeat"}',
    ],
)
def test_messages_that_are_none(message: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(message)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=12), st.booleans())
def test_every_word_is_final_once(turns: list[tuple[int, bool, bool]], format_turns: bool) -> None:
    """Whatever of a turn comes, its words become final once it has ended, and never twice."""
    messages: list[dict[str, Any]] = []
    said: list[str] = []
    for order, (count, interim, again) in enumerate(turns):
        words = [f"w{order}x{n}" for n in range(count)]
        said += words
        start = 2.0 * order
        if interim:
            messages.append(turn(" ".join(words), order=order, start=start, final=count - 1))
        messages.append(ended(" ".join(words), order=order, start=start, turn_is_formatted=not format_turns))
        if format_turns and again:
            messages.append(ended(" ".join(words), order=order, start=start, turn_is_formatted=True))
    messages.append({"type": "Termination"})
    *heard, last = decode(*messages, format_turns=format_turns)
    assert last == StreamFinished()
    results = [one.signal for one in heard]
    assert " ".join(text for text in finals(results) if text).split() == said
    ends = [one.end for one in results if one.is_final]
    assert ends == sorted(ends)


@pytest.mark.parametrize("options", [{}, {"own_turns": False}, {"format_turns": True}], ids=str)
def test_conforms(options: dict[str, Any]) -> None:
    def make() -> Dialect:
        return AssemblyAI(KEY, **options)

    check_dialect(
        make,
        [
            {"type": "Begin", "id": "0b6f", "expires_at": 1772570132},
            turn("we have"),
            beat(5.0),
            turn("we have two", final=2, utterance="we have two"),
            ended("we have two"),
            ended("We have two.", turn_is_formatted=True),
            turn("yes", order=1, start=4.0),
            {"type": "Error", "error_code": 3005, "error": "Server error"},
            {"type": "Termination", "audio_duration_seconds": 7},
        ],
    )


def test_a_replay_reads_by_the_options_of_the_session() -> None:
    """They are recorded where a connection begins, if they are not as usual."""
    dialect = AssemblyAI(KEY, format_turns=True, own_turns=False)
    record = options_record(dialect)
    assert record == {"type": "Options", "own_turns": False, "format_turns": True}
    assert options_record(AssemblyAI(KEY)) is None
    again = AssemblyAI(KEY)
    assert apply_options(again, record)
    for message in (ended("we have two"), ended("We have two.", turn_is_formatted=True)):
        text = json.dumps(message)
        assert again.decode(text, 1.0, 0.0) == dialect.decode(text, 1.0, 0.0)
    with pytest.raises(ValueError, match="assemblyai has no option key"):
        apply_options(again, {"type": "Options", "key": "x"})


@pytest.mark.parametrize(
    "options",
    [
        {"speech_model": 5},
        {"speech_model": None},
        {"own_turns": "no"},
        {"own_turns": None},
        {"format_turns": {}},
        {"own_turns": False, "eager_threshold": "x"},
        {"own_turns": False, "eager_threshold": [1]},
        {"own_turns": False, "eager_threshold": 9e99},
    ],
    ids=str,
)
def test_a_trace_s_options_are_checked_as_one_s_own(options: dict[str, Any]) -> None:
    again = AssemblyAI(KEY)
    with pytest.raises(ValueError, match=f"^AssemblyAI: {list(options)[-1]} must be "):
        apply_options(again, {"type": "Options", **options})
    assert options_record(again) is None, "nothing is set"


def test_the_name_of_an_unknown_option_is_cut() -> None:
    with pytest.raises(ValueError, match=r"has no option x{37}\.\.\. that"):
        apply_options(AssemblyAI(KEY), {"type": "Options", "x" * 1000: 1})


@pytest.mark.parametrize(
    "option",
    ["min_turn_silence", "max_turn_silence", "vad_threshold", "eager_threshold", "end_of_turn_confidence_threshold"],
)
def test_numbers_beyond_all_bounds(option: str) -> None:
    for huge in (10**400, 10**5000):
        options: dict[str, Any] = {option: huge}
        with pytest.raises(UsageError, match=f"{option} must be"):
            AssemblyAI(KEY, own_turns=False, **options)


def test_speakers_of_words() -> None:
    assert query(speaker_labels=True)["speaker_labels"] == ["true"]
    message = ended("yes no please")
    for word, label in zip(message["words"], ("A", "UNKNOWN", None), strict=True):
        word["speaker"] = label
    (result,) = signals(message, speaker_labels=True)
    assert [word.speaker for word in result.words] == ["A", None, None]
