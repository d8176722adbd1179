"""Pipecat logs a lot."""

from __future__ import annotations

import sys

import pytest
from loguru import logger


@pytest.fixture(autouse=True)
def warnings_only() -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
