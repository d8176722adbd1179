"""The Deepgram dialect on messages in the shapes that were captured from the live service (texts are our own)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hearout.errors import UsageError
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, StreamFinished
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.signals import ProviderSpeechStarted, Transcript, UtteranceEnd, Word

KEY = "dg-secret-key"


def query(**options: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(Deepgram(KEY, **options).address()).query)


def results(
    words: list[tuple[str, float, float]] | None = None, start: float = 0.0, duration: Any = 1.0, **flags: Any
) -> dict[str, Any]:
    """A Results message with every key the service sends, in its order; ``flags`` replace or add keys."""
    items = [
        {"word": w.strip(".,?").lower(), "start": s, "end": e, "confidence": 0.98, "punctuated_word": w}
        for w, s, e in words or []
    ]
    message: dict[str, Any] = {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": duration,
        "start": start,
        "is_final": False,
        "speech_final": False,
        "channel": {
            "alternatives": [{"transcript": " ".join(w for w, _, _ in words or []), "confidence": 0.98, "words": items}]
        },
        "metadata": {
            "request_id": "0b6f4c2e-0000-4000-8000-000000000000",
            "model_info": {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"},
            "model_uuid": "7d1e7a52-0000-4000-8000-000000000000",
        },
        "from_finalize": False,
    }
    return message | flags


def decode(message: Any, *, offset: float = 0.0, channels: int = 1) -> list[Any]:
    text = message if isinstance(message, (str, bytes)) else json.dumps(message)
    return list(Deepgram(KEY, channels=channels).decode(text, 7.5, offset))


def transcript(message: Any, *, offset: float = 0.0, channels: int = 1) -> Transcript:
    (news,) = decode(message, offset=offset, channels=channels)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    return news.signal


# The connection


def test_defaults_for_voicebots() -> None:
    assert query() == {
        "model": ["nova-3"],
        "interim_results": ["true"],
        "endpointing": ["300"],
        "utterance_end_ms": ["1000"],
        "vad_events": ["true"],
        "punctuate": ["true"],
        "encoding": ["linear16"],
        "sample_rate": ["16000"],
        "channels": ["1"],
    }


def test_all_kinds_of_options() -> None:
    sent = query(
        sample_rate=8000,
        channels=2,
        model="nova-2-phonecall",
        language="de",
        endpointing_ms=None,
        interim_results=False,
        utterance_end_ms=None,
        smart_format=True,
        keywords=["Quist:2", "Ænima"],
        redact=("pci", "ssn"),
        extra={"new_thing": "1", "extra": ["call:7", "leg:b"]},
    )
    assert sent["multichannel"] == ["true"]
    assert sent["endpointing"] == ["false"]
    assert sent["keywords"] == ["Quist:2", "Ænima"]
    assert sent["redact"] == ["pci", "ssn"]
    assert sent["new_thing"] == ["1"]
    assert sent["extra"] == ["call:7", "leg:b"]
    assert not {"interim_results", "utterance_end_ms", "key", "auth", "url"} & sent.keys()


def test_address_keeps_what_the_url_has() -> None:
    address = Deepgram(KEY, "ws://127.0.0.1:8765/v1/listen?mode=test").address()
    assert address.startswith("ws://127.0.0.1:8765/v1/listen?mode=test&model=nova-3&")


def test_the_key_is_in_the_header_only() -> None:
    dialect: Dialect = Deepgram(KEY)
    assert dialect.headers() == [("Authorization", f"Token {KEY}")]
    assert Deepgram(KEY, auth="bearer").headers() == [("Authorization", f"Bearer {KEY}")]
    assert KEY not in repr(dialect) + str(dialect) + dialect.address()


def test_messages_to_the_service() -> None:
    one, two = Deepgram(KEY), Deepgram(KEY, channels=2)
    assert one.audio(b"\1\2") == b"\1\2"
    assert json.loads(one.finalize()) == json.loads(one.finalize(0)) == {"type": "Finalize"}
    assert json.loads(two.finalize(1)) == {"type": "Finalize", "channel": 1}
    assert json.loads(two.finalize()) == {"type": "Finalize"}
    assert json.loads(one.keepalive()) == {"type": "KeepAlive"}
    assert json.loads(one.closing()) == {"type": "CloseStream"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": ""}, "set DEEPGRAM_API_KEY"),
        ({"key": "sécret"}, "not plain text"),
        ({"key": "Token a"}, "not plain text"),
        ({"key": None}, "not plain text"),
        ({"url": "https://api.deepgram.com"}, "must be ws://HOST"),
        ({"url": "ws://"}, "must be ws://HOST"),
        ({"url": "ws://host:port/"}, "must be ws://HOST"),
        ({"url": "wss://me:pass@host/"}, "no name or password"),
        ({"sample_rate": 100}, "sample_rate must be 8000 to 192000, not 100"),
        ({"channels": 21}, "channels must be 1 to 20"),
        ({"channels": True}, "channels must be of type int"),
        ({"endpointing_ms": 0}, "endpointing_ms must be 1 to 60000"),
        ({"endpointing_ms": 0.3}, "endpointing_ms must be of type int"),
        ({"utterance_end_ms": 500}, "utterance_end_ms must be 1000 to 5000"),
        ({"interim_results": False}, "utterance_end_ms needs interim_results"),
        ({"punctuate": "yes"}, "punctuate must be of type bool"),
        ({"keyterm": "word"}, "keyterm must be of type Sequence"),
        ({"keywords": ["word"]}, "use keyterm"),
        ({"keyterm": ["word"], "model": "nova-2"}, "use keywords"),
        ({"auth": "basic"}, "auth must be"),
        ({"extra": {"endpointing": "10"}}, "extra must not set 'endpointing'"),
        ({"extra": {"model": "x"}}, "extra must not set 'model'"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as info:
        Deepgram(**({"key": KEY} | options))
    assert says in str(info.value)
    assert KEY not in str(info.value)
    assert "sécret" not in str(info.value)
    assert "pass@" not in str(info.value)


# What it hears


def test_an_interim_that_shrinks_then_a_turn_of_two_segments() -> None:
    captured = [
        results([("I", 2.3, 2.46), ("saw", 2.46, 2.7), ("forty", 2.7, 3.02)], 2.3),
        results([("Saw", 2.38, 2.7), ("forty", 2.7, 3.02), ("ships", 3.1, 3.5)], 2.3, 2.0),
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.9},
        results([("Saw", 2.38, 2.7), ("forty", 2.7, 3.02), ("ships", 3.1, 3.6)], 2.3, 4.76, is_final=True),
        results([("at", 7.1, 7.3), ("sea.", 7.3, 7.7)], 7.06, 2.68, is_final=True, speech_final=True),
    ]
    news = [item for message in captured for item in decode(message)]
    signals = [item.signal for item in news]
    assert [[w.text for w in s.words] if isinstance(s, Transcript) else s for s in signals] == [
        ["I", "saw", "forty"],
        ["Saw", "forty", "ships"],
        UtteranceEnd(7.5, 1.9),
        ["Saw", "forty", "ships"],
        ["at", "sea."],
    ]
    assert [(s.is_final, s.endpoint) for s in signals if isinstance(s, Transcript)] == [
        (False, False),
        (False, False),
        (True, False),
        (True, True),
    ]
    assert signals[3].end == pytest.approx(7.06)


def test_offset_moves_every_time() -> None:
    message = results([("Yes.", 0.4, 0.8)], 0.3, 1.1, is_final=True)
    assert transcript(message, offset=10.0) == Transcript(
        at=7.5, words=(Word("Yes.", 10.4, 10.8),), start=10.3, end=11.4, is_final=True
    )
    assert decode({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.5}, offset=10.0) == [
        Heard(0, UtteranceEnd(7.5, 12.5))
    ]
    assert decode({"type": "SpeechStarted", "channel": [0, 1], "timestamp": 1.73}, offset=10.0) == [
        Heard(0, ProviderSpeechStarted(7.5, 11.73))
    ]


def test_answers_to_finalize() -> None:
    # Without endpointing the key speech_final is missing; older models send it false, newer ones true.
    absent = results([("No.", 0.0, 0.4)], 0.0, 0.629625, is_final=True, from_finalize=True)
    del absent["speech_final"]
    assert transcript(absent).finalized
    assert not transcript(absent).endpoint
    both = transcript(results([], 3.0, 0.5, is_final=True, from_finalize=True, speech_final=True))
    assert (both.words, both.finalized, both.endpoint) == ((), True, True)


def test_flags_without_is_final_mean_nothing() -> None:
    heard = transcript(results([("Hm.", 0.1, 0.4)], speech_final=True, from_finalize=True))
    assert (heard.is_final, heard.endpoint, heard.finalized) == (False, False, False)


def test_empty_results() -> None:
    silence = results([], 33.82, 3.0200005, is_final=True)
    assert transcript(silence).words == ()
    nothing = silence | {"channel": {"alternatives": []}}
    assert transcript(nothing).words == ()
    assert transcript(nothing | {"speech_final": True}).endpoint


def test_words_without_times_say_so() -> None:
    bare = results([], 2.0, 1.0) | {"channel": {"alternatives": [{"transcript": "so what"}]}}
    assert [(w.text, w.start, w.end) for w in transcript(bare).words] == [("so", 2.0, 2.5), ("what", 2.5, 3.0)]
    assert not transcript(bare).timed
    assert transcript(results([("Hm.", 0.1, 0.4)])).timed
    assert transcript(results([], 2.0, 1.0)).timed  # there are none


def test_only_the_keys_that_the_specification_demands() -> None:
    least = {"type": "Results", "channel_index": [0, 1], "duration": 1, "start": 0, "channel": {}, "metadata": {}}
    assert transcript(least) == Transcript(at=7.5, words=(), start=0.0, end=1.0, is_final=False)


def test_the_oldest_shape_has_no_type() -> None:
    old = results([("hello", 3.1, 3.2)], 0.0, 4.59, is_final=True, speech_final=True)
    del old["type"], old["from_finalize"]
    assert transcript(old).endpoint


def test_the_best_form_of_a_word() -> None:
    message = results([("Rain,", 0.1, 0.4)])
    (word,) = message["channel"]["alternatives"][0]["words"]
    assert transcript(message).words[0].text == "Rain,"
    del word["punctuated_word"]
    assert transcript(message).words[0].text == "rain"
    word["word"] = " "
    message["channel"]["alternatives"][0]["transcript"] = ""
    assert transcript(message).words == ()


def test_a_text_without_words_is_spread_over_its_span() -> None:
    message = results([], 2.0, 3.0)
    message["channel"]["alternatives"][0] = {"transcript": "one two  three"}
    assert transcript(message).words == (Word("one", 2.0, 3.0), Word("two", 3.0, 4.0), Word("three", 4.0, 5.0))


def test_half_a_surrogate_pair_can_be_printed() -> None:
    message = json.dumps(results([("a", 0.0, 0.1)])).replace('"punctuated_word": "a"', '"punctuated_word": "\\ud83d"')
    assert transcript(message).words[0].text.encode() == b"?"


def test_channels() -> None:
    second = results([("Good", 3.6, 3.9)], 3.02, 4.43, channel_index=[1, 2], is_final=True)
    assert decode(second, channels=2)[0].channel == 1
    assert decode({"type": "UtteranceEnd", "channel": [1, 2], "last_word_end": 1.1}, channels=2)[0].channel == 1
    assert decode({"type": "SpeechStarted", "channel": [1, 2], "timestamp": 0}, channels=2)[0].channel == 1
    with pytest.raises(ValueError, match=r"channel \[1, 2\] does not exist; there are 1"):
        decode(second)


def test_utterance_end_of_words_that_were_final_before() -> None:
    for minus_one in (-1, -1.0):
        assert decode({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": minus_one}, offset=5.0) == [
            Heard(0, UtteranceEnd(7.5, None))
        ]


def test_the_end_of_a_connection() -> None:
    metadata = {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "0b6f4c2e-0000-4000-8000-000000000000",
        "sha256": "incomplete",
        "created": "2026-08-25T21:10:20.046Z",
        "duration": 0.0,
        "channels": 0,
    }
    assert decode(metadata) == [StreamFinished()]


def test_errors_do_not_repeat_what_was_sent() -> None:
    error = {"type": "Error", "variant": "SchemaError", "description": "Could not parse.", "message": "x" * 5000}
    assert decode(error) == [ProviderFailed("Could not parse.", permanent=False)]
    assert len(decode({"type": "Error", "message": "x" * 5000})[0].detail) == 200
    assert decode({"type": "Error"})[0].detail == "no details"
    assert decode({"type": "ConfigureFailure", "code": "CONFIGURE_INTERNAL_ERROR"})[0].permanent is False


def test_unknown_messages_are_counted() -> None:
    dialect = Deepgram(KEY)
    for message in ('{"type":"Tomorrow"}', "{}", '{"type":"ConfigureSuccess","request_id":"1"}'):
        assert list(dialect.decode(message, 0.0, 0.0)) == []
    assert dialect.ignored == 3


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "[]",
        "null",
        "7",
        b"{}",
        '{"type": 5}',
        "[" * 100_000,
        '{"type":"Results","channel_index":[0,1],"start":' + "9" * 5000 + "}",
        results(start=float("nan")),
        results(start=float("inf")),
        results(start=-0.1),
        results(start=True),
        results(duration="1.0"),
        results(duration=10**400),
        results(duration=None),
        results(is_final="true"),
        results(channel=[]),
        results(channel={"alternatives": {}}),
        results(channel={"alternatives": [None]}),
        results(channel={"alternatives": [{"transcript": 5}]}),
        results(channel={"alternatives": [{"words": "none"}]}),
        results(channel={"alternatives": [{"words": ["hello"]}]}),
        results(channel={"alternatives": [{"words": [{"word": "a", "start": 1.0, "end": 0.5}]}]}),
        results(channel={"alternatives": [{"words": [{"word": "a", "start": 1.0}]}]}),
        results(channel={"alternatives": [{"words": [{"word": ["a"], "start": 1.0, "end": 2.0}]}]}),
        results(channel_index=[]),
        results(channel_index=[-1, 1]),
        results(channel_index="0"),
        results(channel_index=[True, 1]),
        {"type": "UtteranceEnd", "channel": [0, 1]},
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": -2},
        {"type": "SpeechStarted", "channel": [0, 1], "timestamp": "now"},
    ],
)
def test_messages_that_are_none(message: Any) -> None:
    with pytest.raises(ValueError, match=r".") as info:
        decode(message)
    assert type(info.value) is ValueError
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 200
    assert KEY not in str(info.value)


def test_speakers_of_words() -> None:
    """With ``diarize=true``; a number there, a text here."""

    def words(**more: Any) -> Any:
        item = {"word": "yes", "start": 0.1, "end": 0.4} | more
        message = {"type": "Results", "channel_index": [0, 1], "start": 0.0, "duration": 1.0, "is_final": True}
        message["channel"] = {"alternatives": [{"transcript": "yes", "words": [item]}]}
        (heard,) = Deepgram("any", diarize=True).decode(json.dumps(message), 1.0, 0.0)
        assert isinstance(heard, Heard)
        assert isinstance(heard.signal, Transcript)
        return heard.signal.words

    assert words(speaker=0) == (Word("yes", 0.1, 0.4, speaker="0"),)
    assert words() == words(speaker=None) == (Word("yes", 0.1, 0.4),)
    with pytest.raises(ValueError, match='"speaker" must be a number or a text'):
        words(speaker=[1])
