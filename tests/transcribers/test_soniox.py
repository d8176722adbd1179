"""The Soniox dialect on messages in the shapes its documents and clients show (texts and times are our own)."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from hearout.cli.tokens import TokenListing
from hearout.errors import UsageError
from hearout.testing import check_dialect
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, StreamFinished
from hearout.transcribers.soniox import Soniox
from hearout_policies.signals import ProviderTurn, Transcript, Word
from hearout_policies.words import Words, join

KEY = "soniox-secret-key"


def token(text: str, start: float | None = None, end: float | None = None, final: bool = True, **more: Any) -> Any:
    times = {} if start is None or end is None else {"start_ms": round(start * 1000), "end_ms": round(end * 1000)}
    return {"text": text, **times, "confidence": 0.97, "is_final": final} | more


def said(*words: tuple[str, float, float], final: bool = True) -> list[Any]:
    return [token(*word, final=final) for word in words]


def frame(tokens: Sequence[Any], final: float | None = None, total: float | None = None, **more: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"tokens": list(tokens)}
    if final is not None:
        out["final_audio_proc_ms"] = round(final * 1000)
    if total is not None:
        out["total_audio_proc_ms"] = round(total * 1000)
    return out | more


END = token("<end>")
FIN = token("<fin>")


def decode(*messages: Any, offset: float = 0.0) -> list[Any]:
    dialect = Soniox(KEY)
    dialect.opening()
    texts = [m if isinstance(m, (str, bytes)) else json.dumps(m) for m in messages]
    return [item for text in texts for item in dialect.decode(text, 7.5, offset)]


def transcripts(*messages: Any, offset: float = 0.0) -> list[Transcript]:
    out = []
    for item in decode(*messages, offset=offset):
        assert isinstance(item, Heard)
        if not isinstance(item.signal, ProviderTurn):
            assert isinstance(item.signal, Transcript)
            out.append(item.signal)
    return out


def finals(*messages: Any) -> list[Transcript]:
    return [t for t in transcripts(*messages) if t.is_final]


def texts(results: Sequence[Transcript]) -> list[str]:
    return [join(result.words) for result in results]


# The connection


def start(**options: Any) -> dict[str, Any]:
    (message,) = Soniox(KEY, **options).opening()
    assert isinstance(message, str)
    return dict(json.loads(message))


def test_defaults_for_voicebots() -> None:
    assert start() == {
        "model": "stt-rt-v5",
        "audio_format": "pcm_s16le",
        "sample_rate": 16000,
        "num_channels": 1,
        "enable_endpoint_detection": True,
    }
    assert Soniox(KEY).address() == "wss://stt-rt.soniox.com/transcribe-websocket"


def test_all_kinds_of_options() -> None:
    context = {"general": [{"key": "domain", "value": "travel"}], "terms": ["Quist"], "text": "A call."}
    sent = start(
        sample_rate=8000,
        language_hints=("en", "de"),
        language_hints_strict=True,
        max_endpoint_delay_ms=1500,
        endpoint_sensitivity=0,
        endpoint_latency_adjustment_level=2,
        enable_speaker_diarization=True,
        enable_language_identification=True,
        context=context,
        translation={"type": "one_way", "target_language": "fr"},
        client_reference_id="call-7",
        extra={"new_thing": [1]},
    )
    assert sent == {
        "model": "stt-rt-v5",
        "audio_format": "pcm_s16le",
        "sample_rate": 8000,
        "num_channels": 1,
        "language_hints": ["en", "de"],
        "language_hints_strict": True,
        "enable_endpoint_detection": True,
        "max_endpoint_delay_ms": 1500,
        "endpoint_sensitivity": 0,
        "endpoint_latency_adjustment_level": 2,
        "enable_speaker_diarization": True,
        "enable_language_identification": True,
        "context": context,
        "translation": {"type": "one_way", "target_language": "fr"},
        "client_reference_id": "call-7",
        "new_thing": [1],
    }
    assert "enable_endpoint_detection" not in start(enable_endpoint_detection=False)


def test_regions() -> None:
    assert Soniox(KEY, region="eu").address() == "wss://stt-rt.eu.soniox.com/transcribe-websocket"
    assert Soniox(KEY, region="jp").address() == "wss://stt-rt.jp.soniox.com/transcribe-websocket"
    assert Soniox(KEY, "ws://127.0.0.1:9/transcribe-websocket").address().startswith("ws://127.0.0.1:9/")


def test_the_key_is_in_the_handshake_only() -> None:
    dialect: Dialect = Soniox(KEY)
    assert dialect.headers() == [("Authorization", f"Bearer {KEY}")]
    assert KEY not in repr(dialect) + dialect.address() + "".join(map(str, dialect.opening()))
    assert "api_key" not in start()


def test_messages_to_the_service() -> None:
    dialect = Soniox(KEY)
    assert dialect.audio(b"\1\2") == b"\1\2"
    assert json.loads(dialect.finalize()) == json.loads(dialect.finalize(0)) == {"type": "finalize"}
    told = Soniox(KEY, trailing_silence_ms=200).finalize()
    assert json.loads(told) == {"type": "finalize", "trailing_silence_ms": 200}
    assert json.loads(dialect.keepalive()) == {"type": "keepalive"}
    assert dialect.keepalive_after == 10.0
    assert dialect.closing() == b""
    with pytest.raises(ValueError, match="would end the stream"):
        dialect.audio(b"")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": ""}, "set SONIOX_API_KEY"),
        ({"key": "two words"}, "not plain text"),
        ({"url": "https://api.soniox.com"}, "must be ws://HOST"),
        ({"url": ""}, "url must not be empty"),
        ({"url": 5}, "url must be of type str"),
        ({"url": "wss://me:pass@host/"}, "no name or password"),
        ({"region": "us-east"}, "region must be us, eu, jp"),
        ({"sample_rate": 100}, "sample_rate must be 8000 to 192000, not 100"),
        ({"channels": 2}, "open a session for each channel"),
        ({"model": ""}, "model must not be empty"),
        ({"max_endpoint_delay_ms": 499}, "max_endpoint_delay_ms must be 500 to 3000, not 499"),
        ({"max_endpoint_delay_ms": 3001}, "500 to 3000"),
        ({"max_endpoint_delay_ms": 600.5}, "of type int"),
        ({"endpoint_sensitivity": 1.5}, "endpoint_sensitivity must be -1 to 1, not 1.5"),
        ({"endpoint_latency_adjustment_level": 4}, "must be 0 to 3"),
        ({"endpoint_sensitivity": -0.2, "endpoint_latency_adjustment_level": 1}, "negative endpoint_sensitivity"),
        ({"endpoint_sensitivity": 0.2, "model": "stt-rt-v3"}, "needs stt-rt-v5, not stt-rt-v3"),
        ({"max_endpoint_delay_ms": 900, "enable_endpoint_detection": False}, "needs enable_endpoint_detection"),
        ({"trailing_silence_ms": -1}, "trailing_silence_ms must be 0"),
        ({"language_hints": "en"}, "language_hints must be of type Sequence"),
        ({"language_hints": ["english"]}, "codes such as en"),
        ({"language_hints": ["en", "en"]}, "names a language twice"),
        ({"language_hints_strict": True}, "needs language_hints"),
        ({"client_reference_id": "x" * 257}, "more than 256"),
        ({"context": "x" * 10_001}, "more than 10000"),
        ({"context": {"text": "x" * 10_001}}, "more than 10000"),
        ({"context": {"words": []}}, "context has general, text, terms"),
        ({"context": {"terms": "Quist"}}, "'terms' of context has the wrong form"),
        ({"context": {"general": [{"key": "a"}]}}, "'general' of context has the wrong form"),
        ({"context": 5}, "must be a text or an object"),
        ({"translation": {"type": "one_way"}}, "target_language"),
        ({"translation": {"type": "three_way"}}, "target_language"),
        ({"extra": {"api_key": "x"}}, "extra must not set 'api_key'"),
        ({"extra": {"model": "x"}}, "extra must not set 'model'"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as info:
        Soniox(**({"key": KEY} | options))
    assert says in str(info.value)
    assert KEY not in str(info.value)
    assert "pass@" not in str(info.value)


# Final and non-final tokens

# Soniox's own example of five results, by letters: each has final tokens, then non-final ones, and what is the
# latest transcript after it.
FIVE_STEPS = [
    ("", "ab", "ab"),
    ("a", "bc", "abc"),
    ("", "", "a"),
    ("", "de", "ade"),
    ("df", "ghi", "adfghi"),
]


def five_steps() -> list[dict[str, Any]]:
    """The example as Soniox sends it today: a second a letter, spoken one after the other."""
    out, place = [], 0
    for final, rest, _ in FIVE_STEPS:
        finals_ = said(*((f" {c}", place + i, place + i + 0.8) for i, c in enumerate(final)))
        place += len(final)
        others = said(*((f" {c}", place + i, place + i + 0.8) for i, c in enumerate(rest)), final=False)
        out.append(frame([*finals_, *others], final=place, total=place + max(2, len(rest))))
    return out


def untimed(message: dict[str, Any]) -> dict[str, Any]:
    tokens = [{"text": t["text"], "is_final": t["is_final"]} for t in message["tokens"]]
    return {"tokens": tokens}


@pytest.mark.parametrize("times", [True, False], ids=["timed", "untimed"])
def test_the_latest_transcript_in_five_steps(times: bool) -> None:
    dialect, words = Soniox(KEY), Words()
    dialect.opening()
    for message, (_, _, latest) in zip(five_steps(), FIVE_STEPS, strict=True):
        seen = []
        for news in dialect.decode(json.dumps(message if times else untimed(message)), 9.0, 0.0):
            assert isinstance(news, Heard)
            assert isinstance(news.signal, Transcript)
            words.add(news.signal)
            seen.append(words.text.replace(" ", ""))
        # It changes at once, not by way of something that was never said.
        assert set(seen) == {latest}


def test_the_listing_of_tokens() -> None:
    lines: list[str] = []
    listing = TokenListing(Soniox(KEY), lines.append)
    for number, message in enumerate(five_steps()):
        listing.write({"t": float(number), "vad": "start", "audio": 0.0})
        listing.write({"t": float(number), "stt": message})
    assert lines == [
        *("Final: ", "Non-final: a b", "-----"),
        *("Final: a", "Non-final: b c", "-----"),
        *("Final: a", "Non-final: ", "-----"),
        *("Final: a", "Non-final: d e", "-----"),
        *("Final: a d f", "Non-final: g h i", "-----"),
    ]


def test_the_listing_goes_on_over_a_new_connection() -> None:
    lines: list[str] = []
    listing = TokenListing(Soniox(KEY), lines.append)
    listing.write({"t": 1.0, "stt": frame(said(("Fo", 0.1, 0.5)), 0.6, 0.7)})
    listing.write({"t": 2.0, "link": "lost"})
    listing.write({"t": 3.0, "link": "restored", "audio": 0.6})
    listing.write({"t": 4.0, "stt": frame(said(("ur", 0.0, 0.2), (" seats", 0.3, 0.6)), 0.7, 0.7)})
    listing.write({"t": 5.0, "stt": {"tokens": 5}})
    assert lines[-3:] == ["Final: Fo ur seats", "Non-final: ", "-----"]


def test_a_token_becomes_final() -> None:
    """Confidence and speaker of a token may change on the way; those of the final one count."""
    results = transcripts(
        frame([token("Two", 0.1, 0.4, False, speaker="2")], 0.0, 0.5),
        frame([token("Two", 0.1, 0.42, True, speaker="1"), token(" teas", 0.45, 0.8, False)], 0.42, 0.9),
    )
    assert [(join(r.words), r.start, r.end, r.is_final) for r in results] == [
        ("Two", 0.0, 0.5, False),
        ("Two teas", 0.0, 0.9, False),
        ("Two", 0.0, 0.42, True),
    ]
    assert results[2].words == (Word("Two", 0.1, 0.42, speaker="1"),)


def test_tokens_carry_their_own_spaces() -> None:
    parts = ("Wh", "ere", "'s", " the", " rail", "way", " sta", "tion", "?")
    words = said(*((part, 0.1 * i, 0.1 * i + 0.1) for i, part in enumerate(parts)))
    (result,) = finals(frame(words, 0.9, 0.9))
    assert join(result.words) == "Where's the railway station?"
    assert [w.text for w in result.words if w.spaced] == ["Wh", "the", "rail", "sta"]


def test_a_word_may_be_torn_between_results() -> None:
    first, second = finals(frame(said((" sta", 0.0, 0.2)), 0.2, 0.3), frame(said(("tion", 0.2, 0.4)), 0.4, 0.4))
    assert join(first.words + second.words) == "station"


@pytest.mark.parametrize("tokens", [["one", " ", "two"], ["one ", "two"], ["one", " two"], ["one", " ", " two"]])
def test_a_blank_may_be_anywhere(tokens: list[str]) -> None:
    in_one = frame(said(*((text, i, i + 1) for i, text in enumerate(tokens))), 4, 4)
    one_by_one = [frame(said((text, i, i + 1)), i + 1, i + 1) for i, text in enumerate(tokens)]
    for messages in ([in_one], one_by_one):
        words = [word for result in finals(*messages) for word in result.words]
        assert join(words) == "one two"
        assert [word.text for word in words] == ["one", "two"]


def test_words_in_one_token_share_its_time() -> None:
    (result,) = finals(frame(said(("good day", 1.0, 2.0)), 2.0, 2.0))
    assert result.words == (Word("good", 1.0, 1.5), Word("day", 1.5, 2.0))


def test_an_empty_snapshot_erases_what_was_not_final() -> None:
    before, after = transcripts(
        frame(said(("Hm", 0.5, 0.9), (" so", 1.0, 1.4), final=False), 0.0, 1.5),
        frame([], 0.0, 1.5),
    )
    words = Words()
    words.add(before)
    assert words.text == "Hm so"
    words.add(after)
    assert words.text == ""


def test_silence_counts_as_heard() -> None:
    """The covered audio grows with `final_audio_proc_ms`, tokens or not: that is where a replay begins."""
    quiet = transcripts(frame([], 0.0, 0.4), frame([], 1.2, 1.6), frame([], 1.2, 1.6))
    assert [(r.is_final, r.start, r.end) for r in quiet] == [
        (False, 0.0, 0.4),
        (False, 0.0, 1.6),
        (True, 0.0, 1.2),
        (False, 1.2, 1.6),
    ]
    assert all(r.words == () for r in quiet)


def test_nothing_is_covered_behind_the_start_of_a_token_that_is_not_final() -> None:
    """Or a replay would begin in the middle of its word."""
    _, result = transcripts(frame([*said(("Two", 0.2, 0.5)), *said((" teas", 0.6, 1.0), final=False)], 0.8, 1.0))
    assert (join(result.words), result.end) == ("Two", 0.6)


def test_offset_moves_every_time() -> None:
    (result,) = transcripts(frame(said(("Yes", 0.4, 0.8)), 1.0, 1.0), offset=10.0)
    assert result == Transcript(at=7.5, words=(Word("Yes", 10.4, 10.8),), start=10.0, end=11.0, is_final=True)


def test_a_new_connection_begins_anew() -> None:
    dialect = Soniox(KEY)
    dialect.opening()
    dialect.decode(json.dumps(frame(said(("one ", 4.0, 5.0)), 5.0, 5.0)), 7.5, 0.0)
    dialect.opening()
    (news,) = dialect.decode(json.dumps(frame(said((" two", 0.0, 0.5)), 0.6, 0.6)), 7.5, 5.0)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    assert (news.signal.start, news.signal.end) == (5.0, 5.6)


def test_translations_are_no_speech() -> None:
    (result,) = finals(
        frame(
            [
                token("Guten Tag", 0.0, 0.6, translation_status="original", language="de"),
                token("Good day", translation_status="translation", language="en", source_language="de"),
                FIN,
            ],
            0.6,
            0.6,
        )
    )
    assert join(result.words) == "Guten Tag"
    assert result.finalized


def test_tokens_without_times_say_so() -> None:
    (result,) = finals(frame([token("so"), token(" what")], 3.0, 3.0))
    assert result.words == (Word("so", 0.0, 1.5), Word("what", 1.5, 3.0))
    assert not result.timed
    assert transcripts(frame([token("so", 0.0, 0.3)], 0.3, 0.3))[0].timed


def test_half_a_surrogate_pair_can_be_printed() -> None:
    message = json.dumps(frame([token("x", 0.0, 0.1)], 0.1, 0.1)).replace('"x"', '"\\ud83d"')
    assert finals(message)[0].words[0].text.encode() == b"?"


# Markers


def test_an_end() -> None:
    (result,) = finals(frame([*said(("Two", 0.2, 0.5), (" teas.", 0.5, 1.0)), END], 1.6, 1.7))
    assert (join(result.words), result.endpoint, result.finalized, result.end) == ("Two teas.", True, False, 1.6)


def test_an_end_is_the_border_of_a_turn() -> None:
    """It is told before the final result, so that a rule knows the border when it judges that."""
    message = frame([*said(("Two", 0.2, 0.5)), END, *said(("And", 1.5, 1.6), final=False)], 0.95, 1.7)
    border, last = [item.signal for item in decode(message, offset=10.0) if item.signal.at == 7.5][-3:-1]
    assert border == ProviderTurn(7.5, "ended", 10.95)
    assert (last.endpoint, last.end) == (True, 10.95)
    two = decode(frame([*said(("Two", 0.2, 0.5)), END, *said((" Tea", 1.5, 1.8)), END], 2.2, 2.3))
    assert [i.signal.audio for i in two if isinstance(i.signal, ProviderTurn)] == [0.5, 2.2]
    assert not any(isinstance(i.signal, ProviderTurn) for i in decode(frame([*said(("Two", 0.2, 0.5)), FIN], 0.7, 0.7)))


def test_the_answer_to_a_finalize() -> None:
    (result,) = finals(frame([*said(("Two", 0.2, 0.5)), FIN], 0.7, 0.7))
    assert (join(result.words), result.endpoint, result.finalized, result.end) == ("Two", False, True, 0.7)


@pytest.mark.parametrize("marker", ["<end>", "<fin>"])
@pytest.mark.parametrize(
    "times",
    [{}, {"start_ms": 0, "end_ms": 0}, {"start_ms": 800, "end_ms": 800}, {"start_ms": 900, "end_ms": 100}],
    ids=["none", "zero", "equal", "backwards"],
)
def test_times_of_markers_mean_nothing(marker: str, times: dict[str, int]) -> None:
    words, alone = finals(
        frame(said(("Two", 4.2, 4.5)), 4.6, 4.7), frame([{"text": marker, "is_final": True} | times], 4.9, 5.0)
    )
    assert (alone.words, alone.start, alone.end) == ((), words.end, 4.9)
    assert alone.endpoint == (marker == "<end>")
    assert alone.finalized == (marker == "<fin>")


def test_a_marker_alone_closes_the_tokens_before_it() -> None:
    """Also in a message that says nothing about progress."""
    _, end = finals(frame(said(("Two", 0.2, 0.5)), 0.6, 0.7), {"tokens": [END]})
    assert (end.words, end.endpoint, end.end) == ((), True, 0.6)


def test_markers_with_the_next_words_behind_them() -> None:
    tokens = [*said(("Tea.", 0.2, 0.5)), END, *said(("And", 1.4, 1.6)), *said((" milk", 1.6, 1.9), final=False)]
    results = transcripts(frame(tokens, 1.6, 2.0))
    assert [(join(r.words), r.is_final, r.endpoint, r.end) for r in results] == [
        ("Tea.", True, True, 0.5),
        ("And milk", False, False, 2.0),
        ("And", True, False, 1.6),
    ]
    assert results[1].words[0].spaced, "a segment stands apart from the one before, blank or not"


def test_a_stop_that_comes_after_the_marker_joins_its_word() -> None:
    results = finals(frame([*said(("Tea", 0.2, 0.5)), FIN, *said((".", 0.5, 0.5))], 0.6, 0.6))
    assert join(word for result in results for word in result.words) == "Tea."


def test_two_markers_in_one_message() -> None:
    end, fin = finals(frame([*said(("Tea.", 0.2, 0.5)), END, FIN], 1.0, 1.0))
    assert (join(end.words), end.endpoint, end.finalized, end.end) == ("Tea.", True, False, 1.0)
    assert (fin.words, fin.endpoint, fin.finalized, fin.end) == ((), False, True, 1.0)


def test_a_marker_twice_and_with_nothing_held() -> None:
    results = finals({"tokens": [FIN]}, {"tokens": [FIN, FIN]})
    assert [(r.words, r.finalized, r.start, r.end) for r in results] == [((), True, 0.0, 0.0)] * 3


def test_a_marker_erases_the_snapshot_before_it() -> None:
    words = Words()
    for result in transcripts(
        frame(said(("To", 0.2, 0.4), (" tease", 0.4, 1.1), final=False), 0.0, 1.2),
        frame([*said(("Two", 0.2, 0.4), (" teas", 0.4, 0.9)), END, *said(("And", 1.5, 1.6), final=False)], 0.95, 1.7),
    ):
        words.add(result)
        assert words.text in ("To tease", "Two teas", "Two teas And")
    assert words.text == "Two teas And"


def test_a_punctuation_mark_that_takes_no_time_is_told_once() -> None:
    words, seen = Words(), []
    for result in transcripts(
        frame(said(("Tea", 0.2, 0.5), final=False), 0.0, 0.6),
        frame([*said(("Tea", 0.2, 0.5), (",", 0.5, 0.5)), *said((" no", 0.5, 0.6), final=False)], 0.5, 0.7),
        frame([*said((" no", 0.5, 0.8)), *said((".", 0.8, 0.8), final=False)], 0.8, 0.9),
        frame([*said((".", 0.8, 0.8)), END], 0.8, 1.0),
    ):
        words.add(result)
        if words.text not in seen:
            seen.append(words.text)
    assert seen == ["Tea", "Tea, no", "Tea, no."]


# The end, and errors


def test_finished() -> None:
    news = decode(frame([*said(("bye", 0.2, 0.5)), FIN], 0.6, 0.6, finished=True))
    assert isinstance(news[0], Heard)
    assert news[-1] == StreamFinished()
    assert decode(frame([], 1.5, 1.7, finished=True))[-1] == StreamFinished()


def error(code: int | None, slug: str | None, text: str, **more: Any) -> dict[str, Any]:
    named = {"error_code": code, "error_type": slug, "error_message": text, "request_id": "5f0c"}
    return {key: value for key, value in named.items() if value is not None} | more


@pytest.mark.parametrize("tokens", [{}, {"tokens": []}, {"tokens": None}, {"tokens": "?"}])
def test_an_error_with_and_without_tokens(tokens: dict[str, Any]) -> None:
    failed = error(503, "service_unavailable", "Cannot go on (code 3). Start again.", **tokens)
    assert decode(failed) == [
        ProviderFailed("503 service_unavailable: Cannot go on (code 3). Start again.", permanent=False)
    ]


def test_words_in_an_error_are_kept() -> None:
    """Nothing is held back before it either: final tokens are handed on in the message they come in."""
    held, last, failed = decode(
        frame(said(("Two", 0.2, 0.5)), 0.6, 0.6),
        error(503, "service_unavailable", "Over.", **frame(said((" teas", 0.5, 0.9)), 1.0, 1.0)),
    )
    assert join(held.signal.words + last.signal.words) == "Two teas"
    assert held.signal.is_final
    assert last.signal.is_final
    assert isinstance(failed, ProviderFailed)


@pytest.mark.parametrize(
    ("soniox", "says"),
    [
        (Soniox("k"), "(us, eu or jp; this is us)"),
        (Soniox("k", region="eu"), "(us, eu or jp; this is eu)"),
        (Soniox("k", "wss://stt-rt.jp.soniox.com/transcribe-websocket"), "(us, eu or jp; this is jp)"),
        (Soniox("k", "wss://elsewhere.example/"), "(us, eu or jp)"),
    ],
)
def test_a_wrong_key_may_be_one_of_another_region(soniox: Soniox, says: str) -> None:
    (failed,) = soniox.decode(json.dumps(error(401, "unauthenticated", "Bad key.")), 0.0, 0.0)
    assert isinstance(failed, ProviderFailed)
    assert "SONIOX_API_KEY" in failed.detail
    assert failed.detail.endswith(says)
    assert failed.permanent


@pytest.mark.parametrize(
    ("message", "permanent", "says"),
    [
        (error(400, "model_not_available", "No such model."), True, "400 model_not_available: No such model."),
        (error(400, None, "Audio cannot be decoded."), True, "400: Audio cannot be decoded."),
        (error(401, "unauthenticated", "Bad key."), True, "check the key in SONIOX_API_KEY"),
        (error(None, "unauthenticated", "Bad key."), True, "unauthenticated: Bad key."),
        (error(402, "organization_balance_exhausted", "Empty."), True, "no credit left"),
        (error(403, "temp_api_key_session_expired", "Over."), True, "get a new key"),
        (error(408, "request_timeout", "Too slow."), False, "408"),
        (error(413, "max_duration_reached", "300 minutes."), False, "413"),
        (error(429, "limit_exceeded", "Too many."), False, "429"),
        (error(500, "internal_error", "Oops."), False, "500"),
        (error(503, "service_unavailable", "Again."), False, "503"),
        (error(599, "something_new", "New."), False, "something_new"),
        (error(400, None, "No audio received."), False, "No audio received"),
        ({"error_message": "?"}, False, "?"),
        ({"error_code": "401"}, False, "401"),
    ],
)
def test_which_errors_are_permanent(message: dict[str, Any], permanent: bool, says: str) -> None:
    (failed,) = decode(message)
    assert isinstance(failed, ProviderFailed)
    assert failed.permanent == permanent
    assert says in failed.detail


def test_errors_are_short() -> None:
    (failed,) = decode(error(400, "x" * 5000, "y" * 5000))
    assert len(failed.detail) < 400


def test_unknown_messages_are_counted() -> None:
    dialect = Soniox(KEY)
    for message in ("{}", '{"type":"tomorrow"}'):
        assert list(dialect.decode(message, 0.0, 0.0)) == []
    assert dialect.ignored == 2
    dialect.decode('{"tokens":[]}', 0.0, 0.0)
    assert dialect.ignored == 2


@pytest.mark.parametrize(
    "message",
    [
        *("", "hello", "[]", "null", b"{}", "[" * 100_000),
        {"tokens": {}},
        {"tokens": ["hello"]},
        {"tokens": [{"text": 5}]},
        {"tokens": [{"text": "a", "is_final": "yes"}]},
        {"tokens": [{"text": "a", "start_ms": "1"}]},
        {"tokens": [{"text": "a", "start_ms": -1, "end_ms": 5}]},
        {"tokens": [{"text": "a", "start_ms": 5, "end_ms": 1}]},
        {"tokens": [], "final_audio_proc_ms": float("nan")},
        {"tokens": [], "total_audio_proc_ms": 10**400},
        {"tokens": [], "total_audio_proc_ms": True},
        {"tokens": [], "finished": 1},
    ],
)
def test_messages_that_are_none(message: Any) -> None:
    with pytest.raises(ValueError, match=r".") as info:
        decode(message)
    assert type(info.value) is ValueError
    assert len(str(info.value)) < 200


def test_a_refused_message_leaves_nothing_behind() -> None:
    dialect = Soniox(KEY)
    broken = frame([*said(("one ", 0.0, 5.0)), 5], 5.0, 5.0)
    with pytest.raises(ValueError, match="must hold objects"):
        dialect.decode(json.dumps(broken), 7.5, 0.0)
    (news,) = dialect.decode(json.dumps(frame(said(("two", 0.0, 0.5)), 0.6, 0.6)), 7.5, 0.0)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    assert news.signal.end == 0.6


SAMPLES = [
    frame([], 0.0, 0.3),
    *five_steps(),
    frame([END, *said((" next", 7.2, 7.5)), FIN, *said((" more", 7.6, 7.9), final=False)], 7.5, 8.0),
    frame([*said((" mo", 7.6, 7.8), ("re.", 7.8, 8.0)), FIN, END], 8.4, 8.4),
    error(503, "service_unavailable", "Again.", tokens=[]),
    frame([], 9.0, 9.0, finished=True),
]


def test_conforms() -> None:
    check_dialect(lambda: Soniox(KEY), SAMPLES)


def test_a_recorded_trace_can_be_masked() -> None:
    file = io.StringIO()
    with Recorder(file, Header("soniox", 1, True, None, "test"), redact=True) as recorder:
        recorder.write({"t": 1.0, "stt": frame([*said((" Secret", 0.2, 0.5)), END, FIN], 0.6, 0.6)})
    tokens = json.loads(file.getvalue().splitlines()[1])["stt"]["tokens"]
    assert [t["text"] for t in tokens] == [" Xxxxxx", "<end>", "<fin>"]
