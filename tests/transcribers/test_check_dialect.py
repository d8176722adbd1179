"""The conformance kit for dialects: ours pass, the example of the documents too, and each fault is found."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from hearout.testing import check_dialect
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.signals import Tick, Transcript, Word
from tests.kit.paths import DOCS

KEY = "a-key-that-is-no-key"
PAGE = DOCS / "providers.md"


def results(start: float, *words: tuple[str, float, float], **flags: Any) -> dict[str, Any]:
    items = [{"word": w, "start": s, "end": e, "punctuated_word": w} for w, s, e in words]
    heard = {"alternatives": [{"transcript": " ".join(w for w, _, _ in words), "words": items}]}
    return {"type": "Results", "channel_index": [1, 2], "start": start, "duration": 1.0, "channel": heard} | flags


DEEPGRAM = [
    {"type": "SpeechStarted", "channel": [0, 2], "timestamp": 0.4},
    results(0.0, ("Two", 0.4, 0.7)),
    results(0.0, ("Two", 0.4, 0.7), ("teas.", 0.7, 1.0), is_final=True, speech_final=True),
    {"type": "UtteranceEnd", "channel": [1, 2], "last_word_end": 1.0},
    {"type": "UtteranceEnd", "channel": [1, 2], "last_word_end": -1},
    results(1.0, is_final=True, from_finalize=True),
    {"type": "Error", "description": "..."},
    {"type": "Metadata", "request_id": "0b6f"},
]


def test_deepgram_conforms() -> None:
    check_dialect(lambda: Deepgram(KEY, channels=2), DEEPGRAM)


def test_the_example_of_the_documents_conforms() -> None:
    """The code blocks of the page, one after the other, are a module with a test of its own."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    code = "\n".join(block for block in blocks if "Parrot" in block)
    assert len(code.splitlines()) > 50
    module: dict[str, Any] = {"__name__": "parrot"}
    exec(compile(code, str(PAGE), "exec"), module)
    module["test_parrot_conforms"]()
    parrot = module["Parrot"](KEY)
    news = parrot.decode(
        '{"said": [{"word": "Hi", "from": 0.2, "to": 0.4}], "from": 0, "to": 1, "sure": true}', 3.0, 5.0
    )
    assert news == [Heard(0, Transcript(3.0, (Word("Hi", 5.2, 5.4),), 5.0, 6.0, is_final=True))]


@dataclasses.dataclass
class Plain:
    """A dialect without a fault; the message ``{"at": SECONDS}`` is a word there."""

    key: str = dataclasses.field(default=KEY, repr=False)
    name: str = "plain"
    sample_rate: int = 16000
    channels: int = 1
    keepalive_after: float | None = 5.0
    longest: float | None = None
    silence_after: float | None = None

    def address(self) -> str:
        return "wss://plain.example/listen"

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {self.key}")]

    def opening(self) -> Sequence[WireMessage]:
        return ()

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio")
        return pcm

    def finalize(self, channel: int | None = None) -> WireMessage | None:
        return None

    def keepalive(self) -> WireMessage | None:
        return "{}"

    def closing(self) -> WireMessage:
        return b""

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        if isinstance(message, bytes):
            raise ValueError("binary")
        try:
            data = json.loads(message)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(data, dict) or "at" not in data:
            return []
        place = data["at"]
        if isinstance(place, bool) or not isinstance(place, (int, float)) or not 0 <= place < 1e6:
            raise ValueError("at must be a time")
        return [
            self.heard(
                Transcript(at, (Word("tick", place + offset, place + offset),), place + offset, place + offset, True)
            )
        ]

    def heard(self, result: Transcript) -> ProviderNews:
        return Heard(0, result)


SAMPLES: list[WireMessage | Mapping[str, Any]] = [{"at": 1}, {"at": 2.5}]


def test_a_dialect_without_a_fault_passes() -> None:
    dialect: Dialect = Plain()
    assert dialect.name == "plain"
    check_dialect(Plain, SAMPLES, max_examples=20)


def say(name: str, value: Any) -> Callable[..., Any]:
    """A subclass of Plain whose method ``name`` always returns ``value``."""
    return type("Faulty", (Plain,), {name: lambda *args, **kwargs: value})


def hear(change: Callable[[Transcript], Any]) -> Callable[..., Any]:
    """A subclass of Plain which hears what ``change`` makes of a result."""
    return type("Faulty", (Plain,), {"heard": lambda self, result: change(result)})


def hear_with(**values: Any) -> Callable[..., Any]:
    return hear(lambda result: Heard(0, dataclasses.replace(result, **values)))


class RaisesKeyError(Plain):
    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        return super().decode(json.dumps({"at": json.loads(message)["at"]}), at, offset)


class ForgetsTheOffset(Plain):
    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        return super().decode(message, at, 0.0)


class Remembers(Plain):
    count = 0

    def heard(self, result: Transcript) -> ProviderNews:
        self.count += 1
        return Heard(0, dataclasses.replace(result, end=result.end + self.count))


class TrustsTimes(Plain):
    """Python's JSON knows NaN and Infinity; a time may also be negative."""

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        if isinstance(message, bytes):
            raise ValueError("binary")
        data = json.loads(message)
        place = data.get("at") if isinstance(data, dict) else None
        if not isinstance(place, float):
            return super().decode(message, at, offset)
        return [Heard(0, Transcript(at, (), place + offset, place + offset, True))]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: Plain(key="secret-in-the-repr", name="secret-in-the-repr"),
            "a secret of the headers stands in its repr",
        ),
        (say("address", f"wss://plain.example/?token={KEY}"), "stands in its address"),
        (say("opening", (json.dumps({"api_key": KEY}),)), "stands in its opening"),
        (say("opening", (b"",)), "the opening holds one"),
        (say("headers", [("Authorization", "Bearer a\r\nHost: b")]), "line break"),
        (say("address", "https://plain.example"), "begins with ws://"),
        (say("address", "wss://me@plain.example"), "holds a user"),
        (lambda: Plain(name="Plain"), "lower case"),
        (say("audio", b"x"), "audio"),
        (say("finalize", ""), "finalize is an empty message"),
        (say("finalize", "FLUSH"), "finalize is text, but no JSON"),
        (say("closing", ""), "closing is text, but no JSON"),
        (lambda: Plain(keepalive_after=0.0), "above 0"),
        (lambda: Plain(keepalive_after=None), "never due"),
        (lambda: Plain(longest=0.0), "longest must be above 0"),
        (lambda: Plain(silence_after=0.0), "silence_after must be above 0"),
        (say("keepalive", None), "there is none"),
        (say("decode", []), "no sample means anything"),
        (hear(lambda result: Heard(1, result)), "channel 1 does not exist"),
        (hear(lambda result: Heard(0, Tick(result.at))), "not for a dialect to tell"),
        (hear(lambda result: result), "no ProviderNews"),
        (hear(lambda result: ProviderFailed(f"the key {KEY} is wrong", True)), "repeats the key"),
        (hear(lambda result: ProviderFailed("", True)), "without a word"),
        (hear_with(at=3.0), "not stamped"),
        (hear_with(start=float("nan")), "a time that is none"),
        (hear_with(end=-1.0), "a time that is none"),
        (hear_with(end=0.5), "ends before it starts"),
        (hear_with(is_final=False, endpoint=True), "an end, and not final"),
        (hear_with(words=(Word("", 1, 1),)), "without text"),
        (hear_with(words=(Word(" a", 1, 1),)), "outer blanks"),
        (hear_with(words=(Word("a", 2, 1),)), "ends before it starts"),
        (ForgetsTheOffset, "offset is not added"),
        (Remembers, "remembers the connection before"),
        (lambda: say("decode", [StreamFinished()])(), "is no message it can know"),
        (TrustsTimes, "a time that is none"),
    ],
)
def test_each_fault_is_found(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_dialect(make, SAMPLES, max_examples=300)
    assert says in str(caught.value)


def test_other_errors_than_value_error_come_out() -> None:
    with pytest.raises(KeyError):
        check_dialect(RaisesKeyError, SAMPLES, max_examples=20)
