"""What became of each word that was said: handed on in time, late, or not at all.

Words are compared as they are written, without case and marks; in scripts without blanks, character by character.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate

from hearout.report.commits import Commit
from hearout.tune.episodes import Episode
from hearout_policies.marks import bare, has_word, is_blankless, pieces

__all__ = ["MOST", "lost_and_late"]

MOST = 1000  # words of a turn that are compared; what is longer is no turn
_BY_THEN = 0.05  # seconds by which the end of a word is not known better

Token = tuple[int, str]  # of which word, or of which commit


def lost_and_late(turns: Sequence[Episode], found: Sequence[Sequence[Commit]]) -> list[tuple[int, int]]:
    """For each turn how many of its words were lost, and how many were late.

    A word may come with a commit of its turn, or of the next turn that has any. What a commit has in it is laid to
    what was said since the one before, if it can be, and only once: whoever says again what was lost is not late.

    Args:
        turns: of one channel, in order.
        found: the commits of each.
    """
    firsts = [0, *accumulate(len(made) for made in found)]
    said: list[list[Token]] = []
    due: list[int] = []
    for first, turn, made in zip(firsts, turns, found, strict=False):
        times = [commit.at for commit in made]
        said.append([])
        for word in turn.words[:MOST]:
            said[-1] += [(len(due), token) for token in _tokens(word.text)]
            due.append(first + bisect_left(times, word.end + turn.offset - _BY_THEN))
    ends = [
        next((end for end in firsts[number + 2 :] if end > firsts[number + 1]), firsts[-1])
        for number in range(len(turns))
    ]
    windows = list(zip(firsts, ends, strict=False))
    commits = [commit for made in found for commit in made]
    by = _handed_on(said, due, windows, [_tokens(commit.text) for commit in commits])
    rest = [[one for one in mine if one[0] not in by] for mine in said]
    amended = _handed_on(rest, due, windows, [_added(_tokens(c.text), _tokens(c.more)) for c in commits])
    out = []
    for mine in said:
        numbers = {number for number, _ in mine}
        lost = sum(number not in by and number not in amended for number in numbers)
        out.append((lost, sum(number in amended or by.get(number, -1) > due[number] for number in numbers)))
    return out


def _handed_on(
    said: Sequence[Sequence[Token]],
    due: Sequence[int],
    windows: Sequence[tuple[int, int]],
    texts: Sequence[Sequence[str]],
) -> dict[int, int]:
    """By which commit each word was handed on: number of the word to that of the commit.

    Args:
        said: by turn.
        due: by word, the first commit after it.
        windows: by turn, the commits that may have its words.
        texts: by commit.
    """
    out: dict[int, int] = {}
    timely: dict[int, list[Token]] = {}
    for mine in said:
        for one in mine:
            timely.setdefault(due[one[0]], []).append(one)
    left: list[list[Token]] = []
    for order, text in enumerate(texts):
        handed = [(order, token) for token in text[: 2 * MOST]]
        left.append(list(handed))
        for one, other in _in_order(timely.get(order, ()), handed):
            out[one[0]] = order
            left[-1].remove(other)
    for mine, (first, end) in zip(said, windows, strict=True):
        # What came in order goes before what did not: a late word may stand behind words that were said after it.
        for pairs_of in (_in_order, _anyhow):
            missing = [one for one in mine if one[0] not in out]
            pool = [one for order in range(first, end) for one in left[order]]
            for one, other in pairs_of(missing, pool):
                out.setdefault(one[0], other[0])
                left[other[0]].remove(other)
    return out


def _in_order(one: Sequence[Token], other: Sequence[Token]) -> list[tuple[Token, Token]]:
    """What is the same in both, in the same order."""
    matcher = SequenceMatcher(None, [token for _, token in one], [token for _, token in other], autojunk=False)
    return [(one[a + n], other[b + n]) for a, b, size in matcher.get_matching_blocks() for n in range(size)]


def _anyhow(one: Sequence[Token], other: Sequence[Token]) -> list[tuple[Token, Token]]:
    """What is the same in both, the first in each first."""
    places: dict[str, list[Token]] = {}
    for token in reversed(other):
        places.setdefault(token[1], []).append(token)
    return [(token, places[token[1]].pop()) for token in one if places.get(token[1])]


def _added(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """What a correction brought."""
    out = [(place, token) for place, token in enumerate(after)]
    for _, known in _in_order([(0, token) for token in before], out):
        out.remove(known)
    return [token for _, token in out]


def _tokens(text: str) -> list[str]:
    out: list[str] = []
    for piece in pieces(text):
        if has_word(piece):
            out += list(bare(piece)) if is_blankless(piece) else [bare(piece)]
    return out
