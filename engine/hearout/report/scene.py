"""A turn that went wrong, with all that is needed to show it and nothing of the rest of its trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hearout.report.commits import Placed, begin_of
from hearout.report.parts import UserTurn
from hearout.traces.explainer import explain
from hearout.traces.records import Trace
from hearout.tune.episodes import Episode
from hearout.tune.labels import agent_speech
from hearout_policies.policy import Policy

__all__ = ["WORST", "Scene", "scene"]

WORST = 10  # turns that are shown
_AROUND = 1.0  # seconds that are shown before and behind
_LONGEST = 30.0  # seconds that are shown; of a longer turn the end
_MOST = 80  # words

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """One turn on the session clock.

    Attributes:
        cost: seconds: of waiting, and the price of each cut-in.
        start, stop: what is shown.
        voice, agent: when the user and the agent spoke.
        words: each with its begin.
        bot, ours: when each took the turn for over, and with which text.
        explained: why ours did, commit by commit.
    """

    call: str
    turn: UserTurn
    cost: float
    start: float
    stop: float
    voice: tuple[Span, ...]
    agent: tuple[Span, ...]
    words: tuple[tuple[float, str], ...]
    bot: tuple[tuple[float, str], ...]
    ours: tuple[tuple[float, str], ...]
    explained: tuple[str, ...]


def scene(
    trace: Trace,
    turn: UserTurn,
    of: Episode,
    policy: Policy,
    bot: Placed,
    ours: Placed,
    cost: float,
) -> Scene:
    """``turn``, cut out of its trace.

    Args:
        of: the same, as it was cut for tuning.
        policy: the one by which ours decided.
        bot, ours: the commits of this turn.
    """
    resume = of.pauses[-1].resume
    made = [commit.at for commit, _ in (*bot, *ours)]
    stop = max([turn.end, *made, resume if resume < turn.end + 2 * _AROUND else 0.0]) + _AROUND
    start = max(0.0, turn.start - _AROUND, stop - _LONGEST)
    voice, begin = [], begin_of(of)
    for pause in of.pauses:
        voice.append((begin, pause.start))
        begin = pause.resume
    if begin < stop:
        voice.append((begin, stop))  # what follows
    words = [(word.start + of.offset, word.text) for word in of.words]
    return Scene(
        Path(trace.name).name,
        turn,
        cost,
        start,
        stop,
        tuple(_seen(voice, start, stop)),
        tuple(_seen(agent_speech(trace, of.channel), start, stop)),
        tuple([word for word in words if word[0] >= start][-_MOST:]),
        tuple((commit.at, commit.text) for commit, _ in bot),
        tuple((commit.at, commit.text) for commit, _ in ours),
        tuple(explain(commit.event, policy) for commit, _ in ours if commit.event is not None),
    )


def _seen(spans: Sequence[Span], start: float, stop: float) -> list[Span]:
    return [(max(on, start), min(off, stop)) for on, off in spans if on < stop and off > start and on < math.inf]
