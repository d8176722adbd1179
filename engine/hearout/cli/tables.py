"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["print_table"]


def print_table(rows: Sequence[Sequence[str]], align: str) -> None:
    """Print rows in columns, two blanks apart.

    Args:
        align: ``<`` or ``>`` for each column but the last, which is as wide as it likes; further lines of its text
            stand below the first.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(align))]
    indent = " " * (sum(widths) + 2 * len(widths))
    for row in rows:
        first, *more = row[-1].splitlines() or [""]
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=False)]
        print("  ".join([*cells, first]).rstrip())
        for line in more:
            print(indent + line)
