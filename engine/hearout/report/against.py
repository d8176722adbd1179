"""Did it get worse? Two reports compared: of two weeks, or of the same traces under two policies.

Worse is a difference that is, with the confidence asked for, greater than the amount allowed: one-sided, for shares
from the Wilson intervals of both (Newcombe 1998, method 10), for the mean delay by the bootstrap, both as wide as calls
differ from each other (`hearout.report.sums`); on the same calls as `hearout.report.paired` says.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from hearout.errors import UsageError
from hearout.fields import object_of, shown
from hearout.report.judge import JudgedCall
from hearout.report.paired import grew_at_least
from hearout.report.sums import STEP, Share, Sums
from hearout.report.totals import Pair

__all__ = ["VERSION", "Calls", "Grown", "compare", "read_sums", "table"]

VERSION = 1  # of the JSON
_MOST = 100_000_000  # bytes of a report's JSON
_SHARES = ("cut-ins", "too early")
_OTHER_SEED = 1  # the two sides are drawn apart


@dataclass(frozen=True, slots=True)
class Grown:
    """One figure of one turn detection, before and now.

    Attributes:
        side: ``bot`` or ``ours``.
        name: ``cut-ins`` or ``too early``, shares, or ``delay``, seconds.
        at_least: it grew by so much or more, with the confidence asked for; nan: there is too little of it.
        allowed: by which it may grow.
    """

    side: str
    name: str
    before: float
    now: float
    n: tuple[int, int]
    at_least: float
    allowed: float

    @property
    def worse(self) -> bool:
        """By more than is allowed, with the confidence asked for."""
        return self.at_least > self.allowed


class Calls:
    """What each call gave, in order, of each side: numbers only, some bytes a call."""

    def __init__(self) -> None:
        self._counts = {(bot, side): array("q") for bot in (False, True) for side in ("bot", "ours")}

    def add(self, call: JudgedCall) -> None:
        """One more."""
        pair = Pair()
        for turn in call.turns:
            pair.add(turn)
        for side, sums in (("bot", pair.bot), ("ours", pair.ours)):
            for counts in (
                (sums.cut_ins, sums.judged),
                (sums.early, sums.judged),
                (sums.delays.total, sums.delays.count),
            ):
                self._counts[call.has_bot, side].extend(counts)

    def of(self, side: str) -> Any:
        """(calls, 3, 2): cut-ins, those too early, and delays in steps, each of how many; as in `Totals.told`."""
        counts = self._counts[True, side] or self._counts[False, side]
        return np.array(counts, float).reshape(-1, 3, 2)


def compare(
    before: Mapping[str, Sums],
    now: Mapping[str, Sums],
    *,
    calls: tuple[Calls, Calls] | None = None,
    cut_ins: float = 0.01,
    delay: float = 0.1,
    confidence: float = 0.95,
) -> list[Grown]:
    """Each side that is in both.

    Args:
        calls: of before and of now, where both are of the same calls; None: they are not.
        cut_ins: share by which cut-ins may grow, and so may turns handed on too early.
        delay: seconds by which the mean delay may.

    Raises:
        UsageError: there was a bot before, and now there is none. That is no success: its shadow may be broken.
    """
    if "bot" in before and "bot" not in now:
        raise UsageError(
            '--against: before there are figures of the bot, and now no trace tells of its turns ("bot" lines): attach '
            "its shadow, or compare with a report on traces that have none either"
        )
    sides = [side for side in now if side in before]
    out = []
    for side in sides:
        one, other = before[side], now[side]
        both = None if calls is None else [one.of(side) for one in calls]
        for column, name in enumerate(_SHARES):
            was, is_ = one.shares[name], other.shares[name]
            grew = (
                _share_grew(was, is_, confidence)
                if both is None
                else grew_at_least(both[0][:, column], both[1][:, column], confidence)
            )
            out.append(Grown(side, name, was.value, is_.value, (was.count, is_.count), grew, cut_ins))
        grew = (
            _mean_grew(one, other, confidence)
            if both is None
            else STEP * grew_at_least(both[0][:, -1], both[1][:, -1], confidence)
        )
        n = one.delays.count, other.delays.count
        out.append(Grown(side, "delay", one.delays.mean, other.delays.mean, n, grew, delay))
    return out


def _share_grew(was: Share, now: Share, confidence: float) -> float:
    if not was.count or not now.count:
        return math.nan
    z = NormalDist().inv_cdf(confidence)
    above = was.within(z)[1] - was.value
    below = now.value - now.within(z)[0]
    return now.value - was.value - math.hypot(above, below)


def _mean_grew(was: Sums, now: Sums, confidence: float) -> float:
    if not was.delays.count or not now.delays.count:
        return math.nan
    return float(np.quantile(now.delay_means() - was.delay_means(_OTHER_SEED), 1 - confidence))


def read_sums(path: str) -> dict[str, Sums]:
    """What ``hearout report --json`` wrote: the sums of each side.

    Raises:
        UsageError: it did not, or the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST).decode()
        data = object_of(text)
        if "hearout_report" not in data:
            raise ValueError('there is no "hearout_report" in it')
        if data["hearout_report"] != VERSION:
            raise ValueError(f"it is of version {shown(data['hearout_report'])}; this hearout reads version {VERSION}")
        found = {side: Sums.from_dict(data[side]) for side in ("bot", "ours") if isinstance(data.get(side), dict)}
        if not found:
            raise ValueError('there is neither "bot" nor "ours" in it')
    except OSError as error:
        raise UsageError(f"{path}: cannot read the report: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a report that `hearout report --json` wrote: it is not UTF-8") from None
    except ValueError as error:
        why = str(error).partition("; every line")[0]  # which is said of traces
        raise UsageError(f"{path}: not a report that `hearout report --json` wrote: {why}") from None
    return found


def table(rows: list[Grown], confidence: float) -> str:
    """For a pull request, in Markdown."""
    lines = [
        f"| turns | figure | before | now | grew, {confidence:.0%} sure, by at least | allowed | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        shown = _percent if row.name in _SHARES else _seconds
        was, now = (f"{shown(value)} (n {n})" for value, n in zip((row.before, row.now), row.n, strict=True))
        name = row.name if row.name in _SHARES else "mean delay"
        verdict = "**worse**" if row.worse else "too few" if math.isnan(row.at_least) else "ok"
        grew = "-" if math.isnan(row.at_least) else shown(row.at_least, "+")
        lines.append(f"| {row.side} | {name} | {was} | {now} | {grew} | {shown(row.allowed, '+')} | {verdict} |")
    return "\n".join(lines)


def _percent(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{100 * value:{sign}.1f} %"


def _seconds(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.2f} s"
