"""A trace whose last line is not whole: what wrote it was killed, or has not written the rest yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hearout.fields import object_of

__all__ = ["whole_lines"]


def whole_lines(lines: Iterable[str], name: str, broken_off: Callable[[str], object]) -> Iterator[str]:
    """The lines of a file, each with its newline, without a last one that has none and is no JSON.

    Args:
        broken_off: is told, in a line that names the file, where there is such a one. The first line is left as it is:
            nothing comes before it.
    """
    for number, line in enumerate(lines):
        if number and line.strip() and not line.endswith("\n") and not _is_json(line):
            broken_off(f"{name}: broken off in line {number + 1}, the last, which is left out")
        else:
            yield line


def _is_json(line: str) -> bool:
    try:
        object_of(line)
    except ValueError:
        return False
    return True
