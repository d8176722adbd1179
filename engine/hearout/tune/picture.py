"""A picture of a search: every policy tried, the front, and where the one found stands."""

from __future__ import annotations

import io

from hearout.tune.fit import Compared, Tuned

__all__ = ["picture"]


def picture(tuned: Tuned, kind: str) -> bytes:
    """Draw mean latency against cutoffs; needs matplotlib.

    Args:
        kind: "png", "svg" or "pdf".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot([100 * x for x, _ in tuned.tried], [y for _, y in tuned.tried], ".", c="#8792a0", label="tried")
    front: list[tuple[float, float]] = []
    for cutoffs, late in sorted(tuned.tried):
        if not front or late < front[-1][1]:
            front.append((cutoffs, late))
    axes.step([100 * x for x, _ in front], [y for _, y in front], where="post", c="#2563b8", label="front")
    shown: tuple[tuple[str, Compared, str], ...] = (
        ("start", tuned.base, "#d9730d"),
        ("price alone", tuned.factor, "#a78bbd"),
        ("tuned", tuned.chosen, "#2f8f4e"),
    )
    for name, point, colour in shown:
        axes.plot(100 * point.searched.cutoffs, point.searched.mean, "o", c=colour, label=name)
        held = point.held_out
        if not held.ends:
            continue
        low, high = (100 * share for share in held.cutoffs_between)
        least, most = held.mean_between
        axes.errorbar(
            100 * held.cutoffs,
            held.mean,
            xerr=[[100 * held.cutoffs - low], [high - 100 * held.cutoffs]],
            yerr=[[held.mean - least], [most - held.mean]],
            fmt="x",
            c=colour,
            lw=0.8,
            label=f"{name}, held out (95 %)",
        )
    axes.axvline(100 * tuned.target, c="#e5484d", lw=0.8, ls="--", label="target")
    axes.set_xlabel("holds cut off, %")
    axes.set_ylabel("mean latency, s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format=kind)
    return out.getvalue()
