"""Helpers for all tests: virtual time, so that nothing ever waits for real."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import settings
from trio.testing import MockClock

collect_ignore = ["integration"]  # its suites have environments of their own

# A shell that starts the suite in the background ignores SIGINT for it, and so would all processes of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite starts hundreds of processes. Where no bytecode is kept, as in many containers, each would compile us again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# pytest --hypothesis-profile=nightly tests/policies tests/faults: what tests/kit/effort.py is about, and more examples.
# No deadline for one example: how long it takes depends on who else uses the machine.
settings.register_profile("fast", max_examples=100, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile("fast")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector need not look through the whole suite again and again."""
    gc.freeze()


@pytest.fixture
def run_virtual() -> Callable[..., Any]:
    """Run an async function on trio's autojump clock: sleeps cost nothing and deadlines are exact."""

    def run(main: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return trio.run(main, *args, clock=MockClock(autojump_threshold=0))

    return run
