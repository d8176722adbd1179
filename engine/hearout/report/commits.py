"""When a turn detection ended turns: what it did, and what another policy would have done.

Each commit belongs to a turn of the user, and to the pause it was made in, if it was made in one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hearout.tune.episodes import Episode, run
from hearout.tune.figures import COLLAR
from hearout.tune.labels import Pause
from hearout_policies.events import TurnCompleted
from hearout_policies.policy import Policy
from hearout_policies.words import join, middle

__all__ = ["Commit", "Placed", "begin_of", "kept", "placed", "predicted", "text_between"]


@dataclass(frozen=True, slots=True)
class Commit:
    """A turn was taken for over, and its text handed on.

    Attributes:
        at: session clock.
        more: the text as it was corrected later.
        event: ours.
    """

    at: float
    text: str
    more: str = ""
    event: TurnCompleted | None = None


#: Of a turn: each with the pause it was made in; None: in the midst of speech.
Placed = Sequence[tuple[Commit, Pause | None]]


def begin_of(turn: Episode) -> float:
    """When the user began it (session clock)."""
    return turn.words[0].start + turn.offset if turn.words else turn.pauses[0].start


def text_between(turn: Episode, start: float, stop: float) -> str:
    """What was said in that time (session clock)."""
    return join(word for word in turn.words if start <= middle(word) + turn.offset < stop)


def placed(turns: Sequence[Episode], commits: Sequence[Commit]) -> Sequence[Placed]:
    """To which turn each of the commits that were made belongs, and to which pause.

    Args:
        turns: of one channel, in order.
        commits: in order of time; those before anybody spoke belong to no turn.
    """
    places = [(number, pause) for number, turn in enumerate(turns) for pause in turn.pauses]
    starts = [pause.start - COLLAR for _, pause in places]
    found: list[list[tuple[Commit, Pause | None]]] = [[] for _ in turns]
    for commit in commits:
        index = bisect_right(starts, commit.at) - 1
        speaking = commit.at >= (places[index][1].resume if index >= 0 else begin_of(turns[0]) if turns else math.inf)
        if speaking and index + 1 < len(places):
            found[places[index + 1][0]].append((commit, None))
        elif index >= 0:
            found[places[index][0]].append((commit, places[index][1]))
    return found


def predicted(turn: Episode, policy: Policy) -> Placed:
    """What ``policy`` would have made of a turn by itself (`hearout.tune.episodes.run`).

    There the user does not speak again behind the last pause: had one waited longer, the agent would have, too. Where
    the user spoke on nevertheless, a commit after that was noticed would not have come; one before it, but after he
    began, is made in the midst of speech.
    """
    last = turn.pauses[-1]
    commits = [Commit(one.at, one.turn.text, event=one.turn) for one in run(turn, policy)]
    (found,) = placed([replace(turn, pauses=(*turn.pauses[:-1], replace(last, resume=math.inf)))], commits)
    out: list[tuple[Commit, Pause | None]] = []
    for commit, pause in found:
        if last.why != "cut in" or commit.at < last.resume:
            out.append((commit, pause and next(own for own in turn.pauses if own.start == pause.start)))
        elif commit.at < turn.resumed:
            out.append((commit, None))
    return out


def kept(turns: Sequence[Episode], found: Sequence[Placed]) -> list[Placed]:
    """Predictions, turn by turn, put together: the words of a turn that was not ended are handed on with the next.

    Args:
        turns: of one channel, in order.
        found: of each, without what was said before it.
    """
    out: list[Placed] = []
    before = ""
    for turn, mine in zip(turns, found, strict=True):
        if before and mine:
            (first, pause), *more = mine
            mine, before = [(replace(first, text=f"{before} {first.text}"), pause), *more], ""
        out.append(mine)
        if not mine and turn.pauses[-1].why == "cut in":
            before = f"{before} {text_between(turn, -math.inf, math.inf)}".strip()
    return out
