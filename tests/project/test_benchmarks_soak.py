"""The soak of ``python -m benchmarks.soak`` still runs, and finds nothing in a few minutes of a bad network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.soak import soak


@pytest.mark.parametrize("seed", [3])
def test_a_short_soak(run_virtual: Callable[..., Any], seed: int) -> None:
    assert run_virtual(soak, 0.1, seed, False)
