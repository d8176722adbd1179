"""The curves of `benchmarks.endpointing` as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.endpointing.candidates import PRESET
from benchmarks.endpointing.curves import Row, mean, p50
from hearout.errors import UsageError
from hearout.extras import needs_extra

__all__ = ["draw"]

#: What a reader compares; of other families the first are drawn. More than five series nobody tells apart.
_TOLD = {
    "balanced: silence.price": "hearout, by its price",
    "balanced, deaf to text: hold": "hearout, deaf to the text",
    "timer": "a timer behind the voice detection",
    "endpointing+utterance_end": "Deepgram's speech_final, or else UtteranceEnd",
}
_MOST = 4  # and the presets
_STYLES = ("o-", "s--", "^:", "D-.")


def draw(results: Sequence[tuple[str, Sequence[Row]]], path: Path) -> None:
    """One row a scenario: median and mean of the latency to the right, cutoffs per hold upwards.

    Raises:
        UsageError: matplotlib is missing, or the file cannot be written.
    """
    with needs_extra("plot", "--plot"):
        from matplotlib.figure import Figure  # takes a second to import
    picture = Figure(figsize=(13, 5.5 * len(results)), layout="constrained")
    grid = picture.subplots(len(results), 2, squeeze=False, sharey=True)
    for (scenario, rows), panels in zip(results, grid, strict=True):
        families = list(dict.fromkeys(row.candidate.family for row in rows if row.candidate.family != PRESET))
        drawn = [family for family in _TOLD if family in families] or families[:_MOST]
        for axes, (name, latency) in zip(panels, (("median", p50), ("mean", mean)), strict=True):
            for family, style in zip(drawn, _STYLES, strict=False):
                members = [row for row in rows if row.candidate.family == family]
                x = [latency(row.figures) for row in members]
                y = [100 * row.figures.per_hold for row in members]
                axes.plot(x, y, style, markersize=5, linewidth=1.5, label=_TOLD.get(family, family))
            for row in rows:
                if row.candidate.family == PRESET:
                    at = (latency(row.figures), 100 * row.figures.per_hold)
                    axes.plot(*at, "*", markersize=15, color="black", zorder=3)
                    axes.annotate(row.candidate.label, at, xytext=(7, 5), textcoords="offset points")
            axes.set_xlim(0, 2.6)
            axes.set_ylim(0, 60)
            axes.set_xlabel(f"{name} latency after the last word, s")
            axes.set_ylabel("pauses inside turns that are cut off, %")
            axes.set_title(scenario)
            axes.grid(alpha=0.3)
        panels[0].legend(fontsize=9)
    try:
        picture.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {path}: {error}") from None
