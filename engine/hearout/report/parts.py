"""What a turn detection made of a user's turns: when it ended them, whether the user went on, which words it had.

The same questions are put to everybody, the voicebot's own turn detection and ours, whatever they decide by: all that
counts is when they ended a turn, and with which text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hearout.report.commits import Placed, text_between
from hearout.report.words import MOST, lost_and_late
from hearout.tune.episodes import Episode
from hearout.tune.figures import COLLAR
from hearout.tune.labels import Pause

__all__ = ["CUT_IN", "Backchannel", "Part", "UserTurn", "only_listens", "parts"]

CUT_IN = 2.0  # seconds after a commit within which whoever goes on had not finished

#: Is this text nothing but "I am listening"?
IsBackchannel = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Part:
    """What one turn detection made of one turn of the user.

    Attributes:
        commits: when it took the turn for over (session clock).
        judged: commits of which can be told whether the user went on.
        early: those after which the user did, however much later, or was speaking already.
        cut_ins: those of them after which it was within `CUT_IN` seconds.
        delay: seconds from the end of speech to the commit; infinite: there was none; None: nobody knows whether that
            was the end.
        words: of the turn, that had to be handed on.
        lost: those that never were.
        late: those that came with a later commit, or correction, than the first after they were spoken.
        split: the turn was handed on in pieces, or without what its user went on with as the agent began.
        aside: it is no turn, but "I am listening", said over the agent.
    """

    commits: tuple[float, ...] = ()
    judged: int = 0
    early: int = 0
    cut_ins: int = 0
    delay: float | None = None
    words: int = 0
    lost: int = 0
    late: int = 0
    split: bool = False
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Backchannel:
    """The user said no more than "I am listening" over the agent's speech.

    Attributes:
        at: session clock.
        bot, ours: it was taken for an interruption; None: nobody knows.
    """

    at: float
    bot: bool | None
    ours: bool | None


@dataclass(frozen=True, slots=True)
class UserTurn:
    """One turn of the user: all it said until its end, or until it cannot be told any more.

    Attributes:
        start, end: session clock.
        hour: of the day at which it ended ("14"); empty: not known.
        policy: name of the policy that was in force.
        asked: what the application said it had asked for, by name, with commas; empty: nothing.
        bot: None: the trace does not say what the voicebot's turn detection did.
        backchannels: in it.
    """

    channel: int
    start: float
    end: float
    text: str
    hour: str
    policy: str
    asked: str
    bot: Part | None
    ours: Part
    backchannels: tuple[Backchannel, ...] = ()


def parts(turns: Sequence[Episode], found: Sequence[Placed], is_backchannel: IsBackchannel) -> list[Part]:
    """One part a turn.

    Args:
        turns: of one channel, in order.
        found: the commits of each.
    """
    out = []
    missing = lost_and_late(turns, [[commit for commit, _ in mine] for mine in found])
    for number, (turn, mine) in enumerate(zip(turns, found, strict=True)):
        following = turns[number + 1] if number + 1 < len(turns) else None
        goes_on = following is None or not only_listens(following, is_backchannel)
        went_on = [_went_on(pause, goes_on) for _, pause in mine]
        soon = [pause is None or pause.resume - commit.at <= CUT_IN for commit, pause in mine]
        last = turn.pauses[-1]
        first = next((commit.at - last.start for commit, pause in mine if pause is last), math.inf)
        delay = first if last.kind == "end" else None
        over = all(pause.why == "over the agent" for pause in turn.pauses)
        aside = over and is_backchannel(text_between(turn, -math.inf, math.inf))
        judged = delay is not None or (bool(mine) and not aside) or last.why == "cut in"
        words = len(turn.words[:MOST]) if judged else 0
        lost, late = missing[number] if judged else (0, 0)
        out.append(
            Part(
                tuple(commit.at for commit, _ in mine),
                sum(known is not None for known in went_on),
                sum(known is True for known in went_on),
                sum(known is True and at_once for known, at_once in zip(went_on, soon, strict=True)),
                delay,
                words,
                lost,
                late,
                (len(mine) > 1 and not aside) or (last.why == "cut in" and True in went_on),
                aside,
            )
        )
    return out


def _went_on(pause: Pause | None, goes_on: bool) -> bool | None:
    """Did the user, with this turn? None: nobody knows.

    Args:
        goes_on: with what is said behind it, unless that is an "uh-huh".
    """
    if pause is None:
        return True
    if pause.kind == "unclear" and pause.why != "cut in":
        return None
    if pause.kind == "end":
        return False
    return pause.kind == "hold" or goes_on


def only_listens(following: Episode, is_backchannel: IsBackchannel) -> bool:
    """It is an "uh-huh" to the first words of the answer."""
    return is_backchannel(text_between(following, -math.inf, following.pauses[0].start + COLLAR))
