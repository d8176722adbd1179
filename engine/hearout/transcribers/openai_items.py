"""OpenAI's items, segments of audio that a commit ends, as results.

The text of an item comes when it is done, at times after later commits; final results come in the order of the commits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hearout.fields import field_of
from hearout.transcribers.base import Heard, ProviderNews, StreamFinished
from hearout.writing import printable
from hearout_policies.signals import Transcript
from hearout_policies.words import spread

__all__ = ["ItemReader"]

_MOST = 16  # items that may wait for the text of one before them; then it is what it is
_MOST_TOLD = 64  # items that are known to be over


@dataclass
class _Item:
    """A segment.

    Attributes:
        committed: session clock: when it was told that it is over; its text may be to come.
        text: of the deltas so far.
        final: all of it; None: it is not done.
    """

    committed: float | None = None
    text: str = ""
    final: str | None = None


class ItemReader:
    """Reads the messages of one connection, in order. Pure, but for what it remembers of the items before."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}  # in order of their commits
        self._told: deque[str] = deque(maxlen=_MOST_TOLD)  # over

    def knows(self, data: dict[str, Any]) -> bool:
        """The item of this message is over: it is told again."""
        return data.get("item_id") in self._told

    def committed(self, data: dict[str, Any], at: float, offset: float) -> Iterator[ProviderNews]:
        """An item is complete; its text may be to come."""
        if self.knows(data):
            return
        self._item(data).committed = at
        if len(self._items) > _MOST:
            yield from self._done(at, offset)

    def delta(self, data: dict[str, Any], at: float, offset: float) -> Iterator[ProviderNews]:
        """More text of an item."""
        if self.knows(data):
            return
        delta = field_of(data, "delta", str, "")
        self._item(data).text += delta
        texts = [item.text if item.final is None else item.final for item in self._items.values()]
        yield _result(" ".join(texts), at, offset)

    def completed(self, data: dict[str, Any], text: str, at: float, offset: float) -> Iterator[ProviderNews]:
        """All text of an item."""
        if self.knows(data):
            return
        item = self._item(data)
        item.final = text
        item.committed = at if item.committed is None else item.committed
        yield from self._done(at, offset)

    def nothing_left(self, at: float, offset: float) -> Iterator[ProviderNews]:
        """A commit had nothing behind it."""
        yield _result("", at, offset, is_final=True)
        yield from self._finished()

    def _item(self, data: dict[str, Any]) -> _Item:
        return self._items.setdefault(str(field_of(data, "item_id", str, "")), _Item())

    def _done(self, at: float, offset: float) -> Iterator[ProviderNews]:
        over = [name for name, item in self._items.items() if item.committed is not None]
        for number, name in enumerate(over):
            item = self._items[name]
            if item.final is None and len(over) - number <= _MOST:
                break  # those behind it wait
            del self._items[name]
            if name:
                self._told.append(name)
            text = item.text if item.final is None else item.final
            yield replace(_result(text, at, offset, is_final=True), by=item.committed)
        yield from self._finished()

    def _finished(self) -> Iterator[ProviderNews]:
        """With nothing open, a stream that was asked to close is at its end; the link knows whether it was."""
        if not self._items:
            yield StreamFinished()


def _result(text: str, at: float, offset: float, *, is_final: bool = False) -> Heard:
    words = spread(printable(text).split(), offset, offset)
    return Heard(0, Transcript(at, words, offset, offset, is_final, finalized=is_final, timed=not words))
