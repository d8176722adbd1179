"""Pictures of a report as SVG that stands in the page: in its colours, dark or light, and without ids of others.

Each is drawn twice, for a screen and paper and for a phone, where the wide one would be too small to read; the page
shows one of them.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hearout.report.changes import Point
from hearout.report.scene import Scene
from hearout.report.sums import DEAD_AIR, Share, Sums
from hearout.tune.figures import MISSED
from hearout.writing import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "delays", "hours", "timeline", "tradeoff"]

COLOURS = {
    "ink": ("#1f2933", "#e6e9ed"),
    "muted": ("#5b6672", "#9aa5b1"),
    "line": ("#d8dde3", "#3a424c"),
    "bot": ("#c2570c", "#f0a05a"),
    "ours": ("#2563b8", "#7fb0f0"),
    "voice": ("#2a8c8e", "#58c4c6"),
    "agent": ("#8a6ba3", "#b79ad0"),
}
"""By the name of the page's variable: on light ground, and on dark. Each has a contrast of 4.5 with its ground, or is
a line."""

_LIGHT = {name: light for name, (light, _) in COLOURS.items()}
_NAMES = {"bot": "the bot", "ours": "hearout"}
_WIDE, _NARROW = 7.4, 4.2  # inches; at 72 points to one, a point is no less than a pixel of a phone's 360
_LETTER = 5.6  # points
_NAMES_WIDTH = 60.0  # points, of the names beside a timeline


def tradeoff(sides: Mapping[str, Sums], curve: Sequence[Point]) -> str:
    """Mean delay against turns handed on too early: each side with its intervals, and ours at other prices."""
    label = "Mean delay against turns handed on too early"
    return _twice(lambda width: _tradeoff(sides, curve, width), "tradeoff", label)


def _tradeoff(sides: Mapping[str, Sums], curve: Sequence[Point], width: float) -> Figure:
    figure, axes = _figure(width, 3.8)
    shown = [point for point in curve if point.sums.judged and point.sums.delays.count]
    if shown:
        xs = [100 * point.sums.shares["too early"].value for point in shown]
        ys = [point.sums.delays.mean for point in shown]
        axes.plot(xs, ys, "-o", ms=3, lw=1.2, c=_LIGHT["ours"], label="hearout at other prices")
        for point, x, y in zip(shown, xs, ys, strict=True):
            axes.annotate(f"{point.price:g}", (x, y), (4, 4), textcoords="offset points", color=_LIGHT["muted"], size=8)
    for side, sums in sides.items():
        share, delay = sums.shares["too early"], sums.delays
        if not share.count or not delay.count:
            continue
        low, high = share.between
        least, most = sums.delay_between
        axes.errorbar(
            100 * share.value,
            delay.mean,
            xerr=[[100 * (share.value - low)], [100 * (high - share.value)]],
            yerr=[[max(0.0, delay.mean - least)], [max(0.0, most - delay.mean)]],
            fmt="s",
            ms=6,
            lw=1.4,
            c=_LIGHT[side],
            label=f"{_NAMES[side]}, with 95 % intervals",
        )
    axes.set_xlabel("handed on too early, % of the turns handed on")
    axes.set_ylabel("mean delay, s")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    _legend(axes, 3 if width == _WIDE else 1)
    return figure


def delays(sides: Mapping[str, Sums]) -> str:
    """How many ends were answered by when: a curve that climbs."""
    return _twice(lambda width: _delays(sides, width), "delays", "Share of the ends of turns that were noticed by then")


def _delays(sides: Mapping[str, Sums], width: float) -> Figure:
    figure, axes = _figure(width, 3.2)
    for side, sums in sides.items():
        steps = sorted(sums.delays.steps.items())
        xs, ys, seen = [0.0], [0.0], 0
        for step, n in steps:
            seen += n
            if step / 100 < MISSED:
                xs.append(step / 100)
                ys.append(100 * seen / sums.delays.count)
        if seen:
            axes.step([*xs, MISSED], [*ys, ys[-1]], where="post", lw=1.6, c=_LIGHT[side], label=_NAMES[side])
    axes.axvline(DEAD_AIR, c=_LIGHT["muted"], lw=0.8, ls="--")
    axes.annotate("dead air", (DEAD_AIR, 4), (4, 0), textcoords="offset points", color=_LIGHT["muted"], size=8)
    axes.set_xlim(0, MISSED)
    axes.set_ylim(0, 102)
    axes.set_xlabel("seconds after the end of speech")
    axes.set_ylabel("ends that were taken for one, %")
    _legend(axes)
    return figure


def hours(sides: Mapping[str, Mapping[str, Share]]) -> str:
    """Cut-ins by the hour of the day, with their intervals."""
    return _twice(lambda width: _hours(sides, width), "hours", "Cut-ins by the hour of the day")


def _hours(sides: Mapping[str, Mapping[str, Share]], width: float) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(width, 2.8)
    for number, (side, by_hour) in enumerate(sides.items()):
        known = [(int(hour), share) for hour, share in by_hour.items() if share.count and hour.isdecimal()]
        xs = [hour + 0.12 * number for hour, _ in known]
        ys = [100 * share.value for _, share in known]
        low = [100 * (share.value - share.between[0]) for _, share in known]
        high = [100 * (share.between[1] - share.value) for _, share in known]
        axes.errorbar(xs, ys, yerr=[low, high], fmt="o", ms=4, lw=1, c=_LIGHT[side], label=_NAMES[side])
    axes.set_xlabel("hour of the day")
    axes.set_ylabel("cut-ins, %")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    return figure


def timeline(scene: Scene, number: int) -> str:
    """One turn: who spoke, the words, and when each turn detection took it for over."""
    return _twice(lambda width: _timeline(scene, width), f"scene{number}", "The turn against time")


def _timeline(scene: Scene, width: float) -> Figure:
    rows = _rows(scene, width * 72 - _NAMES_WIDTH)
    count = 1 + max((row for _, _, row in rows), default=0)
    lanes = {"agent": 0.0, "user": 1.0, "words": 2.0}
    bottom = 2.0 + count * 0.7
    figure, axes = _figure(width, 0.9 + 0.26 * (bottom + 2))
    for name, spans, colour in (("agent", scene.agent, "agent"), ("user", scene.voice, "voice")):
        bars = [(on, off - on) for on, off in spans]
        axes.broken_barh(bars, (lanes[name] + 0.2, 0.6), facecolors=_LIGHT[colour])
    for at, text, row in rows:
        axes.text(at, 2.1 + row * 0.7, text, size=9, color=_LIGHT["ink"], va="top", clip_on=True, parse_math=False)
    ticks, labels = [0.5, 1.5], ["agent", "user"]
    for side, commits in (("bot", scene.bot), ("ours", scene.ours)):
        if side == "bot" and scene.turn.bot is None:
            continue
        ticks.append(bottom + 0.5)
        labels.append(_NAMES[side])
        for at, _ in commits:
            axes.plot([at, at], [0, bottom + 0.5], c=_LIGHT[side], lw=1, ls="--")
            axes.plot([at], [bottom + 0.5], "D", c=_LIGHT[side], ms=6)
        bottom += 1
    axes.set_xlim(scene.start, scene.stop)
    axes.set_ylim(bottom + 0.1, -0.1)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds of the call")
    return figure


def _rows(scene: Scene, points: float) -> list[tuple[float, str, int]]:
    """Each word with a row in which it does not run into the one before; the last ones end where the picture does."""
    ends: list[float] = []
    second = points / (scene.stop - scene.start)
    out = []
    for at, text in scene.words:
        shown = printable(text, 24)
        left = min(at, scene.stop - len(shown) * _LETTER / second)
        row = next((n for n, end in enumerate(ends) if end <= left), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = left + (len(shown) + 1.5) * _LETTER / second
        out.append((left, shown, row))
    return out


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_color(_LIGHT["line"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_LIGHT["muted"], labelsize=9)
    axes.xaxis.label.set_color(_LIGHT["muted"])
    axes.yaxis.label.set_color(_LIGHT["muted"])
    axes.grid(color=_LIGHT["line"], lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(axes: Axes, columns: int = 3) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            fontsize=9, frameon=False, labelcolor=_LIGHT["ink"], loc="lower right", bbox_to_anchor=(1, 1), ncols=columns
        )


def _twice(draw: Callable[[float], Figure], name: str, label: str) -> str:
    return _inline(draw(_WIDE), name, "broad", label) + _inline(draw(_NARROW), f"{name}-", "narrow", label)


def _inline(figure: Figure, name: str, kind: str, label: str) -> str:
    """The picture as an element of HTML: colours become the page's variables, ids get a name of their own."""
    from matplotlib import rc_context

    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the scripts that are missing
        figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="([\d. ]+)"', text)
    assert box is not None
    head = f'<svg class="{kind}" viewBox="{box[1]}" role="img" aria-label="{label}">'
    text = head + text[text.index(">") + 1 :].replace("xlink:href", "href")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", text)
    for variable, light in _LIGHT.items():
        text = text.replace(light, f"var(--{variable})")
    return text.strip()
