"""A key is in nothing that comes of what a server says, wherever it was cut, and however it was escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hearout import AssemblyAI, Deepgram, Dialect, ElevenLabs, Flux, OpenAIRealtime, Soniox, UsageError
from hearout.link.secrets import masked, masked_message, redact
from tests.kit.secret import KEY, told

KEYS = [
    KEY,
    "sk-Ab+/9=Zt0qLm/Nv+8Rk2Wd5",
    'quoted"back\\slash-uvwxZTypXm',
    "exactly12chr",
]
DIALECTS = [Deepgram, Flux, Soniox]


@pytest.fixture(params=DIALECTS, ids=lambda kind: kind.__name__)
def dialect(request: pytest.FixtureRequest, key: str) -> Dialect:
    made: Dialect = request.param(key)
    return made


@pytest.fixture(params=KEYS, ids=["hex", "base64", "odd", "short"])
def key(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def escaped(text: str) -> Iterator[str]:
    """In JSON, without its quotes: as usual, each character escaped, and one of them."""
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield "".join(f"\\u{ord(char):04x}" for char in text)
    yield text.replace("\\", "\\\\").replace('"', '\\"').replace("/", "\\/")
    for at in range(len(text)):
        head, tail = json.dumps(text[:at])[1:-1], json.dumps(text[at + 1 :])[1:-1]
        yield f"{head}\\u{ord(text[at]):04X}{tail}"


def test_at_every_cut(dialect: Dialect, key: str) -> None:
    text = f"the key {key} is not valid, {key}"
    for at in range(len(text) + 1):
        for piece in (text[:at], text[at:]):
            assert told(redact(piece, dialect), key) is None
            assert told(masked(piece, dialect), key) is None
    assert redact(text, dialect) == "the key *** is not valid, ***"


def test_escaped_at_every_cut(dialect: Dialect, key: str) -> None:
    for spelled in escaped(key):
        text = '{"error": "bad key ' + spelled + '"}'
        for at in range(len(text) + 1):
            for piece in (text[:at], text[at:]):
                shown = redact(piece, dialect)
                assert told(shown, key) is None
                assert told(re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), shown), key) is None
                assert told(shown.replace("\\", ""), key) is None


def test_in_every_string_of_a_message(dialect: Dialect, key: str) -> None:
    for spelled in escaped(key):
        for begin, end in [(0, None), (0, 20), (1, None), (len(key) - 10, None), (0, -1)]:
            part = next(iter(escaped(key[begin:end]))) if (begin, end) != (0, None) else spelled
            message = '{"type": "Error", "%s": ["%s", {"a": "(%s)"}], "n": 1.5}' % (part, part, part)  # noqa: UP031
            clean = masked_message(message, dialect)
            assert isinstance(clean, str)
            if begin in (0, len(key) - 10):
                assert told(json.dumps(json.loads(clean), ensure_ascii=False), key) is None
                assert json.loads(clean)["n"] == 1.5


def test_what_has_no_key_stays_as_it_is(dialect: Dialect) -> None:
    for message in ('{"text": "gr\\u00fc\\u00df dich"}', '{"a": 1}', "no JSON \\u0041", b"\0\1", "[" * 20_000 + "\\"):
        assert masked_message(message, dialect) is message


@pytest.mark.parametrize("depth", [300, 600, 900, 20_000])
def test_at_any_depth(dialect: Dialect, key: str, depth: int) -> None:
    for text in ('a \\"b\\"', next(escaped(key))):
        clean = masked_message("[" * depth + f'"{text}"' + "]" * depth, dialect)
        assert told(str(clean), key) is None


SECRETS = [
    (Deepgram, {"extra": {"x_token": KEY}}),
    (Deepgram, {"url": f"wss://proxy.example/v1?api-key={KEY}"}),
    (Soniox, {"extra": {"more": {"signature": [KEY]}}}),
    (OpenAIRealtime, {"extra": {"client_secret": {"value": KEY}}}),
    (AssemblyAI, {"extra": {"token": KEY}}),
    (ElevenLabs, {"url": f"wss://proxy.example/v1?password={KEY}"}),
    (Flux, {"extra": {"credentials": KEY}}),
]


@pytest.mark.parametrize(("kind", "options"), SECRETS)
def test_secrets_that_are_options(kind: type[Dialect], options: dict[str, Any]) -> None:
    dialect = kind("a-key-that-is-no-key", **options)  # type: ignore[call-arg]
    assert told(repr(dialect)) is None
    assert redact(f"{KEY} is wrong", dialect) == "*** is wrong"
    assert told(str(masked_message(json.dumps({"a": [KEY]}), dialect))) is None


def test_what_is_said_is_no_secret() -> None:
    url = "wss://api.example.com/v1?keyterm=a+long+sentence&token=b%2Blong%2Btoken"
    dialect = Deepgram("a-key-that-is-no-key", url, extra={"phrases": ["another long one"], "token": "short"})
    for said in ("a long sentence", "another long one"):
        assert redact(said, dialect) == said
    assert redact("b%2Blong%2Btoken b+long+token", dialect) == "*** ***"


@pytest.mark.parametrize("kind", [AssemblyAI, Deepgram, ElevenLabs, Flux, OpenAIRealtime, Soniox])
@pytest.mark.parametrize(
    "options",
    [{"url": f"https://proxy.example/?token={KEY}"}, {"extra": KEY}, {"extra": {"token": {KEY}}}, {"extra": [KEY]}],
)
def test_a_refused_option_is_not_repeated(kind: type[Dialect], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        kind("a-key-that-is-no-key", **options)  # type: ignore[call-arg]
    assert told(f"{caught.value!r}") is None


def test_a_short_key_is_a_word() -> None:
    assert redact("local is what was said", Deepgram("local")) == "local is what was said"
