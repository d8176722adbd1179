"""Which hearout this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("hearout")
except PackageNotFoundError:
    __version__ = "(not installed)"  # run from a source tree
