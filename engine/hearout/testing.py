"""Conformance kit for dialects: what the link, the traces and the turn machine rely on, checked.

Call `check_dialect` from a test of your own::

    def test_conforms() -> None:
        check_dialect(lambda: MyProvider("a-key-that-is-no-key"), samples)

It needs hypothesis (``pip install 'hearout[testing]'``). The kit for policies and rules is in
`hearout_policies.testing`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from hearout.extras import needs_extra
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
from hearout_policies.signals import ProviderSpeechStarted, ProviderTurn, Transcript, UtteranceEnd

__all__ = ["check_dialect"]

_AT = 12.5  # session clock of all messages here
_OFFSET = 1000.0
_SECRET = 8  # a value in a header with fewer characters is no secret
_TIMES = ("audio", "start", "end", "last_word_end")
_HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    -0.5,
    10**400,
    math.nan,
    math.inf,
    "",
    " ",
    "\ud83d",
    "7",
    [],
    [None],
    {},
    {"": None},
)
_UNKNOWN = ("{}", '{"type": "SomethingOfTomorrow", "value": 1}')


def check_dialect(
    make_dialect: Callable[[], Dialect],
    samples: Sequence[WireMessage | Mapping[str, Any]],
    *,
    max_examples: int | None = None,
) -> None:
    """Check a dialect: what it sends, what it makes of ``samples``, and what it makes of anything else.

    Args:
        make_dialect: makes a new one, each time the same. Its key should be longer than 8 characters: it is
            looked for wherever it must not be.
        samples: messages of one connection, in order, as the provider sends them; mappings become JSON.
        max_examples: how many broken messages to try; None: as many as hypothesis's profile says.

    Raises:
        AssertionError: the dialect does not conform; says how.
    """
    messages = [m if isinstance(m, (str, bytes)) else json.dumps(m) for m in samples]
    check_sent(make_dialect())
    _check_samples(make_dialect, messages)
    for message in _UNKNOWN:
        assert not make_dialect().decode(message, _AT, 0.0), f"{message} is no message it can know, and means nothing"
    for sample in messages:
        for variant in _variants(json.loads(sample)) if isinstance(sample, str) else ():
            _check_hostile(make_dialect(), [json.dumps(variant)])
    _check_anything(make_dialect, messages, max_examples)


def check_sent(dialect: Dialect) -> None:
    """The part of `check_dialect` that needs no samples: its address, what it sends, and where its key must not be."""
    _check_secrets(dialect)
    _check_address(dialect)
    _check_sending(dialect)


def _secrets(dialect: Dialect) -> Iterator[str]:
    """What its headers hold, without a scheme such as ``Bearer``."""
    for _, value in dialect.headers():
        secret = value.split()[-1] if value.split() else ""
        if len(secret) >= _SECRET:
            yield secret


def _check_secrets(dialect: Dialect) -> None:
    opening = [m if isinstance(m, str) else m.decode("latin-1") for m in dialect.opening()]
    places = {"repr": repr(dialect), "str": str(dialect), "address": dialect.address(), "opening": "".join(opening)}
    for secret in _secrets(dialect):
        for place, text in places.items():
            assert secret not in text, f"a secret of the headers stands in its {place} too"
    for name, value in dialect.headers():
        assert isinstance(name, str), "headers are pairs of str"
        assert isinstance(value, str), "headers are pairs of str"
        assert value.isprintable(), f"header {name} holds a line break or the like"


def _check_address(dialect: Dialect) -> None:
    address = urlsplit(dialect.address())
    assert address.scheme in ("ws", "wss"), "the address of a websocket begins with ws:// or wss://"
    assert address.hostname, "the address has no host"
    assert address.username is None, "the address holds a user"
    assert dialect.name, "it has no name"
    assert dialect.name == dialect.name.lower(), "its name is lower case"
    assert dialect.sample_rate > 0
    assert dialect.channels > 0


def _check_sending(dialect: Dialect) -> None:
    for message in dialect.opening():
        assert message, "an empty message ends the stream at most providers; the opening holds one"
    frame = b"\x01\x00" * dialect.channels
    assert dialect.audio(frame), "audio became nothing"
    try:
        dialect.audio(b"")
    except ValueError:
        pass
    else:
        raise AssertionError("audio(b'') must raise ValueError: as a message it would end the stream")
    for channel in (None, *range(dialect.channels)):
        if (finalize := dialect.finalize(channel)) is not None:
            assert finalize, "finalize is an empty message"
            _check_recordable("finalize", finalize)
    _check_recordable("closing", dialect.closing())
    if dialect.keepalive_after is None:
        assert dialect.keepalive() is None, "a keepalive that is never due: set keepalive_after"
    else:
        assert dialect.keepalive_after > 0, "keepalive_after must be above 0"
        assert dialect.keepalive(), "keepalive is due after keepalive_after seconds, and there is none"
    assert dialect.longest is None or dialect.longest > 0, "longest must be above 0"
    _check_silence_after(dialect)


def _check_silence_after(dialect: Dialect) -> None:
    after = dialect.silence_after
    assert after is None or (math.isfinite(after) and after > 0), "silence_after must be above 0"


def _check_recordable(name: str, message: WireMessage) -> None:
    """Text goes into the trace, which holds JSON."""
    if isinstance(message, str):
        try:
            json.loads(message)
        except ValueError:
            raise AssertionError(f"{name} is text, but no JSON; send other text as bytes") from None


def _check_samples(make_dialect: Callable[[], Dialect], messages: Sequence[WireMessage]) -> None:
    used = make_dialect()
    before = _heard(used, messages, 0.0)
    for news in before:
        _check_news(used, news)
    assert any(before), "no sample means anything; give it some that do"
    again, moved = (_heard(make_dialect(), messages, offset) for offset in (0.0, _OFFSET))
    assert again == before, "two dialects made alike hear different things"
    assert _heard(used, messages, 0.0) == before, "after opening() it remembers the connection before"
    for here, there in zip(before, moved, strict=True):
        assert len(here) == len(there), "the offset changes what it hears"
        for a, b in zip(here, there, strict=True):
            assert _shifted(a, _OFFSET) == _shifted(b, 0.0), f"the offset is not added to every time: {a} became {b}"


def _heard(dialect: Dialect, messages: Sequence[WireMessage], offset: float) -> list[list[ProviderNews]]:
    """As on a connection: opened first, then one message after the other."""
    dialect.opening()
    return [list(dialect.decode(message, _AT, offset)) for message in messages]


def _shifted(news: ProviderNews, by: float) -> Any:
    """``news`` with its times moved and rounded, for comparison."""
    if not isinstance(news, Heard):
        return news
    values = {f.name: getattr(news.signal, f.name) for f in dataclasses.fields(news.signal)}
    for name in _TIMES:
        if values.get(name) is not None:
            values[name] = round(values[name] + by, 5)
    if "words" in values:
        values["words"] = [(w.text, round(w.start + by, 5), round(w.end + by, 5), w.spaced) for w in values["words"]]
    return news.channel, type(news.signal), values


def _check_news(dialect: Dialect, news: Sequence[ProviderNews]) -> None:
    for item in news:
        match item:
            case Heard(channel, signal):
                assert 0 <= channel < dialect.channels, f"channel {channel} does not exist"
                assert signal.at == _AT, f"{signal} is not stamped with the time of its arrival"
                if isinstance(signal, Transcript):
                    _check_transcript(signal)
                elif isinstance(signal, (UtteranceEnd, ProviderSpeechStarted, ProviderTurn)):
                    time = signal.last_word_end if isinstance(signal, UtteranceEnd) else signal.audio
                    assert time is None or _is_time(time), f"{signal} has a time that is none"
                else:
                    raise AssertionError(f"{type(signal).__name__} is not for a dialect to tell")
            case ProviderFailed(detail):
                _check_told("a failure", detail, dialect)
            case StreamFinished():
                pass
            case _:
                raise AssertionError(f"{item!r} is no ProviderNews")


def _check_transcript(result: Transcript) -> None:
    assert _is_time(result.start), f"{result} has a time that is none"
    assert _is_time(result.end), f"{result} has a time that is none"
    assert result.start <= result.end, f"{result} ends before it starts"
    assert result.is_final or not (result.endpoint or result.finalized), f"{result} is an end, and not final"
    for word in result.words:
        assert word.text, f"{result} has a word without text"
        assert word.text == word.text.strip(), f"{word} has outer blanks; `spaced` tells of them"
        word.text.encode()  # half a surrogate pair raises UnicodeEncodeError, which is a ValueError
        assert _is_time(word.start), f"{word} has a time that is none"
        assert _is_time(word.end), f"{word} has a time that is none"
        assert word.start <= word.end, f"{word} ends before it starts"


def _check_told(what: str, text: str, dialect: Dialect) -> None:
    assert text.strip(), f"{what} without a word"
    assert len(text) <= 500, f"{what} is told in a line, not at length"
    assert not any(secret in text for secret in _secrets(dialect)), f"{what} repeats the key"


def _is_time(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _check_anything(
    make_dialect: Callable[[], Dialect], messages: Sequence[WireMessage], max_examples: int | None
) -> None:
    """Broken messages, in between good ones: nothing but ValueError comes of them."""
    with needs_extra("testing", "check_dialect"):
        from hypothesis import HealthCheck, given, settings
        from hypothesis import strategies as st

    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=8)
    parsed = [json.loads(m) for m in messages if isinstance(m, str)]
    broken = st.builds(_broken, st.sampled_from(parsed or [{}]), st.randoms(use_true_random=False), values)
    anything = st.one_of(broken, values).map(_dumped) | st.text(max_size=20) | st.binary(max_size=20)
    count = settings().max_examples if max_examples is None else max_examples

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(anything, min_size=1, max_size=4))
    def nothing_but_value_error(hostile: list[WireMessage]) -> None:
        _check_hostile(make_dialect(), [*messages[:2], *hostile, *messages[2:4]])

    nothing_but_value_error()


def _check_hostile(dialect: Dialect, messages: Sequence[WireMessage]) -> None:
    dialect.opening()
    for message in messages:
        try:
            news = dialect.decode(message, _AT, 0.0)
        except ValueError as error:
            _check_told("an error", str(error), dialect)
        else:
            _check_news(dialect, news)
        _check_silence_after(dialect)


def _variants(value: Any) -> Iterator[Any]:
    """Copies of the JSON ``value``, in each of which one thing is something that it should not be."""
    yield from _HOSTILE
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            for variant in _variants(value[key]):
                yield {**value, key: variant}
    elif isinstance(value, list):
        for place, item in enumerate(value):
            for variant in _variants(item):
                yield [*value[:place], variant, *value[place + 1 :]]


def _objects(values: Any) -> Any:
    from hypothesis import strategies as st

    keys = st.text(max_size=4) | st.sampled_from(("type", "text", "words", "start", "end"))
    return st.dictionaries(keys, values, max_size=3)


def _dumped(value: Any) -> str:
    return json.dumps(value)


def _broken(value: Any, rng: Any, replacement: Any) -> Any:
    """A copy of the JSON ``value`` with one thing somewhere in it replaced, doubled or taken away."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _broken(value[key], rng, replacement)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        count = rng.choice((0, 1, 1, 1, 2))
        return [*value[:place], *[_broken(value[place], rng, replacement)] * count, *value[place + 1 :]]
    return replacement
