"""Signals at which what listens comes to its end."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

__all__ = ["ending_signals", "insisted"]

_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none


def ending_signals() -> tuple[signal.Signals, ...]:
    """SIGINT and SIGTERM; and SIGHUP, of a terminal that is closed, unless it is ignored: so ``nohup`` starts us."""
    if _HANGUP is None or signal.getsignal(_HANGUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, _HANGUP


async def insisted(signals: AsyncIterator[int]) -> None:
    """Until another one comes. No SIGHUP: a terminal that is closed sends one, and so does its shell."""
    async for number in signals:
        if number != _HANGUP:
            return
