"""Processes that work: joblib's, which may be those of this machine or of a cluster."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hearout.extras import needs_extra

__all__ = ["pool"]


def pool(jobs: int, extra: str, purpose: str) -> Any:
    """A ``joblib.Parallel`` that runs, and gives results in the order of their tasks as they come.

    Args:
        jobs: processes; -1: one a core. Within ``joblib.parallel_config`` that decides.
        extra, purpose: what joblib comes with, and what needs it.

    Raises:
        UsageError: joblib is missing.
    """
    with needs_extra(extra, purpose):
        from joblib import Parallel, delayed
    parallel = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    with _interrupts_wait():
        list(parallel(delayed(bool)() for _ in range(2)))
    return parallel


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C comes at the end: joblib can neither use nor end processes that are half started, and they complain."""
    if threading.current_thread() is not threading.main_thread():  # no signal is handled in others
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)
