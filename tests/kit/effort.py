"""How much is tried: every day a part that is spread over all, every night all of it.

``pytest --hypothesis-profile=nightly``.
"""

from __future__ import annotations

from hypothesis import settings

__all__ = ["nightly"]


def nightly() -> bool:
    """This is the run that has the time."""
    return settings().max_examples > 1000
