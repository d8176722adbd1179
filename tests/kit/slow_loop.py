"""An event loop that something else keeps busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["blocked"]

_EACH = 0.06  # seconds


@asynccontextmanager
async def blocked(seconds: float) -> AsyncIterator[None]:
    """For the length of the block the loop stands still so long in each 0.06 s."""

    async def block() -> None:
        while True:
            await asyncio.sleep(_EACH - seconds)
            time.sleep(seconds)  # noqa: ASYNC251 (that is the point)

    blocking = asyncio.create_task(block())
    try:
        yield
    finally:
        blocking.cancel()
        await asyncio.wait([blocking])
