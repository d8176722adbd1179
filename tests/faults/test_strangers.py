"""Strangers keep nobody out, whatever they do with their connections, and are gone after 10 s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hearout.serving import Limits
from tests.faults.strangers import KINDS, NUMBER, Stranger, meet


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_strangers(kind: Stranger, run_virtual: Callable[..., Any]) -> None:
    limits = Limits()
    assert max(limits.strangers, limits.connections) < NUMBER
    served, gone = run_virtual(meet, kind)
    assert served == 0
    assert gone <= limits.handshake + 1
