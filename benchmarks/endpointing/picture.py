"""The curves of `benchmarks.endpointing` as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.endpointing.candidates import PRESET
from benchmarks.endpointing.curves import EOT_BENCH, Row, front, mean, p50, p90, sound
from hearout.errors import UsageError
from hearout.extras import needs_extra

__all__ = ["draw"]


def draw(results: Sequence[tuple[str, Sequence[Row]]], path: Path) -> None:
    """One row a scenario: p50, mean and p90 to the right, cutoffs per hold upwards.

    Raises:
        UsageError: matplotlib is missing, or the file cannot be written.
    """
    with needs_extra("plot", "--plot"):
        from matplotlib.figure import Figure  # takes a second to import
    picture = Figure(figsize=(20, 6.5 * len(results)), layout="constrained")
    grid = picture.subplots(len(results), 3, squeeze=False, sharey=True)
    measures = (("median", p50), ("mean", mean), ("90th percentile", p90))
    for (scenario, rows), panels in zip(results, grid, strict=True):
        for axes, (name, latency) in zip(panels, measures, strict=True):
            families = dict.fromkeys(row.candidate.family for row in rows)
            for family in families:
                members = [row for row in rows if row.candidate.family == family]
                x = [latency(row.figures) for row in members]
                y = [100 * row.figures.per_hold for row in members]
                if family == PRESET:
                    axes.plot(x, y, "*", markersize=15, color="black", label="presets", zorder=3)
                    for row in members:
                        at = (latency(row.figures), 100 * row.figures.per_hold)
                        axes.annotate(row.candidate.label, at, xytext=(7, 5), textcoords="offset points")
                else:
                    dashed = ":" in family
                    axes.plot(x, y, ".--" if dashed else "o-", markersize=4, linewidth=1, label=family)
            best = front(sound(rows), latency)
            axes.plot(
                [latency(row.figures) for row in best],
                [100 * row.figures.per_hold for row in best],
                "o",
                markersize=11,
                markerfacecolor="none",
                markeredgecolor="tab:red",
                label="nothing better tried (that misses no turns or words)",
            )
            if name == "median" and scenario == "agent":
                others = [(at, share) for _, _, five, ten in EOT_BENCH.values() for at, share in ((five, 5), (ten, 10))]
                label = "other data: eot-bench, published"
                axes.plot(*zip(*others, strict=True), "x", color="grey", markersize=7, label=label)
                for model, (_, _, five, _) in EOT_BENCH.items():
                    style: dict[str, Any] = {"textcoords": "offset points", "color": "grey", "size": 7, "rotation": 60}
                    axes.annotate(model, (five, 5), xytext=(1, 5), **style)
            axes.set_xlim(0, 3)
            axes.set_ylim(0, 60)
            axes.set_xlabel(f"latency after the last word, {name}, s")
            axes.set_ylabel("cutoffs, % of the pauses inside turns")
            axes.set_title(scenario)
            axes.grid(alpha=0.3)
        panels[0].legend(fontsize=7)
    try:
        picture.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {path}: {error}") from None
