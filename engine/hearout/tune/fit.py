"""Fit a policy to recorded sessions: how long must it wait, for *these* users, to be wrong no more than so often?

`tune` labels the pauses of traces by what happened next (`hearout.tune.labels`), replays every turn under other
policies (`hearout.tune.episodes`), searches (`hearout.tune.search`) on one part of the traces, and says how the
policy found does on the other part.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hearout.errors import UsageError
from hearout.traces.records import AgentChange, Trace
from hearout.traces.replayer import recorded_language
from hearout.tune.episodes import Episode, episodes
from hearout.tune.few import cautious, check_least, check_price, doubt, missing, weighed
from hearout.tune.figures import Figures, Interval, Outcome, charge, figures, outcome
from hearout.tune.search import PRICE, SWEEP, Trial, best, chosen_parameters, front, search, simplify
from hearout_policies.policy import Policy

__all__ = ["Compared", "Tuned", "policy_toml", "tune"]

_HELD_OUT = 1 / 3  # of the traces, or turns; the search does not see them
_ENOUGH_TRACES = 6  # with fewer, turns and not traces are held out


@dataclass(frozen=True)
class Compared:
    """A policy's settings, and its figures where it was searched and where it was not."""

    settings: Mapping[str, float]
    searched: Figures
    held_out: Figures

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"settings": dict(self.settings), "searched": asdict(self.searched), "held_out": asdict(self.held_out)}


@dataclass(frozen=True)
class Tuned:
    """What `tune` found.

    Attributes:
        policy: the best for the target.
        base: the policy it started from, and its figures.
        factor: the best that the price alone gives, or one common factor where that is not searched.
        chosen: those of `policy`.
        front: no other policy tried is better in both, by cutoffs.
        gain: mean latency of `factor` minus that of `chosen` on the held-out part, seconds, with its 95 % interval.
        target: share of holds that may be cut off.
        reached: `policy` keeps to it where it was searched; with few pauses, as far as `expected` tells.
        expected: share of holds that `policy` cuts off, by few pauses and what is known beforehand; None: not few.
        searched: keys of the parameters that were varied.
        traces, unclear: numbers of traces, and of pauses that show nothing.
        held_out: what was held out: "traces", "turns", or "nothing", where there are few.
        tried: every (cutoffs, mean latency) of the search.
    """

    policy: Policy
    base: Compared
    factor: Compared
    chosen: Compared
    front: tuple[Compared, ...]
    gain: tuple[float, Interval]
    target: float
    reached: bool
    expected: float | None
    searched: tuple[str, ...]
    traces: int
    unclear: int
    held_out: str
    seed: int
    notices: tuple[str, ...]
    tried: tuple[tuple[float, float], ...]

    @property
    def no_help(self) -> str:
        """Why nothing is gained over `base`, in words: on what was held out, else on what was searched; or empty."""
        held = self.chosen.held_out.ends > 0
        was, is_ = [point.held_out if held else point.searched for point in (self.base, self.chosen)]
        if self.chosen.settings == self.base.settings:
            why = (
                "nothing that was tried is better" if self.reached else "nothing that was tried would have cut off less"
            )
            return f"{why}; the policy stays as it is: {_short(was)}"
        if is_.cutoffs < was.cutoffs or is_.mean < was.mean:
            return ""
        where = f"on the {self.held_out} held out" if held else "in these recordings"
        advice = "keep the policy it started from" if held else "only what is known beforehand speaks for it"
        return f"{where} this would not have helped, {advice}: {_short(is_)}, instead of {_short(was)}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``tried`` is left out."""
        rows = {name: getattr(self, name).as_dict() for name in ("base", "factor", "chosen")}
        names = (
            "gain",
            "no_help",
            "target",
            "reached",
            "expected",
            "searched",
            "traces",
            "unclear",
            "held_out",
            "seed",
        )
        return {
            "policy": self.policy.to_dict(),
            **rows,
            "front": [point.as_dict() for point in self.front],
            **{name: getattr(self, name) for name in (*names, "notices")},
        }


def tune(
    traces: Sequence[Trace],
    policy: Policy | None = None,
    *,
    target: float = 0.05,
    parameters: Sequence[str] = (),
    trials: int = 240,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tuned:
    """Search for the policy that is fastest with no more than ``target`` of the holds cut off.

    The result depends on the arguments except ``jobs``, and on nothing else.

    Args:
        policy: where to start, and what all other parameters come from; None: the default.
        target: share of holds, more than 0 and less than 1.
        parameters: keys, or patterns such as ``odds.*``; none: those that latency depends on most.
        trials: policies to try.
        jobs: processes, -1 for one a core. ``joblib.parallel_config(backend=...)`` around the call takes them
            elsewhere: to a Dask or Ray cluster, say.
        progress: is told how many policies are done, and of how many.

    Raises:
        UsageError: fewer than ten ends to learn from, no such parameter, a target out of range, joblib is missing.
    """
    policy = _in_their_language(policy or Policy(), traces)
    if not 0 < target < 1:
        raise UsageError(f"the target is a share of pauses, more than 0 and less than 1, not {target:g}")
    if trials < 1:
        raise UsageError(f"at least one policy must be tried, not {trials}")
    varied = chosen_parameters(policy, parameters)
    cut = [episode for number, trace in enumerate(traces) for episode in episodes(trace, number)]
    _check_words(traces, cut)
    check_least(cut)
    seen, unseen, held_out = _split(cut, len(traces), seed)
    lacking = missing(seen, target)
    few = any(lacking)
    if few:
        check_price(policy, cut)
        varied = chosen_parameters(policy, [PRICE])
        seen, unseen, held_out, trials = cut, [], "nothing", min(trials, 1 + SWEEP)

    tried = search(
        seen,
        policy,
        varied,
        target=target,
        trials=trials,
        seed=seed,
        jobs=jobs,
        progress=lambda done: progress(done, trials),
    )
    notices = _notices(traces)
    if few:
        tried = weighed(tried, policy)
        chosen = factor = cautious(tried, target)
        holds, ends = (math.ceil(lack / (1 - _HELD_OUT)) for lack in lacking)
        notices.append(doubt(chosen, target, (holds, ends), seed))
    else:
        chosen = simplify(best(tried, target), seen, policy, target)
        factor = best(tried[: 1 + SWEEP], target)
    points = front([chosen, *tried])

    def compare(trial: Trial) -> Compared:
        elsewhere = outcome(unseen, policy.replace(trial.settings))
        return Compared(trial.settings, figures(trial.result, seed), figures(elsewhere, seed))

    return Tuned(
        policy=policy.replace(chosen.settings),
        base=compare(tried[0]),
        factor=compare(factor),
        chosen=compare(chosen),
        front=tuple(compare(point) for point in _thinned(points, chosen)),
        gain=_gain(
            outcome(unseen, policy.replace(factor.settings)), outcome(unseen, policy.replace(chosen.settings)), seed
        ),
        target=target,
        reached=chosen.cutoffs <= target,
        expected=chosen.expected,
        searched=tuple(p.key for p in varied),
        traces=len(traces),
        unclear=sum(pause.kind == "unclear" for episode in cut for pause in episode.pauses),
        held_out=held_out,
        seed=seed,
        notices=tuple(notices),
        tried=tuple((trial.happened, trial.latency) for trial in tried),
    )


def _check_words(traces: Sequence[Trace], cut: Sequence[Episode]) -> None:
    if not traces:
        raise UsageError("no traces; record some with `hearout listen --record`")
    if not cut:
        names = traces[0].name if len(traces) == 1 else f"{traces[0].name} and {len(traces) - 1} more"
        raise UsageError(f"{names}: no final words in it, so nothing tells what the user did; record a conversation")


def _split(cut: Sequence[Episode], traces: int, seed: int) -> tuple[list[Episode], list[Episode], str]:
    """What to search on, what to hold out, and in which units: whole traces, as each has a speaker of its own."""
    by_trace = traces >= _ENOUGH_TRACES
    unit = [episode.trace if by_trace else number for number, episode in enumerate(cut)]
    units = sorted(set(unit))
    picks = np.random.default_rng([seed, 1]).permutation(len(units))[: round(_HELD_OUT * len(units))]
    out = {units[int(pick)] for pick in picks}
    seen = [episode for number, episode in zip(unit, cut, strict=True) if number not in out]
    unseen = [episode for number, episode in zip(unit, cut, strict=True) if number in out]
    return seen, unseen, "traces" if by_trace else "turns"


def _thinned(points: Sequence[Trial], chosen: Trial, most: int = 8) -> list[Trial]:
    """No more than ``most`` of the front, evenly, the chosen one among them."""
    if len(points) <= most:
        return list(points)
    picks = {round(i * (len(points) - 1) / (most - 1)) for i in range(most)}
    return [point for number, point in enumerate(points) if number in picks or point is chosen]


def _gain(factor: Outcome, chosen: Outcome, seed: int) -> tuple[float, Interval]:
    saved = charge(factor) - charge(chosen)
    if not len(saved):
        return math.nan, (math.nan, math.nan)
    picks = np.random.default_rng(seed).integers(0, len(saved), (500, len(saved)))
    low, high = np.quantile(saved[picks].mean(axis=1), [0.025, 0.975])
    return float(saved.mean()), (float(low), float(high))


def _notices(traces: Sequence[Trace]) -> list[str]:
    out = []
    silent = sum(
        trace.header.channels == 1 and not any(isinstance(r, AgentChange) for r in trace.records) for trace in traces
    )
    if silent:
        out.append(
            f"{silent} of {len(traces)} traces do not say when the agent spoke: there, every pause under 5 s counts "
            "as a hold, though it may have answered; call agent_started() and agent_stopped()"
        )
    return out


def _in_their_language(policy: Policy, traces: Sequence[Trace]) -> Policy:
    """``policy``, in the language of the traces if it names none.

    Raises:
        UsageError: they are in several.
    """
    if policy.language is not None or not traces:
        return policy
    first, *others = map(recorded_language, traces)
    if any(language != first for language in others):
        raise UsageError("the traces are in several languages: tune them apart, or name one with --set language=...")
    return replace(policy, language=first)


def policy_toml(tuned: Tuned) -> str:
    """The policy as a file for ``--policy``, which says how it was found."""
    chosen, base = tuned.chosen, tuned.base
    lines = [
        f"Found by `hearout tune` in {tuned.traces} traces (seed {tuned.seed}),",
        f"for at most {tuned.target:.1%} of holds cut off{'' if tuned.reached else ', which was not reached'}.",
        f"Searched on {chosen.searched.holds} holds and {chosen.searched.ends} ends: {_short(chosen.searched)}.",
    ]
    if tuned.held_out == "nothing":
        lines += [*textwrap.wrap(tuned.notices[-1], 118), f"The policy it started from: {_short(base.searched)}."]
    else:
        lines += [
            f"On {chosen.held_out.holds} holds and {chosen.held_out.ends} ends of other {tuned.held_out}: "
            f"{_short(chosen.held_out)};",
            f"the policy it started from, there: {_short(base.held_out)}.",
        ]
    if tuned.no_help:
        lines += textwrap.wrap(f"Note: {tuned.no_help}.", 118)
    text = "".join(f"# {line}\n" for line in lines)
    tables = ""
    for key, value in tuned.policy.to_dict().items():
        if isinstance(value, dict):
            tables += f"\n[{key}]\n" + _toml(value)
        else:
            text += _toml({key: value})
    return text + tables


def _toml(values: Mapping[str, object]) -> str:
    """JSON's strings, numbers and lists of strings are TOML's too."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _short(f: Figures) -> str:
    low, high = f.cutoffs_between
    cut_off = f"{f.cutoffs:.1%} cut off ({low:.1%} to {high:.1%})" if f.holds else "no hold to cut off"
    return f"{cut_off}, {f.mean:.2f} s late on average"
