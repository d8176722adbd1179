"""Words without times: which stand for which that were shown before, and where they were spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from hearout_policies.marks import spoken
from hearout_policies.signals import Word
from hearout_policies.words import spread

__all__ = ["alike", "begins_with", "behind", "laid", "moved", "standing_for"]


def begins_with(texts: Sequence[str], words: Sequence[Word]) -> bool:
    """``texts`` begin with ``words``, but for marks and capitals."""
    head = _plain(texts[: len(words)])
    return len(head) == len(words) and head == _plain([word.text for word in words])


def standing_for(texts: Sequence[str], words: Sequence[Word]) -> int:
    """How many of ``texts``, from the first on, stand for ``words``, some of which may be written otherwise now."""
    blocks = SequenceMatcher(None, _plain([word.text for word in words]), _plain(texts), autojunk=False)
    last = blocks.get_matching_blocks()[-2:][0]  # the very last block is empty
    if not last.size:
        return min(len(texts), len(words))
    return min(len(texts), last.b + len(words) - last.a)


def alike(texts: Sequence[str], words: Sequence[Word]) -> bool:
    """One begins with the other: at least half of the words that both have are the same."""
    pairs = list(zip(_plain(texts), _plain([word.text for word in words]), strict=False))
    return 2 * sum(one == other for one, other in pairs) >= len(pairs) > 0


def behind(texts: Sequence[str], words: Sequence[Word]) -> tuple[Word, ...]:
    """What is left of ``words`` behind ``texts``, if they begin with them."""
    return tuple(words[len(texts) :]) if texts and begins_with(texts, words[: len(texts)]) else ()


def moved(words: Sequence[Word], texts: Sequence[str]) -> tuple[Word, ...]:
    """``texts`` where ``words`` are that they stand for."""
    if len(texts) == len(words):
        return tuple(replace(word, text=text) for word, text in zip(words, texts, strict=True))
    return spread(texts, words[0].start, words[-1].end) if words else ()


def laid(texts: Sequence[str], stretches: Sequence[tuple[float, float]]) -> tuple[Word, ...]:
    """Words laid evenly over stretches of speech, each word within one; seconds, in order."""
    total = sum(stop - start for start, stop in stretches)
    words: list[Word] = []
    done = 0.0
    for number, (start, stop) in enumerate(stretches):
        done += stop - start
        last = number == len(stretches) - 1
        until = len(texts) if last else round(len(texts) * done / total) if total else len(texts)
        words += spread(texts[len(words) : until], start, stop)
    return tuple(words)


def _plain(texts: Sequence[str]) -> list[str]:
    return [spoken(text) for text in texts]
