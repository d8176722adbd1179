"""OpenAI's realtime dialect on messages in the shapes of its documents (texts are our own)."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.testing import check_dialect
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, StreamFinished
from hearout.transcribers.hearing import Hearing
from hearout.transcribers.openai_realtime import OpenAIRealtime
from hearout_policies.signals import Transcript
from hearout_policies.words import join

KEY = "sk-openai-secret-key"
SOUND = "conversation.item.input_audio_transcription"


def committed(item: str) -> dict[str, Any]:
    return {"type": "input_audio_buffer.committed", "event_id": "e", "item_id": item, "previous_item_id": None}


def delta(item: str, text: str) -> dict[str, Any]:
    return {"type": f"{SOUND}.delta", "event_id": "e", "item_id": item, "content_index": 0, "delta": text}


def completed(item: str, text: str) -> dict[str, Any]:
    return {"type": f"{SOUND}.completed", "event_id": "e", "item_id": item, "content_index": 0, "transcript": text}


def failed(item: str) -> dict[str, Any]:
    error = {"type": "transcription_error", "code": "audio_unintelligible", "message": "The audio could not be read."}
    return {"type": f"{SOUND}.failed", "event_id": "e", "item_id": item, "content_index": 0, "error": error}


def error(code: str | None, message: str = "no") -> dict[str, Any]:
    details = {"type": "invalid_request_error", "code": code, "message": message}
    return {"type": "error", "event_id": "e", "error": details}


def decode(*messages: Any, **options: Any) -> list[Any]:
    dialect = OpenAIRealtime(KEY, sample_rate=24000, **options)
    dialect.opening()
    texts = [m if isinstance(m, (str, bytes)) else json.dumps(m) for m in messages]
    return [item for text in texts for item in dialect.decode(text, 7.5, 0.0)]


def heard(*messages: Any) -> list[tuple[str, bool]]:
    """Texts, and whether they are final."""
    results = [item.signal for item in decode(*messages) if isinstance(item, Heard)]
    return [(join(one.words), one.is_final) for one in results if isinstance(one, Transcript)]


def session(**options: Any) -> dict[str, Any]:
    (text,) = OpenAIRealtime(KEY, **options).opening()
    message = json.loads(text)
    assert message["type"] == "session.update"
    return dict(message["session"])


def test_the_session_it_asks_for() -> None:
    assert session() == {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-live-transcribe"},
                "turn_detection": None,
            }
        },
    }
    got = session(
        languages=("en", "es"),
        keywords=["Quist"],
        prompt="A telephone call.",
        noise_reduction="far_field",
        wire_rate=16000,
        extra={"include": ["item.input_audio_transcription.logprobs"]},
    )
    assert got["include"] == ["item.input_audio_transcription.logprobs"]
    sound = got["audio"]["input"]
    assert sound["format"]["rate"] == 16000
    assert sound["noise_reduction"] == {"type": "far_field"}
    assert sound["transcription"] == {
        "model": "gpt-live-transcribe",
        "languages": ["en", "es"],
        "keywords": ["Quist"],
        "prompt": "A telephone call.",
    }


def test_the_older_session_which_nim_kept() -> None:
    dialect = OpenAIRealtime(KEY, "ws://localhost:9000/v1/realtime?intent=transcription", older=True, wire_rate=16000)
    (text,) = dialect.opening()
    assert json.loads(str(text)) == {
        "type": "transcription_session.update",
        "session": {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gpt-live-transcribe"},
            "input_audio_params": {"sample_rate_hz": 16000, "num_channels": 1},
        },
    }


def test_messages_to_the_service() -> None:
    dialect = OpenAIRealtime(KEY, sample_rate=24000)
    dialect.opening()
    assert dialect.address() == "wss://api.openai.com/v1/realtime?intent=transcription"
    assert dialect.headers() == [("Authorization", f"Bearer {KEY}")]
    assert OpenAIRealtime(KEY, auth="api-key").headers() == [("api-key", KEY)]
    assert json.loads(str(dialect.audio(b"\1\0"))) == {"type": "input_audio_buffer.append", "audio": "AQA="}
    assert dialect.finalize() == dialect.closing() == '{"type":"input_audio_buffer.commit"}'
    assert dialect.longest == 3600.0
    assert KEY not in repr(dialect)


def test_audio_comes_at_the_rate_of_the_wire() -> None:
    dialect = OpenAIRealtime(KEY, sample_rate=16000)
    dialect.opening()
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype("<i2")
    sent = b"".join(
        base64.b64decode(json.loads(str(dialect.audio(tone[at : at + 1600].tobytes())))["audio"])
        for at in range(0, len(tone), 1600)
    )
    samples = np.frombuffer(sent, "<i2")
    assert abs(len(samples) - 24000) < 24, "what a resampler holds back"
    spectrum = np.abs(np.fft.rfft(samples[:23000].astype(float) * np.hanning(23000)))
    assert np.argmax(spectrum) * 24000 / 23000 == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": " "}, "OpenAI: the key is empty or not plain text; set OPENAI_API_KEY"),
        ({"auth": "token"}, 'OpenAI: auth must be "bearer" or "api-key", not \'token\''),
        ({"sample_rate": 4000}, "OpenAI: sample_rate must be 8000 to 48000, not 4000"),
        ({"wire_rate": 96000}, "OpenAI: wire_rate must be 8000 to 48000, not 96000"),
        ({"channels": 2}, "OpenAI: it transcribes one channel; open a session for each channel"),
        ({"noise_reduction": "much"}, 'OpenAI: noise_reduction is "near_field" or "far_field", not \'much\''),
        (
            {"model": "whisper-1", "keywords": ["x"]},
            "keywords are for gpt-transcribe and gpt-live-transcribe, not whisper-1",
        ),
        ({"language": "en", "languages": ["en"]}, "OpenAI: give language or languages, not both"),
        ({"extra": {"audio": {}}}, "OpenAI: extra must not set audio; its fields are options of their own"),
        ({"extra": {"x": object()}}, "OpenAI: extra must be what JSON can hold"),
        ({"keywords": "Quist"}, "OpenAI: keywords must be of type Sequence[str]"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as failure:
        OpenAIRealtime(**({"key": KEY} | options))
    assert says in str(failure.value)
    assert "\n" not in str(failure.value)


# What it says


def test_a_commit_is_answered_with_the_text_of_its_item() -> None:
    news = decode(committed("a"), delta("a", "We have"), completed("a", "We have two."))
    assert isinstance(news[-1], StreamFinished), "nothing is open: the end, if it was asked for"
    interim, final = (item.signal for item in news[:-1])
    assert (join(interim.words), interim.is_final) == ("We have", False)
    assert (join(final.words), final.is_final, final.finalized) == ("We have two.", True, True)
    assert not final.timed


def test_deltas_come_before_the_commit_at_a_live_model() -> None:
    assert heard(delta("a", "We"), delta("a", " have"), committed("a"), completed("a", "We have two.")) == [
        ("We", False),
        ("We have", False),
        ("We have two.", True),
    ]


def test_a_text_that_is_later_than_the_next_commit() -> None:
    """Final results come in the order of the commits, whichever item is done first."""
    messages = [committed("a"), committed("b"), delta("b", "please"), completed("b", "please."), completed("a", "Two")]
    assert heard(*messages) == [("please", False), ("Two", True), ("please.", True)]


def test_an_item_that_is_told_twice_is_said_once() -> None:
    again = [committed("a"), delta("a", "Two"), completed("a", "Two."), failed("a")]
    assert heard(committed("a"), completed("a", "Two."), *again) == [("Two.", True)]
    news = decode(committed("a"), completed("a", "Two."), committed("b"), *again)
    assert not any(isinstance(item, StreamFinished) for item in news[2:]), "b is open"
    waiting = [
        committed("a"),
        committed("b"),
        completed("b", "please."),
        completed("b", "please."),
        completed("a", "Two"),
    ]
    assert heard(*waiting) == [("Two", True), ("please.", True)]


def test_items_without_a_name_are_not_taken_for_one() -> None:
    messages = [m | {"item_id": None} for m in (completed("a", "one"), completed("b", "two"))]
    assert heard(*messages) == [("one", True), ("two", True)]


def test_an_item_whose_text_never_comes_holds_up_no_more_than_sixteen() -> None:
    messages = [committed("lost"), delta("lost", "as far as"), *(committed(f"i{n}") for n in range(15))]
    messages += [completed(f"i{n}", f"w{n}") for n in range(15)]
    assert not any(is_final for _, is_final in heard(*messages))
    finals = [text for text, is_final in heard(*messages, committed("next"), completed("next", "end")) if is_final]
    assert finals == ["as far as", *(f"w{n}" for n in range(15)), "end"]


def test_deltas_of_an_item_that_is_never_committed_hold_up_nothing() -> None:
    assert ("yes", True) in heard(delta("odd", ""), committed("a"), completed("a", "yes"))


def test_an_item_that_fails_is_an_answer_and_a_warning() -> None:
    news = decode(committed("a"), failed("a"))
    assert news[0] == ProviderFailed("audio_unintelligible: The audio could not be read.", permanent=False)
    assert news[1].signal.finalized
    assert news[1].signal.words == ()


def test_an_empty_commit_is_an_answer() -> None:
    (answer, finished) = decode(error("input_audio_buffer_commit_empty"))
    assert (answer.signal.words, answer.signal.is_final, answer.signal.finalized) == ((), True, True)
    assert finished == StreamFinished()
    (answer,) = decode(committed("a"), error("input_audio_buffer_commit_empty"))
    assert isinstance(answer, Heard), "an item is open: that is not the end"


@pytest.mark.parametrize("details", ["The server is gone.", ["gone"], 7, {"code": ["gone"]}])
def test_an_error_in_another_shape_is_one(details: Any) -> None:
    (failure,) = decode({"type": "error", "error": details})
    assert isinstance(failure, ProviderFailed)
    assert not failure.permanent
    assert str(details) in failure.detail or "gone" in failure.detail


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        ("invalid_api_key", True),
        ("insufficient_quota", True),
        ("model_not_found", True),
        ("session_expired", False),
        ("rate_limit_exceeded", False),
        (None, False),
    ],
)
def test_errors(code: str | None, permanent: bool) -> None:
    (failure,) = decode(error(code, "It is so."))
    assert failure == ProviderFailed(f"{code or 'invalid_request_error'}: It is so.", permanent=permanent)


def test_unknown_messages_are_counted() -> None:
    dialect = OpenAIRealtime(KEY, sample_rate=24000)
    for message in ('{"type": "response.created"}', "{}"):
        assert list(dialect.decode(message, 1.0, 0.0)) == []
    assert dialect.ignored == 2
    for kind in ("session.created", "session.updated", "conversation.item.added", "input_audio_buffer.cleared"):
        assert list(dialect.decode(json.dumps({"type": kind}), 1.0, 0.0)) == []
    assert dialect.ignored == 2


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        '{"type": 1}',
        f'{{"type": "{SOUND}.delta", "item_id": 3}}',
        f'{{"type": "{SOUND}.completed", "transcript": 3}}',
    ],
)
def test_messages_that_are_none(message: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(message)


@given(st.permutations(range(5)), st.integers(0, 5))
def test_every_item_is_final_once_and_in_order(order: list[int], early: int) -> None:
    """Whenever their texts come, and whether or not deltas do."""
    items = [f"i{number}" for number in range(5)]
    messages = [committed(item) for item in items]
    messages += [delta(items[number], "x") for number in order[:early]]
    messages += [completed(items[number], f"w{number}") for number in order]
    finals = [text for text, is_final in heard(*messages) if is_final]
    assert finals == [f"w{number}" for number in range(5)]


def test_words_lie_behind_each_other() -> None:
    """They have no times; two results that come at once are not about the same audio."""
    hearing = Hearing(OpenAIRealtime(KEY, sample_rate=24000))
    hearing.begin(0.0)
    for message in (committed("a"), committed("b")):
        hearing.hear(json.dumps(message), 3.0, 3.0)
    hearing.hear(json.dumps(completed("b", "five six")), 3.4, 3.4)
    news = hearing.hear(json.dumps(completed("a", "one two three four")), 3.5, 3.5)
    results = [item.signal for item in news if isinstance(item, Heard)]
    words = [word for one in results if isinstance(one, Transcript) for word in one.words]
    assert [word.text for word in words] == ["one", "two", "three", "four", "five", "six"]
    starts = [word.start for word in words]
    assert starts == sorted(starts)
    assert words[0].start >= 0.0
    assert words[-1].end <= 3.5


def test_conforms() -> None:
    def make() -> Dialect:
        return OpenAIRealtime(KEY, sample_rate=24000)

    check_dialect(
        make,
        [
            {"type": "session.created", "session": {"id": "s"}},
            delta("a", "We"),
            committed("a"),
            delta("a", " have"),
            committed("b"),
            completed("b", "Please."),
            completed("a", "We have two."),
            error("input_audio_buffer_commit_empty"),
            error("session_expired"),
            failed("c"),
        ],
    )
