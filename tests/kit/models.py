"""Recognisers for servers under test."""

from __future__ import annotations

from typing import NoReturn

from hearout.sttserver.recogniser.pool import RecogniserPool

__all__ = ["no_recogniser"]


def no_recogniser() -> RecogniserPool:
    """For servers that a script answers."""

    def load() -> NoReturn:
        raise AssertionError("nobody asks a recogniser")

    return RecogniserPool(load, 1)
