"""How far an ear's answers are to be believed, fitted on one half of the recordings and applied to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.endpointing.conversations import Conversation
from hearout.ear.smart_turn import believed as as_believed
from hearout.ear.smart_turn import log_odds

__all__ = ["believed", "fit"]

_STEPS = 4000
_NEAR = 0.3  # seconds: a silence that begins so near to the end of a turn is its end

Line = tuple[float, float]  # shift and scale of the log-odds


def believed(conversations: Sequence[Conversation]) -> list[Conversation]:
    """With probabilities in place of an ear's own answers; those of each half are fitted on the other."""
    halves = conversations[::2], conversations[1::2]
    lines = fit(halves[1]), fit(halves[0])
    return [
        replace(one, answers=tuple(replace(a, odds=as_believed(a.odds, *lines[number % 2])) for a in one.answers))
        for number, one in enumerate(conversations)
    ]


def fit(conversations: Sequence[Conversation]) -> Line:
    """Logistic regression with ends and pauses weighted equally; nothing is believed where one of them is missing."""
    answers = [(log_odds(a.odds), _is_end(one, a.audio)) for one in conversations for a in one.answers]
    x = np.array([value for value, _ in answers])
    end = np.array([is_end for _, is_end in answers], bool)
    if not end.any() or end.all():
        return 0.0, 0.0
    weight = np.where(end, 0.5 / end.sum(), 0.5 / (~end).sum())
    shift, scale = 0.0, 1.0
    for _ in range(_STEPS):
        slope = weight * (1 / (1 + np.exp(-shift - scale * x)) - end)
        shift -= float(slope.sum())
        scale -= 0.1 * float((slope * x).sum())
    return shift, scale


def _is_end(one: Conversation, audio: float) -> bool:
    return any(
        turn.end - _NEAR <= audio < turn.end + 1.0 and not any(start <= audio < end for start, end in turn.holds)
        for turn in one.turns
    )
