"""What a few recordings allow: only the price is searched, by them and by what is known beforehand.

Ten lucky pauses must not make a hasty policy, nor ten unlucky ones a mute one. So the distribution of pauses that the
policy knows (`hearout_policies.odds.Holds`) counts as `_KNOWN` holds beside those recorded: with as many, each counts
for half.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hearout.errors import UsageError
from hearout.tune.episodes import Episode
from hearout.tune.figures import figures
from hearout.tune.search import PRICE, Trial, best
from hearout.writing import counted
from hearout_policies.odds import BASE, Holds
from hearout_policies.policy import Policy
from hearout_policies.rules import Silence
from hearout_policies.view import TurnView

__all__ = ["FEWEST", "cautious", "check_least", "check_price", "doubt", "missing", "weighed"]

FEWEST = 30  # holds, and ends, to search many numbers on
_LEAST = 10  # ends with which the price alone is searched
_KNOWN = 30  # holds that what is known beforehand counts as


def check_least(cut: Sequence[Episode]) -> None:
    """Are there ends enough for anything?

    Raises:
        UsageError: no.
    """
    ends = _count(cut)["end"]
    if ends < _LEAST:
        raise UsageError(
            f"too little to learn from: {counted(ends, 'end')} of turns, and {_LEAST} are the least; record about "
            f"{math.ceil(_LEAST / max(1, ends))} times as much"
        )


def missing(searched: Sequence[Episode], target: float) -> tuple[int, int]:
    """How many holds and ends a search of many numbers lacks; none: there are not few.

    Of n holds without a cutoff one can say no more than that the rate is below 3/n.
    """
    counts = _count(searched)
    holds = max(FEWEST, math.ceil(3 / target))
    return max(0, holds - counts["hold"]), max(0, FEWEST - counts["end"])


def check_price(policy: Policy, cut: Sequence[Episode]) -> None:
    """Is there what few pauses suffice for?

    Raises:
        UsageError: no.
    """
    if not any(parameter.key == PRICE for parameter in policy.parameters()):
        counts = _count(cut)
        raise UsageError(
            f"too little to learn from: {counted(counts['hold'], 'hold')} and {counted(counts['end'], 'end')} suffice "
            f"for {PRICE} alone, and policy {policy.name!r} has none; record more, or begin at --policy balanced"
        )


def weighed(trials: Sequence[Trial], policy: Policy) -> list[Trial]:
    """The trials with the cutoffs to expect by the recordings and by what is known beforehand."""
    return [replace(trial, expected=_expected(trial, policy)) for trial in trials]


def cautious(trials: Sequence[Trial], target: float) -> Trial:
    """The fastest that is expected to keep to the target.

    If there is none, the fastest that cuts off less than one hold more, recorded or known, than the fewest: a smaller
    difference is no reason to wait longer. Nor is it that one would have cut off just as many of the recorded ones:
    then the first, which is what there is, stays.
    """
    chosen = best(trials, target)
    if chosen.cutoffs <= target:
        return chosen
    chosen = best(trials, chosen.cutoffs + 1 / (_KNOWN + len(chosen.result.cuts)))
    only_slower = chosen.happened >= trials[0].happened and chosen.latency >= trials[0].latency
    return trials[0] if only_slower else chosen


def doubt(chosen: Trial, target: float, more: tuple[int, int], seed: int) -> str:
    """How unsure what was found is, in words.

    Args:
        more: holds and ends to record until the search is a whole one.
    """
    found = figures(chosen.result, seed)
    low, high = found.cutoffs_between
    least, most = found.mean_between
    late = f"a mean latency of {least:.2f} to {most:.2f} s"
    if found.holds:
        alone = (
            f"{counted(found.holds, 'hold')} and {counted(found.ends, 'end')}, between {low:.0%} and {high:.0%} of the "
            f"holds would be cut off, with {late}"
        )
    else:
        alone = (
            f"0 holds and {counted(found.ends, 'end')}, nothing can be said of cutoffs, and {late} is to be expected"
        )
    lacking = " and ".join(counted(n, f"more {kind}") for n, kind in zip(more, ("hold", "end"), strict=True) if n)
    return (
        f"few pauses: only the price was searched, and nothing is held out. By these recordings alone, {alone}; with "
        f"what is known beforehand as {_KNOWN} further holds, {chosen.cutoffs:.1%} are expected to be cut off. To "
        f"promise {target:.1%}, record about {lacking}"
    )


def _count(episodes: Sequence[Episode]) -> Counter[str]:
    return Counter(pause.kind for episode in episodes for pause in episode.pauses)


def _known(trial: Trial, policy: Policy) -> float:
    """The share of usual pauses within turns that last longer than one waits where the text tells nothing."""
    rule = next(rule for rule in policy.replace(trial.settings).rules if isinstance(rule, Silence))
    return Holds.of(rule.median, rule.p90).longer(rule.hold(TurnView(odds=BASE)))


def _expected(trial: Trial, policy: Policy) -> float:
    cuts = trial.result.cuts
    return (_KNOWN * _known(trial, policy) + float(cuts.sum())) / (_KNOWN + len(cuts))
