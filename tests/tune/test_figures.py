"""Figures and how unsure they are."""

from __future__ import annotations

import pytest

from hearout.tune.figures import wilson


@pytest.mark.parametrize("count", range(1, 60))
def test_the_interval_of_a_share_contains_it(count: int) -> None:
    for hits in range(count + 1):
        low, high = wilson(hits, count)
        assert 0.0 <= low <= hits / count <= high <= 1.0
    assert (wilson(0, count)[0], wilson(count, count)[1]) == (0.0, 1.0)
