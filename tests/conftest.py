"""Helpers for all tests: virtual time, so that nothing ever waits for real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock


@pytest.fixture
def run_virtual() -> Callable[..., Any]:
    """Run an async function on trio's autojump clock: sleeps cost nothing and deadlines are exact."""

    def run(main: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return trio.run(main, *args, clock=MockClock(autojump_threshold=0))

    return run
