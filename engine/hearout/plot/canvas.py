"""A picture with time along the x axis, and y in pixels from the top down, that grows as lanes are added."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hearout.plot.timeline import Moment, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Canvas", "Rows", "Symbol"]

INK, MUTED, LINE, BAND = "#1f2933", "#66727f", "#dde2e8", "#f6f8fa"
ROW = 15  # pixels a line of text takes
GAP = 5  # pixels between two labels of a row

_WIDTH, _DPI = 1600, 100
_LEFT, _RIGHT, _TOP, _BOTTOM = 112, 26, 42, 30  # pixels: lane names, -, title, axis
_FONT = 9.0  # points; 12.5 pixels
_KEY_ROW = 24  # pixels of a row of the legend


@dataclass(frozen=True, slots=True)
class Symbol:
    """How a kind of mark is drawn, and its name in the legend."""

    marker: str
    colour: str
    filled: bool
    name: str
    size: int = 8  # pixels


class Rows:
    """Finds for labels, from left to right, the first row in which each overlaps no other.

    Attributes:
        ends: right end of the last label of each row, pixels.
    """

    def __init__(self) -> None:
        self.ends: list[float] = []

    def place(self, left: float, width: float) -> int:
        """The row of a label that begins at ``left``."""
        row = next((n for n, end in enumerate(self.ends) if end + GAP <= left), len(self.ends))
        self.ends[row:] = [left + width, *self.ends[row + 1 :]]
        return row


class Canvas:
    """One picture of the time from ``start`` to ``stop``.

    Attributes:
        start, stop: seconds.
        axes: for strokes that have no method here.
        y: where the next lane goes.
    """

    def __init__(self, start: float, stop: float, symbols: Mapping[str, Symbol]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.start, self.stop = start, stop
        self.y = 0.0
        self._symbols = symbols
        self._used: set[str] = set()
        self._second = (_WIDTH - _LEFT - _RIGHT) / (stop - start)  # pixels
        # The height is known when all lanes are laid out; `save` sets it.
        self._figure: Figure = Figure(figsize=(_WIDTH / _DPI, 1), dpi=_DPI, facecolor="white")
        self._renderer: Any = FigureCanvasAgg(self._figure).get_renderer()  # type: ignore[no-untyped-call]
        self.axes: Axes = self._figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(start, stop)

    # -- where things are ---------------------------------------------------------------------------------------

    def x(self, at: float) -> float:
        """Pixels from the left edge."""
        return (at - self.start) * self._second

    def time(self, x: float) -> float:
        """The opposite of `x`."""
        return self.start + x / self._second

    def seconds(self, pixels: float) -> float:
        """How much time so many pixels are."""
        return pixels / self._second

    def shows(self, span: Span) -> bool:
        """Whether any of it lies on this picture."""
        return span.stop >= self.start and span.start <= self.stop

    @property
    def right(self) -> float:
        """The right edge, in pixels."""
        return _WIDTH - _LEFT - _RIGHT

    def width(self, text: str, *, italic: bool = False, weight: str = "normal") -> float:
        """Of a label, in pixels."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=_FONT, style="italic" if italic else "normal", weight=weight)
        width, _, _ = self._renderer.get_text_width_height_descent(text, font, ismath=False)
        return float(width)

    def shorten(self, text: str, room: float) -> str:
        """Cut to ``room`` pixels."""
        if self.width(text) <= room:
            return text
        fits = bisect_right(range(1, len(text) + 1), room, key=lambda letters: self.width(text[:letters] + "…"))
        return text[:fits].rstrip() + "…"

    def wrap(self, text: str, room: float, most: int) -> list[str]:
        """Break into at most ``most`` lines of ``room`` pixels."""
        lines: list[str] = []
        for token in text.split(" "):
            if lines and self.width(f"{lines[-1]} {token}") <= room:
                lines[-1] += f" {token}"
            elif len(lines) == most:
                lines[-1] = self.shorten(f"{lines[-1]} {token}", room)
                break
            else:
                lines.append(token)
        return [self.shorten(line, room) for line in lines]

    # -- drawing ------------------------------------------------------------------------------------------------

    def lane(self, name: str, height: float, draw: Callable[[float], None]) -> None:
        """A band with its name at the left; ``draw`` is given the upper edge."""
        top = self.y
        self.axes.axhspan(top, top + height, color=BAND, lw=0, zorder=0)
        self.axes.annotate(
            name,
            (0, top + height / 2),
            xycoords=("axes fraction", "data"),
            xytext=(-10, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=_FONT,
            color=MUTED,
        )
        draw(top)
        self.y += height + 4

    def bar(self, span: Span, y: float, height: float, colour: str, **style: Any) -> None:
        """A rectangle; never thinner than can be seen."""
        from matplotlib.patches import Rectangle

        style = {"edgecolor": "none", "lw": 0, "zorder": 2, **style}
        width = max(span.stop - span.start, 1.5 / self._second)
        self.axes.add_patch(Rectangle((span.start, y), width, height, facecolor=colour, **style))

    def mark(self, mark: Moment, y: float, zorder: float = 4) -> None:
        """The symbol of ``mark.kind``, which then is in the legend."""
        if self.start <= mark.at <= self.stop:
            self._used.add(mark.kind)
            style = _style(self._symbols[mark.kind])
            self.axes.plot([mark.at], [y], ls="", zorder=zorder, clip_on=False, **style)

    def text(
        self,
        at: float,
        y: float,
        text: str,
        *,
        colour: str = INK,
        dx: float = 0,
        align: str = "left",
        italic: bool = False,
        weight: str = "normal",
        background: str | None = None,
    ) -> None:
        """A label beside the point; ``dx`` pixels from it."""
        self.axes.annotate(
            text,
            (at, y),
            xytext=(dx * 72 / _DPI, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=_FONT,
            color=colour,
            style="italic" if italic else "normal",
            weight=weight,
            parse_math=False,
            annotation_clip=False,
            zorder=5,
            bbox=None if background is None else {"fc": background, "ec": "none", "pad": 1},
        )

    def save(self, title: str, path: Path) -> None:
        """Add the axis, the title and the legend, and write the file.

        Raises:
            OSError: it cannot be written.
        """
        rows = self._legend_rows()
        bottom = _BOTTOM + _KEY_ROW * len(rows)
        height = self.y + _TOP + bottom
        self._figure.set_size_inches(_WIDTH / _DPI, height / _DPI)
        self._draw_axis(height, bottom)
        label = self._figure.text
        title = self.shorten(title, (_WIDTH - _LEFT - _RIGHT) * 0.75)
        label(
            _LEFT / _WIDTH, 1 - 20 / height, title, fontsize=11, weight="bold", color=INK, va="center", parse_math=False
        )
        x, y = (_LEFT - 14) / _WIDTH, (bottom - 13) / height
        label(x, y, "seconds", fontsize=_FONT, color=MUTED, ha="right", va="center")
        for number, row in enumerate(rows):
            self._draw_legend_row(row, (bottom - 42 - _KEY_ROW * number) / height)
        self._figure.savefig(path, dpi=_DPI)

    def _draw_axis(self, height: float, bottom: float) -> None:
        from matplotlib.ticker import MultipleLocator

        axes = self.axes
        axes.set_position((_LEFT / _WIDTH, bottom / height, 1 - (_LEFT + _RIGHT) / _WIDTH, self.y / height))
        axes.set_ylim(self.y, 0)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MultipleLocator(0.5 if self.stop - self.start <= 8 else 1))
        axes.tick_params(axis="x", colors=MUTED, labelsize=_FONT, length=3)
        axes.grid(axis="x", color=LINE, lw=0.6)
        axes.set_axisbelow(True)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(LINE)

    def _legend_rows(self) -> list[list[Symbol]]:
        rows: list[list[Symbol]] = []
        room = 0.0
        for symbol in (symbol for kind, symbol in self._symbols.items() if kind in self._used):
            width = self.width(symbol.name) + 46  # the symbol, and the space round it
            if width > room:
                rows.append([])
                room = float(_WIDTH - _LEFT - _RIGHT)
            rows[-1].append(symbol)
            room -= width
        return rows

    def _draw_legend_row(self, symbols: list[Symbol], y: float) -> None:
        from matplotlib.lines import Line2D

        self._figure.legend(
            handles=[Line2D([], [], ls="", label=symbol.name, **_style(symbol)) for symbol in symbols],
            loc="center left",
            bbox_to_anchor=((_LEFT - 8) / _WIDTH, y),
            ncols=len(symbols),
            frameon=False,
            fontsize=_FONT,
            handletextpad=0.1,
            columnspacing=1.4,
            labelcolor=INK,
        )


def _style(symbol: Symbol) -> dict[str, Any]:
    return {
        "marker": symbol.marker,
        "markersize": symbol.size * 72 / _DPI,
        "markeredgecolor": symbol.colour,
        "markerfacecolor": symbol.colour if symbol.filled else "white",
        "markeredgewidth": 1.2,
    }
