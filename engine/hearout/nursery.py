"""Nurseries for background tasks, without exception groups for the single errors that callers expect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from hearout.errors import leaves_of

__all__ = ["open_background", "sole_error"]


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks that serve a block, and are cancelled when it is left.

    An error of the block, or of one task, comes out as itself and not in a group. When both fail, the block's
    error comes out: what the tasks say is most often a consequence.
    """
    error: BaseException | None = None
    block_error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as exc:
                block_error = exc
                raise
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = sole_error(group)
        if block_error is not None and (error is group or not isinstance(block_error, trio.Cancelled)):
            error = sole_error(block_error)
    # Raised out here, so that the group does not become its context.
    if error is not None:
        raise error


def sole_error(error: BaseException) -> BaseException:
    """The one error in an exception group, cancellations aside; the group itself when there are several."""
    leaves = [leaf for leaf in leaves_of(error) if not isinstance(leaf, trio.Cancelled)]
    return leaves[0] if len(leaves) == 1 else error
