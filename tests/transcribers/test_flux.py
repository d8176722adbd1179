"""The Flux dialect on messages in the shapes of Deepgram's documents (texts are our own)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hearout.errors import UsageError
from hearout.testing import check_dialect
from hearout.transcribers.base import Dialect, Heard, ProviderFailed
from hearout.transcribers.flux import Flux
from hearout_policies.signals import ProviderTurn, Transcript, Word
from hearout_policies.words import join

KEY = "dg-secret-key"


def query(**options: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(Flux(KEY, **options).address()).query)


def info(event: str, text: str = "", end: float = 1.0, start: float = 0.0, **more: Any) -> dict[str, Any]:
    """A TurnInfo message with every key the service sends; ``more`` replaces or adds keys."""
    return {
        "type": "TurnInfo",
        "request_id": "0b6f4c2e-0000-4000-8000-000000000000",
        "sequence_id": 7,
        "event": event,
        "turn_index": 0,
        "audio_window_start": start,
        "audio_window_end": end,
        "transcript": text,
        "words": [{"word": word, "confidence": 0.93} for word in text.split()],
        "end_of_turn_confidence": 0.2,
    } | more


def decode(*messages: Any, offset: float = 0.0) -> list[Any]:
    dialect = Flux(KEY)
    dialect.opening()
    texts = [m if isinstance(m, (str, bytes)) else json.dumps(m) for m in messages]
    return [item for text in texts for item in dialect.decode(text, 7.5, offset)]


def signals(*messages: Any, offset: float = 0.0) -> list[Any]:
    news = decode(*messages, offset=offset)
    assert all(isinstance(item, Heard) for item in news)
    return [item.signal for item in news]


# The connection


def test_defaults() -> None:
    assert query() == {"model": ["flux-general-en"], "encoding": ["linear16"], "sample_rate": ["16000"]}
    assert Flux(KEY).address().startswith("wss://api.deepgram.com/v2/listen?model=")


def test_all_kinds_of_options() -> None:
    assert query(
        sample_rate=8000,
        model="flux-general-multi",
        eot_threshold=0.8,
        eager_eot_threshold=0.5,
        eot_timeout_ms=4000,
        keyterm=["Quist", "Ænima"],
        language_hint=("en", "de"),
        numerals=True,
        redact=["numbers"],
        tag=["call"],
        mip_opt_out=True,
        extra={"new_thing": "1"},
    ) == {
        "model": ["flux-general-multi"],
        "encoding": ["linear16"],
        "sample_rate": ["8000"],
        "eot_threshold": ["0.8"],
        "eager_eot_threshold": ["0.5"],
        "eot_timeout_ms": ["4000"],
        "keyterm": ["Quist", "Ænima"],
        "language_hint": ["en", "de"],
        "numerals": ["true"],
        "redact": ["numbers"],
        "tag": ["call"],
        "mip_opt_out": ["true"],
        "new_thing": ["1"],
    }


def test_our_rules_own_the_end() -> None:
    assert query(own_turns=True, eager_eot_threshold=0.9)["eot_threshold"] == ["1.0"]
    forced = Flux(KEY, own_turns=True).finalize()
    assert forced is not None
    assert json.loads(forced) == {"type": "ForceEndTurn"}
    assert Flux(KEY).finalize() is None


def test_the_key_is_in_the_header_only() -> None:
    dialect: Dialect = Flux(KEY)
    assert dialect.headers() == [("Authorization", f"Token {KEY}")]
    assert Flux(KEY, auth="bearer").headers() == [("Authorization", f"Bearer {KEY}")]
    assert KEY not in repr(dialect) + dialect.address()


def test_messages_to_the_service() -> None:
    dialect = Flux(KEY)
    assert list(dialect.opening()) == []
    assert dialect.audio(b"\1\2") == b"\1\2"
    assert (dialect.keepalive_after, dialect.keepalive()) == (None, None)
    closing = dialect.closing()
    assert json.loads(closing) == {"type": "CloseStream"}
    with pytest.raises(ValueError, match="no audio"):
        dialect.audio(b"")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": ""}, "set DEEPGRAM_API_KEY"),
        ({"url": "https://api.deepgram.com"}, "must be ws://HOST"),
        ({"url": "wss://me:pass@host/"}, "no name or password"),
        ({"sample_rate": 32000}, "sample_rate must be 8000, 16000, 24000, 44100, 48000; not 32000"),
        ({"channels": 2}, "open a session for each channel"),
        ({"auth": "basic"}, "auth must be"),
        ({"eot_threshold": 0.4}, "eot_threshold must be 0.5 to 1, not 0.4"),
        ({"eot_threshold": 1.1}, "0.5 to 1"),
        ({"eot_threshold": "0.7"}, "eot_threshold must be of type float"),
        ({"eager_eot_threshold": 0.2}, "eager_eot_threshold must be 0.3 to 0.9"),
        ({"eager_eot_threshold": 0.95}, "0.3 to 0.9"),
        ({"eager_eot_threshold": 0.8}, "not be above eot_threshold, which is 0.7"),
        ({"eager_eot_threshold": 0.7, "eot_threshold": 0.6}, "which is 0.6"),
        ({"eot_timeout_ms": 499}, "eot_timeout_ms must be 500 to 60000"),
        ({"eot_timeout_ms": 60001}, "500 to 60000"),
        ({"own_turns": True, "eot_threshold": 0.7}, "own_turns sets eot_threshold"),
        ({"language_hint": ["en"]}, "language_hint needs flux-general-multi"),
        ({"redact": ["pci"]}, "redact knows numbers"),
        ({"keyterm": "word"}, "keyterm must be of type Sequence"),
        ({"extra": {"encoding": "opus"}}, "extra must not set 'encoding'"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Flux(**({"key": KEY} | options))
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_configure_on_an_open_connection() -> None:
    dialect = Flux(KEY, model="flux-general-multi")
    sent = dialect.configure(eot_threshold=0.8, eager_eot_threshold=0.5, keyterm=("Ænima",), language_hint=["de"])
    assert json.loads(sent) == {
        "type": "Configure",
        "thresholds": {"eot_threshold": 0.8, "eager_eot_threshold": 0.5},
        "keyterms": ["Ænima"],
        "language_hints": ["de"],
    }
    assert "eot_threshold=0.8" in dialect.address(), "later connections start with it"
    with pytest.raises(UsageError, match="one at a time"):
        dialect.configure(numerals=True)
    dialect.decode('{"type":"ConfigureSuccess"}', 0.0, 0.0)
    assert json.loads(dialect.configure(numerals=True)) == {"type": "Configure", "numerals": True}
    (failed,) = dialect.decode('{"type":"ConfigureFailure","code":"X"}', 0.0, 0.0)
    assert failed == ProviderFailed("ConfigureFailure: X", permanent=False)
    assert json.loads(dialect.configure(eot_timeout_ms=900)) == {
        "type": "Configure",
        "thresholds": {"eot_timeout_ms": 900},
    }
    dialect.opening()  # the answer went down with the connection
    dialect.configure(keyterm=[])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"eot_threshold": 0.4}, "0.5 to 1"),
        ({"eager_eot_threshold": 0.9}, "not be above eot_threshold"),
        ({"keyterm": "word"}, "Sequence"),
        ({"model": "flux-general-multi"}, "model is fixed; Configure changes eot_threshold, "),
    ],
)
def test_configurations_that_cannot_work(options: dict[str, Any], says: str) -> None:
    dialect = Flux(KEY)
    before = dialect.address()
    with pytest.raises(UsageError, match=says):
        dialect.configure(**options)
    assert dialect.address() == before
    dialect.configure(numerals=True)  # nothing is under way


# Turns


def test_a_turn_from_start_to_end() -> None:
    out = signals(
        info("StartOfTurn", "Stop my", 0.9),
        info("Update", "Stop my order.", 1.2),
        info("EagerEndOfTurn", "Stop my order.", 1.4),
        info("TurnResumed", "Stop my order for", 1.8),
        info("EagerEndOfTurn", "Stop my order for tea.", 2.4),
        info("EndOfTurn", "Stop my order for tea.", 2.8, trigger="model"),
    )
    told = [(join(s.words), s.is_final, s.endpoint) if isinstance(s, Transcript) else (s.kind, s.audio) for s in out]
    assert told == [
        *[("Stop my", False, False), ("started", 0.9)],
        ("Stop my order.", False, False),
        *[("Stop my order.", False, False), ("eager_end", 1.4)],
        *[("Stop my order for", False, False), ("resumed", 1.8)],
        *[("Stop my order for tea.", False, False), ("eager_end", 2.4)],
        *[("Stop my order for tea.", True, True), ("ended", 2.8)],
    ]
    assert not any(s.finalized for s in out if isinstance(s, Transcript))


@pytest.mark.parametrize("trigger", ["model", "timeout", "something_new", None])
def test_an_end_of_its_own(trigger: str | None) -> None:
    result, turn = signals(info("EndOfTurn", "Tea.", 2.0) | ({"trigger": trigger} if trigger else {}))
    assert (result.is_final, result.endpoint, result.finalized) == (True, True, False)
    assert turn == ProviderTurn(7.5, "ended", 2.0)


def test_an_end_that_was_forced_answers_the_finalize() -> None:
    (result,) = signals(info("EndOfTurn", "Tea", 6.8, 4.2, trigger="manual"))
    assert (result.is_final, result.finalized, result.start, result.end) == (True, True, 4.2, 6.8)


def test_an_end_that_is_told_twice_is_said_once() -> None:
    end = info("EndOfTurn", "Tea.", 2.0)
    assert len(signals(end, end)) == 2, "the result and the end of the turn"
    assert len(signals(end, end | {"turn_index": end["turn_index"] + 1})) == 4


def test_nothing_left_to_end_answers_it_too() -> None:
    warning = {"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "None.", "sequence_id": 9}
    *_, answer = signals(info("Update", "", 6.2), warning, offset=10.0)
    assert answer == Transcript(7.5, (), 15.2, 15.2, is_final=True, finalized=True)


def test_silence_is_final_a_second_later() -> None:
    """Nothing else would tell the link that audio between turns need not be kept."""
    early, heard, final = signals(info("Update", "", 0.9), info("Update", "", 3.0, 0.5))
    assert (early.is_final, early.end) == (False, 0.9)
    assert (heard.is_final, heard.end, heard.words) == (False, 3.0, ())
    assert (final.is_final, final.start, final.end, final.words) == (True, 0.0, 2.0, ())


def test_nothing_is_final_inside_a_turn() -> None:
    out = signals(info("StartOfTurn", "Tea", 2.0), info("Update", "", 4.0), info("Update", "Tea for", 5.0))
    assert not any(s.is_final for s in out if isinstance(s, Transcript))
    dialect = Flux(KEY)
    for text in (info("StartOfTurn", "Tea", 2.0), info("Update", "", 4.0)):
        dialect.decode(json.dumps(text), 7.5, 0.0)
    dialect.opening()  # the turn went down with the connection
    assert len(dialect.decode(json.dumps(info("Update", "", 4.0)), 7.5, 0.0)) == 2


def test_words_without_times_are_laid_over_the_window() -> None:
    (result,) = signals(info("Update", "so what", 3.0, 1.0))
    assert result.words == (Word("so", 1.0, 2.0), Word("what", 2.0, 3.0))
    assert not result.timed
    assert signals(info("Update", "", 0.5))[0].timed


def test_words_with_times() -> None:
    words = [{"word": "so", "start": 0.4, "end": 0.6}, {"word": "what", "start": 0.7, "end": 1.0}]
    (result,) = signals(info("Update", "So, what?", 1.5, words=words), offset=10.0)
    assert result.words == (Word("So,", 10.4, 10.6), Word("what?", 10.7, 11.0))
    assert result.timed
    del words[1]["end"]
    assert not signals(info("Update", "So, what?", 1.5, words=words))[0].timed


def test_words_and_transcript_that_do_not_match() -> None:
    apart = info("Update", "so what", 1.0, words=[{"word": "so"}, {"word": "what"}, {"word": "now"}])
    assert join(signals(apart)[0].words) == "so what now"
    assert join(signals(info("Update", "so what", 1.0, words=[]))[0].words) == "so what"
    assert join(signals(info("Update", "", 1.0, words=[{"word": "so"}, {"word": " "}]))[0].words) == "so"


def test_offset_moves_every_time() -> None:
    result, turn = signals(info("StartOfTurn", "so", 1.0, 0.5), offset=10.0)
    assert (result.start, result.end, result.words[0].start) == (10.5, 11.0, 10.5)
    assert turn == ProviderTurn(7.5, "started", 11.0)


# All the rest


def test_what_means_nothing() -> None:
    dialect = Flux(KEY)
    known: list[dict[str, Any]] = [
        {"type": "Connected", "sequence_id": 0},
        {"type": "ConfigureSuccess", "thresholds": {}},
    ]
    for message in known:
        assert list(dialect.decode(json.dumps(message), 0.0, 0.0)) == []
    assert dialect.ignored == 0
    unknown: list[dict[str, Any]] = [{"type": "Tomorrow"}, {}, info("SomethingNew", "tea")]
    for message in unknown:
        assert list(dialect.decode(json.dumps(message), 0.0, 0.0)) == []
    assert dialect.ignored == 3


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (
            {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "Oops."},
            "Error: INTERNAL_SERVER_ERROR: Oops.",
        ),
        ({"type": "Error"}, "Error: no details"),
        ({"type": "ConfigureFailure", "description": "Too many."}, "ConfigureFailure: Too many."),
        ({"type": "Warning", "code": "SLOW", "description": None}, "Warning: SLOW"),
    ],
)
def test_failures_and_warnings(message: dict[str, Any], detail: str) -> None:
    assert decode(message) == [ProviderFailed(detail, permanent=False)]


@pytest.mark.parametrize(
    "message",
    [
        *("", "hello", "[]", "null", b"{}"),
        {"type": 5},
        info("Update", "so", 1.0, audio_window_end=None),
        info("Update", "so", 1.0, audio_window_start=2.0),
        info("Update", "so", 1.0, audio_window_end=float("nan")),
        info("Update", "so", 1.0, audio_window_start=-1),
        info("Update", "so", 1.0, words=["so"]),
        info("Update", "so", 1.0, words={}),
        info("Update", "so", 1.0, transcript=["so"]),
        info("Update", "so", 1.0, words=[{"word": "so", "start": 2, "end": 1}]),
        info("Update", "", 1.0, words=[{"word": 5}]),
    ],
)
def test_messages_that_are_none(message: Any) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        decode(message)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 200


SAMPLES = [
    {"type": "Connected", "request_id": "0b6f4c2e", "sequence_id": 0},
    info("Update", "", 0.4),
    info("Update", "", 2.4),
    info("StartOfTurn", "stop", 2.9),
    info("EagerEndOfTurn", "stop it", 3.4, words=[{"word": "stop", "start": 2.5, "end": 2.8}, {"word": "it"}]),
    info("TurnResumed", "stop it now", 3.9),
    info("EndOfTurn", "Stop it now.", 4.4, trigger="model"),
    info("EndOfTurn", "Please.", 5.4, 4.4, trigger="manual"),
    {"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "..."},
    {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "..."},
]


@pytest.mark.parametrize("own_turns", [False, True])
def test_conforms(own_turns: bool) -> None:
    check_dialect(lambda: Flux(KEY, own_turns=own_turns), SAMPLES)
