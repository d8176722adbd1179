"""Look for policies that are faster at the same number of cutoffs.

First a sweep of the price: the trade-off that everybody knows. Where it is not searched, of the only parameter, or of
all times a common factor. Then rounds of random changes to the best found so far, wide ones first, a few parameters at
a time. Which settings are tried depends on the seed and the figures alone, never on how many processes work or who is
done first.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import numpy as np

from hearout.errors import UsageError
from hearout.tune.episodes import Episode
from hearout.tune.figures import Outcome, charge, outcome
from hearout.tune.pool import pool
from hearout_policies.policy import Parameter, Policy

__all__ = ["PRICE", "SWEEP", "Settings", "Trial", "best", "chosen_parameters", "front", "search", "simplify"]

Settings = Mapping[str, float]

PRICE = "silence.price"
USUAL = (
    PRICE,
    *(f"odds.{ending}" for ending in ("question", "stop", "plain", "conjunction", "function_word", "comma")),
)
"""What is searched unless told otherwise. Not fillers, cut-off words and digits: few recordings have enough of them."""

_REACH = 4.0  # a quarter of the value to four times; further off, none of the reasons for the value holds
SWEEP = 15  # points
_ROUND = 24  # settings between two looks at the figures
_SPREAD = (0.6, 0.08)  # of the changes, as a share of the value: in the first round, in the last
_CHANGED = 3  # parameters that one change touches, on average
_NEIGHBOURS = 6  # points of the front, the next to the target, that are changed


@dataclass(frozen=True, eq=False)
class Trial:
    """Settings that differ from the base policy's, and what came of them."""

    settings: Settings
    result: Outcome
    expected: float | None = None  # share of the holds, where what is known beforehand counts, too

    @property
    def cutoffs(self) -> float:
        """Share of the holds: what is expected, or else what happened."""
        return self.happened if self.expected is None else self.expected

    @property
    def happened(self) -> float:
        """Share of the holds in these recordings alone."""
        return float(self.result.cuts.mean()) if len(self.result.cuts) else 0.0

    @property
    def latency(self) -> float:
        """Mean, in seconds. The median would not see what turns into "my number is" cost."""
        return float(charge(self.result).mean())


def chosen_parameters(policy: Policy, patterns: Sequence[str] = ()) -> list[Parameter]:
    """The parameters of ``policy`` that ``patterns`` name: keys, or with ``*``.

    Raises:
        UsageError: a pattern names none.
    """
    there = list(policy.parameters())
    for pattern in patterns:
        if not any(fnmatchcase(p.key, pattern) for p in there):
            same = [p.key for p in there if p.key.split(".")[-1] == pattern.split(".")[-1]]
            hint = f"did you mean {' or '.join(same[:3])}?" if same else "`hearout policies balanced` lists all keys"
            raise UsageError(f"--parameters: policy {policy.name!r} has no parameter {pattern!r}; {hint}")
    found = [p for p in there if any(fnmatchcase(p.key, pattern) for pattern in patterns or USUAL)]
    if not found:
        raise UsageError(f"policy {policy.name!r} has none of the usual parameters; name some with --parameters")
    return found


def front(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that no other one beats in both cutoffs and latency, by cutoffs."""
    out: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.cutoffs, t.latency)):
        if not out or trial.latency < out[-1].latency:
            out.append(trial)
    return out


def best(trials: Sequence[Trial], target: float) -> Trial:
    """The fastest with no more cutoffs than ``target``; if there is none, the one with the fewest."""
    allowed = [trial for trial in trials if trial.cutoffs <= target]
    if allowed:
        return min(allowed, key=lambda t: (t.latency, t.cutoffs, len(t.settings)))
    return min(trials, key=lambda t: (t.cutoffs, t.latency))


def search(
    episodes: Sequence[Episode],
    policy: Policy,
    parameters: Sequence[Parameter],
    *,
    target: float,
    trials: int,
    seed: int,
    jobs: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Trial]:
    """Try ``trials`` settings on ``episodes``; the first is the policy as it is.

    Args:
        jobs: processes; -1: one a core. Within ``joblib.parallel_config`` that decides.
        progress: is told after each trial how many are done.

    Raises:
        UsageError: joblib is missing.
    """
    space = _Space(parameters)
    evaluate = _Evaluator(episodes, policy, jobs)
    rng = np.random.default_rng(seed)
    out: list[Trial] = []

    def look_at(batch: Sequence[Settings]) -> None:
        for settings, result in zip(batch, evaluate(batch), strict=True):
            out.append(Trial(settings, result))
            progress(len(out))

    first: list[Settings] = [{}, *space.sweep(SWEEP)][:trials]
    look_at(first)
    while len(out) < trials:
        share = (len(out) - len(first)) / max(1, trials - len(first))
        spread = _SPREAD[0] * (_SPREAD[1] / _SPREAD[0]) ** share
        favourite = best(out, target)
        parents = sorted(front(out), key=lambda t: (abs(t.cutoffs - target), t.latency))[:_NEIGHBOURS]
        batch = []
        for number in range(min(_ROUND, trials - len(out))):
            parent = favourite if number % 2 else parents[int(rng.integers(len(parents)))]
            batch.append(space.change(parent.settings, spread, rng))
        look_at(batch)
    return out


def simplify(trial: Trial, episodes: Sequence[Episode], policy: Policy, target: float) -> Trial:
    """``trial`` with all those parameters back at the policy's values that do not matter."""
    for key in sorted(trial.settings):
        settings = {k: v for k, v in trial.settings.items() if k != key}
        without = Trial(settings, outcome(episodes, policy.replace(settings)))
        if without.latency <= trial.latency and without.cutoffs <= max(target, trial.cutoffs):
            trial = without
    return trial


class _Space:
    """The ranges, each from a quarter of the policy's value to four times, within what the parameter allows.

    In hundredths: finer differences are noise, and nobody wants to read them.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._keys = [p.key for p in parameters]
        self._base = np.array([p.value for p in parameters], float)
        around = np.where(self._base > 0, self._base, 0.25)
        self._price = np.array([key == PRICE for key in self._keys])
        reach = np.where(self._price, _REACH**2, _REACH)  # waits grow with the price's logarithm
        allowed = np.array([(p.low, p.high) for p in parameters])
        self._ends = allowed[:, 0].clip(min=around / reach), allowed[:, 1].clip(max=around * reach)
        self._low = allowed[:, 0].clip(min=np.ceil(around / reach * 100) / 100)
        self._high = allowed[:, 1].clip(max=np.floor(around * reach * 100) / 100)

    def sweep(self, count: int) -> list[Settings]:
        """One parameter from end to end of its range, so that no point is lost beyond; several by a common factor."""
        swept = self._price if self._price.any() else ~self._price
        if swept.sum() == 1:
            low, high = (float(end[swept][0]) for end in self._ends)
            points = np.geomspace(low, high, count)
            return [self._settings(np.where(swept, point, self._base)) for point in points]
        factors = np.geomspace(1 / _REACH, _REACH, count)
        return [self._settings(np.where(swept, self._base * factor, self._base)) for factor in factors]

    def change(self, settings: Settings, spread: float, rng: Any) -> Settings:
        values = np.array([settings.get(key, base) for key, base in zip(self._keys, self._base, strict=True)])
        touched = rng.random(len(values)) < _CHANGED / len(values)
        touched[int(rng.integers(len(values)))] = True
        return self._settings(np.where(touched, values * np.exp(rng.normal(0.0, spread, len(values))), values))

    def _settings(self, values: Any) -> Settings:
        rounded = np.clip(np.round(values, 2), self._low, self._high)
        pairs = zip(self._keys, rounded, self._base, strict=True)
        return {key: round(float(value), 4) for key, value, base in pairs if value != base}


class _Evaluator:
    """Runs policies on episodes, in processes if it may.

    The episodes go to each task as one block of bytes, which a process unpacks once; so any joblib backend will do.
    """

    def __init__(self, episodes: Sequence[Episode], policy: Policy, jobs: int) -> None:
        self._parallel = pool(jobs, "tune", "tuning")
        self._block = pickle.dumps((list(episodes), policy))

    def __call__(self, batch: Sequence[Settings]) -> Iterator[Outcome]:
        from joblib import delayed

        task = delayed(_evaluate)
        results: Iterator[Outcome] = self._parallel(task(self._block, settings) for settings in batch)
        return results


def _evaluate(block: bytes, settings: Settings) -> Outcome:
    episodes, policy = _unpack(block)
    return outcome(episodes, policy.replace(settings))


@lru_cache(maxsize=1)
def _unpack(block: bytes) -> tuple[list[Episode], Policy]:
    unpacked: tuple[list[Episode], Policy] = pickle.loads(block)
    return unpacked
