"""The checks of options: by the types that a dataclass declares, however it spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Optional

import pytest

from hearout.errors import UsageError
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.options import check_types, check_url

Seconds = float


@dataclass
class Options:
    shared: ClassVar[int] = 3
    on: bool = True
    count: int = 1
    patience: Seconds = 1.0
    name: str = "x"
    words: Several[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    maybe: int | None = None
    old: Optional[float] = None  # noqa: UP045
    kind: Literal["a", "b"] = "a"
    both: str | Mapping[str, Any] | None = None
    extra: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


GOOD: list[dict[str, Any]] = [
    {},
    {"patience": 1},
    {"words": ["a", "b"]},
    {"words": ("a",)},
    {"more": {"a": None}},
    {"maybe": 5},
    {"old": 2},
    {"both": ""},  # these three are for the class itself to check
    {"kind": "c"},
    {"extra": 7},
]


@pytest.mark.parametrize("values", GOOD, ids=str)
def test_what_is_right_passes(values: dict[str, Any]) -> None:
    check_types("X", Options(**values))


BAD = [
    ({"on": 1}, "on must be of type bool, not 1"),
    ({"on": None}, "on must be of type bool, not None"),
    ({"count": 1.0}, "count must be of type int, not 1.0"),
    ({"count": True}, "count must be of type int, not True"),
    ({"patience": "1"}, "patience must be of type float, not '1'"),
    ({"patience": False}, "patience must be of type float, not False"),
    ({"name": ""}, "name must not be empty"),
    ({"name": b"x"}, "name must be of type str, not b'x'"),
    ({"words": "a"}, "words must be of type Sequence[str], not 'a'"),
    ({"words": ["a", ""]}, "words must be of type Sequence[str], not ['a', '']"),
    ({"more": {1: 2}}, "more must be of type Mapping[str, Any]"),
    ({"maybe": "5"}, "maybe must be of type int | None, not '5'"),
    ({"old": "5"}, "old must be of type float | None, not '5'"),
]


@pytest.mark.parametrize(("values", "says"), BAD)
def test_what_is_wrong_is_one_line(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=f"^X: {re.escape(says)}$"):
        check_types("X", Options(**values))


def test_a_class_of_ones_own_is_checked_too() -> None:
    @dataclass(eq=False)
    class Mine(Deepgram):
        tries: int = 3

    Mine("key")
    with pytest.raises(UsageError, match=r"^Deepgram: tries must be of type int, not 'many'$"):
        Mine("key", tries="many")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "\ud800"}, "name holds half a character"),
        ({"words": ["\udfff"]}, "words must be of type"),
        ({"more": {"a": float("nan")}}, "more must be what JSON can hold"),
        ({"more": {"a": "\ud800"}}, "more must be what JSON can hold"),
        ({"more": {"a": object()}}, "more must be what JSON can hold"),
        ({"name": 10**5000}, "name must be of type str, not a very large number"),
    ],
)
def test_what_could_not_be_sent(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_types("X", Options(**values))


@pytest.mark.parametrize(
    "url", ["wss://a b/x", "wss://host/x\r\ny", "wss://h\u00f6st/", "wss://host/\ud800", "wss://host/x\t"]
)
def test_a_url_that_cannot_work(url: str) -> None:
    with pytest.raises(UsageError, match="must be ws://HOST"):
        check_url("X", url, "X_KEY")
