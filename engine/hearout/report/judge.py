"""One call: its turns, and what the voicebot's turn detection and ours made of each.

Labels are those of `hearout.tune.labels`. Ours is what the session itself decided, or, under another policy, what
`hearout.tune.episodes.run` finds that it would have.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hearout.errors import UsageError
from hearout.report.commits import Commit, Placed, begin_of, kept, placed, predicted, text_between
from hearout.report.parts import CUT_IN, Backchannel, Part, UserTurn, only_listens, parts
from hearout.report.scene import WORST, Scene, scene
from hearout.traces.records import AgentChange, BotInterrupted, BotTurn, Expecting, PolicyUse, Trace
from hearout.traces.replayer import Replayed, recorded_language, recorded_policy, replay
from hearout.tune.episodes import Episode, episodes
from hearout.tune.figures import COLLAR, MISSED
from hearout.tune.labels import SHORTEST, agent_speech, ended_at
from hearout.tune.search import PRICE
from hearout_policies.events import TurnAmended, TurnCompleted, TurnUpdated
from hearout_policies.policy import Policy
from hearout_policies.rules import Silence

__all__ = ["JudgedCall", "NotJudged", "cost", "cut", "in_language_of", "judge", "price_of"]

_FELT = 1.5  # seconds after a backchannel in which an interruption is laid to it
_NOBODY = "does not say when the agent spoke: record it with agent_started() and agent_stopped(), or in two channels"
_SILENT = "its bot never spoke, so nothing tells where its user's turns ended"
_MUTE = 'its bot never ended a turn (no "committed" line), so there is nothing to judge it by'
_SHADOW = "a shadow of "  # what `hearout.shadow` writes as the source
_WORDLESS = "no final words in it, so nothing tells what the user did"


class NotJudged(UsageError):
    """Nothing can be said of a trace; ``kind`` is the reason in two words."""

    def __init__(self, name: str, kind: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.kind = kind


@dataclass(frozen=True)
class JudgedCall:
    """What a trace gave.

    Attributes:
        unclear: how many pauses could not be judged, by reason.
        scenes: its worst turns, the worst first: of the bot, where the trace tells of it.
    """

    name: str
    caller: str
    turns: tuple[UserTurn, ...]
    unclear: Counter[str]
    scenes: tuple[Scene, ...]

    @property
    def has_bot(self) -> bool:
        """It says what the voicebot's turn detection did."""
        return any(turn.bot is not None for turn in self.turns)


def judge(trace: Trace, policy: Policy | None = None, channel: int | None = None) -> JudgedCall:
    """Judge a trace.

    Args:
        policy: what ours would have done under it; None: what ours did.
        channel: the user's, where a session has others; None: all are users.

    Raises:
        NotJudged: nothing in it can be.
        UsageError: as `hearout.traces.replayer.replay`.
    """
    replayed = replay(trace)
    turns = cut(trace, replayed, channel)
    own = in_language_of(policy or recorded_policy(trace), trace)
    price = price_of(own)
    has_bot = bool(_bots(trace))
    found: list[UserTurn] = []
    unclear: Counter[str] = Counter()
    worst: list[tuple[float, UserTurn, Episode, Placed, Placed]] = []
    for number in sorted({turn.channel for turn in turns}):
        mine = [turn for turn in turns if turn.channel == number]
        decided, committed = _recorded(replayed, number), _of_bot(trace, number)
        spoke = agent_speech(trace, number)
        sides = ([] if policy else [decided]) + ([committed] if has_bot else [])
        mine[-1] = _broken_off(mine[-1], ended_at(trace), spoke, sides)
        mine = [
            _cut_in(turn, following, committed if has_bot else decided, spoke, own)
            for turn, following in zip(mine, [*mine[1:], None], strict=True)
        ]
        bots = placed(mine, committed)
        ours: Sequence[Placed]
        if policy:
            ours = kept(mine, [predicted(turn, own) for turn in mine])
        elif has_bot:
            ours = kept(mine, _unanswered(mine, placed(mine, decided), own, spoke))
        else:
            ours = placed(mine, decided)
        our_parts = parts(mine, ours, own.is_backchannel)
        bot_parts = parts(mine, bots, own.is_backchannel) if has_bot else [None] * len(mine)
        unclear.update(pause.why for turn in mine for pause in turn.pauses if pause.kind == "unclear")
        backchannels = _backchannels(trace, number, own, replayed if policy is None else None, has_bot)
        contexts = _contexts(trace, mine, own.name, policy is None)
        for place, (turn, bot, our) in enumerate(zip(mine, bot_parts, our_parts, strict=True)):
            used, asked = contexts[place]
            start, end, text = begin_of(turn), turn.pauses[-1].start, text_between(turn, -math.inf, math.inf)
            hour, heard = _hour(trace.header.started, end), tuple(backchannels(turn))
            found.append(UserTurn(number, start, end, text, hour, used, asked, bot, our, heard))
            worst.append((cost(bot or our, price), found[-1], turn, bots[place], ours[place]))
    worst.sort(key=lambda one: (-one[0], one[1].start))
    scenes = [
        scene(trace, turn, of, own, bots, ours, costs) for costs, turn, of, bots, ours in worst[:WORST] if costs > 0
    ]
    return JudgedCall(trace.name, trace.header.caller, tuple(found), unclear, tuple(scenes))


def in_language_of(policy: Policy, trace: Trace) -> Policy:
    """``policy``, in the language of the trace if it names none."""
    return policy if policy.language is not None else replace(policy, language=recorded_language(trace))


def price_of(policy: Policy) -> float:
    """Seconds of waiting that a cut-in is worth to it."""
    return next((p.value for p in policy.parameters() if p.key == PRICE), Silence().price)


def cost(part: Part, price: float) -> float:
    """Seconds: of waiting, and ``price`` for each cut-in."""
    return min(part.delay or 0.0, MISSED) + price * part.cut_ins


def cut(trace: Trace, replayed: Replayed, channel: int | None = None) -> list[Episode]:
    """The user's turns.

    Raises:
        NotJudged: there are none, nothing tells which pauses were ends, or the bot that is in it has ended no turn.
    """
    if channel is not None and channel >= trace.header.channels:
        raise NotJudged(trace.name, "no such channel", f"there is no channel {channel}: it has {trace.header.channels}")
    # Where a bot has decided, the channels it did not listen to are none of a user.
    users = {channel} if channel is not None else _bots(trace) or set(range(trace.header.channels))
    turns = [turn for turn in episodes(trace, 0, replayed) if turn.channel in users]
    if not turns:
        raise NotJudged(trace.name, "no words", _WORDLESS)
    shadowed = trace.header.source.startswith(_SHADOW)
    if trace.header.channels == 1 and not any(isinstance(record, AgentChange) for record in trace.records):
        raise NotJudged(trace.name, "no agent", _SILENT if shadowed else _NOBODY)
    told_of = shadowed or bool(_bots(trace))
    if told_of and not any(isinstance(record, BotTurn) for record in trace.records):
        raise NotJudged(trace.name, "no commit", _MUTE)
    return turns


def _bots(trace: Trace) -> set[int]:
    """The channels on which another turn detection decided."""
    return {record.channel for record in trace.records if isinstance(record, (BotTurn, BotInterrupted))}


def _recorded(replayed: Replayed, channel: int) -> list[Commit]:
    """Ours, as it was: without what it took for a backchannel, which is no turn."""
    amended = {o.turn: o.text for o in replayed.outputs if isinstance(o, TurnAmended) and o.channel == channel}
    return [
        Commit(o.at, o.text, amended.get(o.turn, ""), o)
        for o in replayed.outputs
        if isinstance(o, TurnCompleted) and o.channel == channel and not o.backchannel
    ]


def _of_bot(trace: Trace, channel: int) -> list[Commit]:
    return [Commit(r.t, r.text) for r in trace.records if isinstance(r, BotTurn) and r.channel == channel]


def _broken_off(
    turn: Episode, over: float, spoke: Sequence[tuple[float, float]], sides: Sequence[Sequence[Commit]]
) -> Episode:
    """The last turn. Whose user hung up on a turn detection has not shown how long it would have kept him waiting."""
    last = turn.pauses[-1]
    if last.kind != "end" or over - last.start >= MISSED or any(on >= last.start for on, _ in spoke):
        return turn
    if all(any(last.start - COLLAR <= commit.at < over for commit in commits) for commits in sides):
        return turn
    return replace(turn, pauses=(*turn.pauses[:-1], replace(last, kind="unclear", why="cut short")))


def _cut_in(
    turn: Episode,
    following: Episode | None,
    commits: Sequence[Commit],
    spoke: Sequence[tuple[float, float]],
    policy: Policy,
) -> Episode:
    """Who talks over an answer, so soon behind the commit that it was for, goes on with what it had to say."""
    last = turn.pauses[-1]
    if last.kind != "end" or following is None or not any(on < last.resume < off for on, off in spoke):
        return turn
    at = next((commit.at for commit in commits if last.start - COLLAR <= commit.at < last.resume), -math.inf)
    if last.resume - at > CUT_IN or only_listens(following, policy.is_backchannel):
        return turn
    return replace(turn, pauses=(*turn.pauses[:-1], replace(last, kind="unclear", why="cut in")))


def _unanswered(
    turns: Sequence[Episode], found: Sequence[Placed], policy: Policy, spoke: Sequence[tuple[float, float]]
) -> list[Placed]:
    """Ours, as it would have been had not the bot answered first: to that it listens, and the user does, too.

    Where ours had not ended the turn by then, or still had the one before, it is what it makes of this turn alone.
    """
    out: list[Placed] = []
    for turn, mine in zip(turns, found, strict=True):
        last = turn.pauses[-1]
        answer = next((on for on, _ in spoke if last.start <= on < last.resume), math.inf)
        open_still = answer < math.inf and not any(at is last and one.at <= answer for one, at in mine)
        begun_before = any(one.event and one.event.audio_start + turn.offset < begin_of(turn) - 1 for one, _ in mine)
        begun_before |= bool(out) and any(one.at >= begin_of(turn) for one, _ in out[-1])
        out.append(predicted(turn, policy) if open_still or begun_before else mine)
    return out


def _contexts(trace: Trace, turns: Sequence[Episode], used: str, recorded: bool) -> list[tuple[str, str]]:
    """For each turn the name of the policy in force, and what had been asked for."""
    changes = [r for r in trace.records if isinstance(r, (PolicyUse, Expecting)) and _concerns(r.channel, turns)]
    asked, keep, position = "", False, 0
    out = []
    for turn in turns:
        while position < len(changes) and changes[position].t <= turn.pauses[-1].start:
            change = changes[position]
            position += 1
            if isinstance(change, Expecting):
                asked, keep = ", ".join(one.name for one in change.expectations), change.keep
            elif recorded:
                used = change.policy.name
        out.append((used, asked))
        asked = asked if keep else ""
    return out


def _concerns(channel: int | None, turns: Sequence[Episode]) -> bool:
    return channel in (None, turns[0].channel)


def _hour(started: str, at: float) -> str:
    """Of the day, by the clock where the call was."""
    if not started:
        return ""
    clock = datetime.fromisoformat(started)
    return f"{(clock.hour + (60 * clock.minute + clock.second + at) / 3600) % 24 // 1:02.0f}"


def _backchannels(
    trace: Trace, channel: int, policy: Policy, replayed: Replayed | None, has_bot: bool
) -> Callable[[Episode], Iterator[Backchannel]]:
    """Finds those in a turn of the channel."""
    agent = agent_speech(trace, channel)
    bots = [r.t for r in trace.records if isinstance(r, BotInterrupted) and r.channel == channel]
    ours = [
        output.at
        for output in (replayed.outputs if replayed else ())
        if isinstance(output, TurnUpdated) and output.interrupts and output.channel == channel
    ]

    def within(turn: Episode) -> Iterator[Backchannel]:
        begin = begin_of(turn)
        for pause in turn.pauses:
            over = any(on <= begin < off for on, off in agent)
            if over and policy.is_backchannel(text_between(turn, begin - SHORTEST, pause.start + SHORTEST)):
                yield Backchannel(
                    begin,
                    _felt(bots, begin, pause.start) if has_bot else None,
                    _felt(ours, begin, pause.start) if replayed else None,
                )
            begin = pause.resume

    return within


def _felt(times: Sequence[float], begin: float, end: float) -> bool:
    index = bisect_left(times, begin)
    return index < len(times) and times[index] <= end + _FELT
