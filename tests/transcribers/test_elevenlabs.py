"""The ElevenLabs dialect on messages in the shapes of its documents (texts are our own)."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.testing import check_dialect
from hearout.transcribers.base import Heard, ProviderFailed, StreamFinished
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout_policies.signals import Transcript, Word
from hearout_policies.words import join

KEY = "xi-secret-key"
STARTED = {"message_type": "session_started", "session_id": "0b6f", "config": {"model_id": "scribe_v2_realtime"}}


def query(**options: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(ElevenLabs(KEY, **options).address()).query)


def partial(text: str) -> dict[str, Any]:
    return {"message_type": "partial_transcript", "text": text}


def committed(text: str) -> dict[str, Any]:
    return {"message_type": "committed_transcript", "text": text}


def timed(text: str, start: float = 1.0) -> dict[str, Any]:
    """A word every half second from ``start`` on, and the blanks in between."""
    words: list[dict[str, Any]] = []
    for n, word in enumerate(text.split()):
        begin = start + 0.5 * n
        if n:
            words.append({"text": " ", "start": begin - 0.1, "end": begin, "type": "spacing", "logprob": 0.0})
        words.append({"text": word, "start": begin, "end": begin + 0.4, "type": "word", "logprob": -0.1})
    return {
        "message_type": "committed_transcript_with_timestamps",
        "text": text,
        "language_code": "eng",
        "words": words,
    }


def both(text: str, start: float = 1.0) -> list[dict[str, Any]]:
    return [committed(text), timed(text, start)]


def decode(*messages: Any, offset: float = 0.0, dialect: ElevenLabs | None = None) -> list[Any]:
    if dialect is None:
        dialect = ElevenLabs(KEY)
        dialect.opening()
    texts = [m if isinstance(m, (str, bytes)) else json.dumps(m) for m in messages]
    return [item for text in texts for item in dialect.decode(text, 7.5, offset)]


def signals(*messages: Any, offset: float = 0.0) -> list[Any]:
    news = decode(*messages, offset=offset)
    assert all(isinstance(item, Heard) for item in news)
    return [item.signal for item in news]


def finals(heard: list[Any]) -> list[str]:
    return [join(one.words) for one in heard if isinstance(one, Transcript) and one.is_final]


# The connection


def test_defaults() -> None:
    assert query() == {
        "model_id": ["scribe_v2_realtime"],
        "audio_format": ["pcm_16000"],
        "commit_strategy": ["manual"],
        "include_timestamps": ["true"],
    }
    assert ElevenLabs(KEY).address().startswith("wss://api.elevenlabs.io/v1/speech-to-text/realtime?")


def test_all_kinds_of_options() -> None:
    assert query(
        sample_rate=8000,
        language_code="en",
        secondary_languages=("es", "deu"),
        keyterms=["Quist", "Ænima now"],
        no_verbatim=True,
        enable_logging=False,
        extra={"include_language_detection": "true"},
    ) == {
        "model_id": ["scribe_v2_realtime"],
        "audio_format": ["pcm_8000"],
        "commit_strategy": ["manual"],
        "include_timestamps": ["true"],
        "language_code": ["en"],
        "secondary_languages": ["es", "deu"],
        "keyterms": ["Quist", "Ænima now"],
        "no_verbatim": ["true"],
        "enable_logging": ["false"],
        "include_language_detection": ["true"],
    }


def test_messages_to_the_service() -> None:
    dialect = ElevenLabs(KEY)
    assert dialect.headers() == [("xi-api-key", KEY)]
    assert list(dialect.opening()) == []
    chunk = {"message_type": "input_audio_chunk", "audio_base_64": "", "commit": False, "sample_rate": 16000}
    assert json.loads(dialect.audio(b"\1\0")) == chunk | {"audio_base_64": base64.b64encode(b"\1\0").decode()}
    assert json.loads(dialect.keepalive()) == chunk
    assert json.loads(dialect.finalize()) == json.loads(dialect.closing()) == chunk | {"commit": True}
    assert KEY not in repr(dialect)


def test_what_was_said_before_goes_with_the_first_chunk() -> None:
    (first,) = ElevenLabs(KEY, previous_text="Your name?").opening()
    assert json.loads(first) == {
        "message_type": "input_audio_chunk",
        "audio_base_64": "",
        "commit": False,
        "sample_rate": 16000,
        "previous_text": "Your name?",
    }


def test_numbers_that_have_a_source() -> None:
    assert ElevenLabs.least_segment == 0.3, "the error says: at least 0.3s of uncommitted audio"
    assert ElevenLabs.finalize_after == 0.2, "Pipecat commits when its VAD has heard 0.2 s of silence"
    assert ElevenLabs(KEY).keepalive_after == 5.0, "well before the 15 s after which it hangs up"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": ""}, "ElevenLabs: the key is empty or not plain text; set ELEVENLABS_API_KEY"),
        ({"url": "https://api.elevenlabs.io"}, "must be ws://HOST/... or wss://HOST/..."),
        ({"sample_rate": 11025}, "sample_rate must be 8000, 16000, 22050, 24000, 44100, 48000; not 11025"),
        ({"channels": 2}, "ElevenLabs: it transcribes one channel; open a session for each channel"),
        ({"language_code": "en-US"}, "languages are codes such as en or deu, no regions; not 'en-US'"),
        ({"secondary_languages": ["German"]}, "no regions; not 'German'"),
        ({"keyterms": "Quist"}, "ElevenLabs: keyterms must be of type Sequence[str]"),
        ({"keyterms": ["x"] * 51}, "ElevenLabs: keyterms has 51 of them; 50 at most"),
        ({"keyterms": ["x" * 21]}, "ElevenLabs: keyterms are 20 characters at most; not 'xxx"),
        ({"model_id": ""}, "ElevenLabs: model_id must not be empty"),
        ({"extra": {"model_id": "x"}}, "ElevenLabs: extra must not set 'model_id'; it is an option of its own"),
        ({"extra": {"commit_strategy": "vad"}}, "extra must not set 'commit_strategy'; hearout sees to that"),
        ({"extra": {"filter_background_audio": "true"}}, "extra must not set 'filter_background_audio'"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as failure:
        ElevenLabs(**({"key": KEY} | options))
    assert says in str(failure.value)
    assert "\n" not in str(failure.value)


# What it says


def test_a_commit_is_told_twice_and_counts_once() -> None:
    heard = signals(STARTED, partial("we have"), *both("We have two."))
    assert finals(heard) == ["We have two."]
    assert [join(one.words) for one in heard] == ["we have", "We have two.", "We have two."]
    words = (Word("We", 1.0, 1.4), Word("have", 1.5, 1.9), Word("two.", 2.0, 2.4))
    assert heard[-1] == Transcript(7.5, words, 0.0, 2.4, is_final=True, finalized=True)


def test_what_has_no_times_lies_at_a_point_behind_the_final_words() -> None:
    *_, interim = signals(*both("yes"), partial("and no"))
    assert interim == Transcript(
        7.5, (Word("and", 1.4, 1.4), Word("no", 1.4, 1.4)), 1.4, 1.4, is_final=False, timed=False
    )


def test_an_empty_commit_is_answered_at_once() -> None:
    answer = Transcript(7.5, (), 1.4, 1.4, is_final=True, finalized=True)
    assert signals(*both("yes"), committed(""))[2:] == [answer]
    assert signals(*both("yes"), *both(""))[2:] == [answer]


@pytest.mark.parametrize("kind", ["commit_throttled", "insufficient_audio_activity"])
def test_a_commit_with_nothing_in_it_is_answered_and_no_failure(kind: str) -> None:
    error = {"message_type": kind, "error": "You need at least 0.3s of uncommitted audio before committing."}
    assert signals(*both("yes"), error)[2:] == [Transcript(7.5, (), 1.4, 1.4, is_final=True, finalized=True)]


def test_the_echo_of_a_commit_is_no_news() -> None:
    heard = signals(partial("Yes."), committed("Yes."), partial("Yes."), timed("Yes."), partial("Yes."))
    assert [(join(one.words), one.is_final) for one in heard] == [("Yes.", False), ("Yes.", True), ("Yes.", False)]


def test_a_partial_result_that_says_nothing_new_is_none() -> None:
    assert len(signals(partial("we"), partial("we"), partial(""), partial("we have"), partial("we"))) == 3


def test_what_comes_before_the_times_of_a_commit_keeps_its_text() -> None:
    heard = signals(committed("We have two."), partial("and"), timed("We have two."), partial("and three"))
    assert [join(one.words) for one in heard] == ["We have two.", "We have two. and", "We have two.", "and three"]


def test_times_may_come_after_the_next_commit() -> None:
    heard = signals(committed("one"), committed("two"), committed(""), timed("one", 1.0), timed("two", 2.0))
    assert finals(heard) == ["one", "two", ""]
    assert [one.finalized for one in heard if one.is_final] == [True, True, True]


def test_without_times_the_text_stands_once_the_next_has_them() -> None:
    heard = signals(committed("one"), committed("two"), timed("two", 2.0))
    assert finals(heard) == ["one", "two"]
    one, two = (result for result in heard if result.is_final)
    assert (one.timed, one.start, one.end) == (False, 0.0, 0.0)
    assert (two.timed, two.end) == (True, 2.4)


def test_times_that_come_before_their_text_count_once() -> None:
    heard = signals(timed("Yes."), committed("Yes."), partial("Yes."), partial("and"), *both("No.", 3.0))
    assert [(join(one.words), one.is_final) for one in heard] == [
        ("Yes.", True),
        ("and", False),
        ("No.", False),
        ("No.", True),
    ]
    assert finals(signals(committed("one"), timed("two", 2.0), committed("two"))) == ["one", "two"]
    assert finals(signals(*both("yes", 1.0), *both("yes", 3.0))) == ["yes", "yes"], "said twice, not told twice"


def test_times_that_are_told_twice_count_once() -> None:
    heard = signals(*both("one"), timed("one"), *both("two", 3.0), timed("two", 3.0))
    assert finals(heard) == ["one", "two"]


@pytest.mark.parametrize("words", [None, []])
def test_times_that_are_missing(words: Any) -> None:
    for messages in ([committed("yes"), timed("yes") | {"words": words}], [timed("yes") | {"words": words}]):
        *_, result = signals(*messages)
        assert (join(result.words), result.is_final, result.finalized, result.timed) == ("yes", True, True, False)


def test_words_that_are_written_together() -> None:
    words = [
        {"text": "東", "start": 0.0, "end": 0.1, "type": "word"},
        {"text": "京", "start": 0.1, "end": 0.2, "type": "word"},
    ]
    (result,) = signals(timed("東京") | {"words": words})
    assert join(result.words) == "東京"


def test_offset_moves_every_time() -> None:
    (*_, result) = signals(*both("yes"), offset=10.0)
    assert result == Transcript(7.5, (Word("yes", 11.0, 11.4),), 10.0, 11.4, is_final=True, finalized=True)


def test_the_last_answer_ends_it() -> None:
    dialect = ElevenLabs(KEY)
    dialect.opening()
    dialect.finalize()
    dialect.closing()
    assert finals([one.signal for one in decode(*both("one"), dialect=dialect)]) == ["one"]
    *_, last = decode(*both("two", 3.0), dialect=dialect)
    assert last == StreamFinished()


@pytest.mark.parametrize("answer", [committed(""), {"message_type": "commit_throttled", "error": "x"}])
def test_the_last_answer_may_be_empty(answer: dict[str, Any]) -> None:
    dialect = ElevenLabs(KEY)
    dialect.opening()
    dialect.closing()
    *_, last = decode(answer, dialect=dialect)
    assert last == StreamFinished()


def test_a_new_connection_begins_anew() -> None:
    dialect = ElevenLabs(KEY)
    for _ in range(2):
        dialect.opening()
        interim, final = (one.signal for one in decode(partial("two"), *both("two", 3.0), dialect=dialect, offset=5.0))
        assert (interim.start, final.start) == (5.0, 5.0)
        decode(committed("three"), partial("four"), dialect=dialect)
        dialect.closing()


def test_the_language_that_it_hears() -> None:
    assert ElevenLabs(KEY).language is None
    assert ElevenLabs(KEY, language_code="de").language == "de"
    assert ElevenLabs(KEY, language_code="de", secondary_languages=["en"]).language == "multi"


# Errors and messages that mean nothing


@pytest.mark.parametrize(
    ("kind", "permanent"),
    [
        ("auth_error", True),
        ("quota_exceeded", True),
        ("unaccepted_terms", True),
        ("input_error", True),
        ("invalid_request", True),
        ("error", False),
        ("rate_limited", False),
        ("queue_overflow", False),
        ("resource_exhausted", False),
        ("session_time_limit_exceeded", False),
        ("chunk_size_exceeded", False),
        ("transcriber_error", False),
        ("new_error", False),
    ],
)
def test_errors(kind: str, permanent: bool) -> None:
    (failed,) = decode({"message_type": kind, "error": "what it is"})
    assert failed == ProviderFailed(f"{kind}: what it is", permanent)


def test_errors_without_a_text() -> None:
    (failed,) = decode({"message_type": "auth_error"})
    assert failed == ProviderFailed("auth_error: no details", permanent=True)
    (failed,) = decode({"message_type": "transcriber_error", "error": None})
    assert failed == ProviderFailed("transcriber_error: no details", permanent=False)


def test_a_warning_is_told() -> None:
    (warned,) = decode({"message_type": "warning", "warning": "zero retention was not applied"})
    assert warned == ProviderFailed("warning: zero retention was not applied", permanent=False)


def test_unknown_messages_are_counted() -> None:
    dialect = ElevenLabs(KEY)
    assert decode({"message_type": "edited_transcript", "text": "x"}, "{}", dialect=dialect) == []
    assert dialect.ignored == 2
    assert decode(STARTED, dialect=dialect) == []
    assert dialect.ignored == 2


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        '{"message_type": 1}',
        '{"message_type": "partial_transcript", "text": 7}',
        json.dumps(committed("") | {"text": ["no"]}),
        json.dumps(timed("yes") | {"words": {}}),
        json.dumps(timed("yes") | {"words": ["yes"]}),
        json.dumps(timed("yes") | {"words": [{"text": "yes"}]}),
        json.dumps(timed("yes") | {"words": [{"text": "yes", "start": 3, "end": 1}]}),
        json.dumps(timed("yes") | {"words": [{"text": "yes", "start": 1, "end": 2, "type": 5}]}),
    ],
)
def test_messages_that_are_none(message: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(message)


def test_a_result_that_cannot_be_read_takes_no_words_along() -> None:
    dialect = ElevenLabs(KEY)
    dialect.opening()
    decode(committed("one"), dialect=dialect)
    with pytest.raises(ValueError, match="words"):
        decode(timed("one") | {"words": 7}, dialect=dialect)
    assert finals([one.signal for one in decode(*both("two", 3.0), dialect=dialect)]) == ["one", "two"]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()), max_size=12), st.booleans())
def test_every_word_is_final_once_and_every_commit_answered(
    commits: list[tuple[int, bool, bool, bool]],
    early: bool,
) -> None:
    """Whether or not there are partial results, echoes and times, or these come late or first."""
    messages: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    said: list[str] = []
    for number, (count, interim, has_times, in_time) in enumerate(commits):
        words = [f"w{number}x{n}" for n in range(count)]
        said += words
        text = " ".join(words)
        if interim and text:
            messages.append(partial(words[0]))
        if early and has_times and text:
            messages.append(timed(text, 2.0 * number))
        messages.append(committed(text))
        if interim and text:
            messages.append(partial(text))
        if has_times and text and not early:
            late.append(timed(text, 2.0 * number))
        if in_time:
            messages += late
            late = []
    messages += [*late, *both("end", 100.0)]
    heard = signals(*messages)
    answers = [one for one in heard if one.is_final]
    assert " ".join(text for text in finals(heard) if text).split() == [*said, "end"]
    assert len(answers) == len(commits) + 1
    assert all(answer.finalized for answer in answers)
    ends = [one.end for one in answers]
    assert ends == sorted(ends)


@pytest.mark.parametrize("options", [{}, {"sample_rate": 8000, "previous_text": "Yes?"}], ids=str)
def test_conforms(options: dict[str, Any]) -> None:
    check_dialect(
        lambda: ElevenLabs(KEY, **options),
        [
            STARTED,
            partial("we have"),
            *both("We have two."),
            partial("We have two."),
            committed("yes"),
            partial("and"),
            timed("yes", 4.0),
            committed(""),
            {"message_type": "transcriber_error", "error": "odd"},
            {"message_type": "commit_throttled", "error": "odd"},
        ],
    )
