"""What a turn detection made of a user's turns: when it ended them, whether the user went on, which words it had.

The same questions are put to everybody, the voicebot's own turn detection and ours, whatever they decide by: all that
counts is when they ended a turn, and with which text.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from hearout.tune.episodes import Episode, run
from hearout.tune.figures import COLLAR
from hearout.tune.labels import Pause
from hearout_policies.events import TurnCompleted
from hearout_policies.marks import bare, has_word, is_blankless, pieces
from hearout_policies.policy import Policy
from hearout_policies.signals import Word
from hearout_policies.words import join, middle

__all__ = [
    "CUT_IN",
    "Backchannel",
    "Commit",
    "Part",
    "Placed",
    "UserTurn",
    "begin_of",
    "kept",
    "parts",
    "placed",
    "predicted",
    "text_between",
]

CUT_IN = 2.0  # seconds after a commit within which whoever goes on had not finished
_BY_THEN = 0.05  # seconds by which the end of a word is not known better
_MOST = 1000  # words of a turn that are compared; what is longer is no turn

#: Is this text nothing but "I am listening"?
IsBackchannel = Callable[[str], bool]


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


@dataclass(frozen=True, slots=True)
class Part:
    """What one turn detection made of one turn of the user.

    Attributes:
        commits: when it took the turn for over (session clock).
        judged: commits of which can be told whether the user went on.
        cut_ins: those after which the user did, within `CUT_IN` seconds, or was speaking already.
        delay: seconds from the end of speech to the commit; infinite: there was none; None: nobody knows whether that
            was the end.
        words: of the turn, that had to be handed on.
        lost: those that never were.
        late: those that came with a later commit, or correction, than the first after they were spoken.
        split: the turn was handed on in pieces, or without what its user went on with as the agent began.
    """

    commits: tuple[float, ...] = ()
    judged: int = 0
    cut_ins: int = 0
    delay: float | None = None
    words: int = 0
    lost: int = 0
    late: int = 0
    split: bool = False


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


def parts(turns: Sequence[Episode], found: Sequence[Placed], is_backchannel: IsBackchannel) -> list[Part]:
    """One part a turn.

    Args:
        turns: of one channel, in order.
        found: the commits of each.
    """
    out = []
    for number, (turn, mine) in enumerate(zip(turns, found, strict=True)):
        following = turns[number + 1] if number + 1 < len(turns) else None
        went_on = [_went_on(commit.at, pause, following, is_backchannel) for commit, pause in mine]
        last = turn.pauses[-1]
        first = next((commit.at - last.start for commit, pause in mine if pause is last), math.inf)
        delay = first if last.kind == "end" else None
        handed = [commit for commit, _ in mine]
        lost = late = words = 0
        if delay is not None or mine or last.why == "cut in":
            words = len(turn.words[:_MOST])
            upto = next((n for n in range(number + 1, len(turns)) if found[n]), number)
            later = [commit for commit, _ in found[upto]] if upto > number else []
            others = [word for other in turns[number + 1 : upto + 1] for word in other.words[:_MOST]]
            lost, late = _missing(turn, others, [*handed, *later])
        out.append(
            Part(
                tuple(commit.at for commit in handed),
                sum(known is not None for known in went_on),
                sum(known is True for known in went_on),
                delay,
                words,
                lost,
                late,
                len(mine) > 1 or (last.why == "cut in" and True in went_on),
            )
        )
    return out


def _went_on(at: float, pause: Pause | None, following: Episode | None, is_backchannel: IsBackchannel) -> bool | None:
    """Did the user, so soon that it must have been meant? None: nobody knows."""
    if pause is None:
        return True
    if pause.kind == "unclear" and pause.why != "cut in":
        return None
    if pause.kind == "end" or pause.resume - at > CUT_IN:
        return False
    if pause.kind == "hold" or following is None:
        return True
    # An "uh-huh" to the first words of the answer.
    return not is_backchannel(text_between(following, -math.inf, following.pauses[0].start + COLLAR))


def _missing(turn: Episode, others: Sequence[Word], commits: Sequence[Commit]) -> tuple[int, int]:
    """How many words were lost, and how many were late.

    Args:
        others: were said behind the turn and are in ``commits``, too; they are not taken for late ones.
    """
    words = turn.words[:_MOST]
    times = [commit.at for commit in commits]
    due = [bisect_left(times, word.end + turn.offset - _BY_THEN) for word in (*words, *others)]
    said = [(number, token) for number, word in enumerate((*words, *others)) for token in _tokens(word.text)]
    by = _handed_on(said, due, [_tokens(commit.text) for commit in commits])
    corrected = [_added(_tokens(commit.text), _tokens(commit.more)) for commit in commits]
    amended = _handed_on([one for one in said if one[0] not in by], due, corrected)
    lost = late = 0
    for number in {number for number, _ in said if number < len(words)}:
        if number in by:
            late += by[number] > due[number]
        elif number in amended:
            late += 1
        else:
            lost += 1
    return lost, late


Token = tuple[int, str]  # of which word, or of which commit


def _handed_on(said: Sequence[Token], due: Sequence[int], texts: Sequence[Sequence[str]]) -> dict[int, int]:
    """By which commit each word was handed on: number of the word to that of the commit.

    The words that were said since the commit before go first: whoever says again what was lost has it handed on once,
    and that is not what was lost.

    Args:
        due: by word, the first commit after it.
        texts: by commit.
    """
    out: dict[int, int] = {}
    left: list[Token] = []
    for order, text in enumerate(texts):
        mine = [one for one in said if due[one[0]] == order]
        rest = [(order, token) for token in text[: 2 * _MOST]]
        pairs = _in_order(mine, rest)
        out.update((mine[one][0], order) for one, _ in pairs)
        used = {other for _, other in pairs}
        left += [token for place, token in enumerate(rest) if place not in used]
    missing = [one for one in said if one[0] not in out]
    # What came in order goes before what did not: a late word may stand behind words that were said after it.
    pairs = _in_order(missing, left)
    for one, other in pairs:
        out.setdefault(missing[one][0], left[other][0])
    taken = {other for _, other in pairs}
    places: dict[str, list[int]] = {}
    for place in reversed(range(len(left))):
        if place not in taken:
            places.setdefault(left[place][1], []).append(left[place][0])
    for number, token in missing:
        if number not in out and places.get(token):
            out[number] = places[token].pop()
    return out


def _in_order(one: Sequence[Token], other: Sequence[Token]) -> list[tuple[int, int]]:
    """Places in both at which the same is said, in the same order."""
    blocks = SequenceMatcher(None, [token for _, token in one], [token for _, token in other], autojunk=False)
    return [(a + step, b + step) for a, b, size in blocks.get_matching_blocks() for step in range(size)]


def _added(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """What a correction brought."""
    known = {place for _, place in _in_order([(0, token) for token in before], [(0, token) for token in after])}
    return [token for place, token in enumerate(after) if place not in known]


def _tokens(text: str) -> list[str]:
    """Words without case and marks; in scripts without blanks, characters."""
    out: list[str] = []
    for piece in pieces(text):
        if has_word(piece):
            out += list(bare(piece)) if is_blankless(piece) else [bare(piece)]
    return out
