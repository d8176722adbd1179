"""How many may come: places for those who were let in, and room to wait for those of whom nothing is known yet."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from hearout.serving.limits import Limits

__all__ = ["Admission", "Visitor"]


class Visitor:
    """One connection: a stranger, until it is admitted.

    Attributes:
        scope: around all that is done for it. A stranger that must leave is cancelled.
        places: that it takes; 0: it is a stranger.
    """

    def __init__(self, network: str, deadline: float) -> None:
        self.network = network
        self.scope = trio.CancelScope(deadline=deadline)
        self.places = 0


class Admission:
    """Strangers and places of one server.

    Whoever connects may wait as a stranger: somebody who has waited longer leaves for it if need be. So nobody can
    keep others out by connecting and saying nothing. Who is let in no longer depends on the strangers.

    Args:
        crowded: called when a stranger has to leave.
    """

    def __init__(self, limits: Limits, crowded: Callable[[], object]) -> None:
        self._limits = limits
        self._crowded = crowded
        self._strangers: dict[Visitor, None] = {}  # in the order in which they came
        self._taken = 0

    @property
    def taken(self) -> int:
        """Places."""
        return self._taken

    @property
    def strangers(self) -> int:
        """How many there are."""
        return len(self._strangers)

    @contextmanager
    def visitor(self, address: str) -> Iterator[Visitor]:
        """A new stranger, for the length of a block, which ends early when its time is up or its room is needed."""
        visitor = Visitor(_network(address), trio.current_time() + self._limits.handshake)
        self._make_room(visitor.network)
        self._strangers[visitor] = None
        try:
            with visitor.scope:
                yield visitor
        finally:
            self._strangers.pop(visitor, None)
            self._taken -= visitor.places

    def admit(self, visitor: Visitor, places: int = 1) -> bool:
        """Give a stranger its place, or somebody more of them; False when there are too few.

        From now on there is no end to its time.
        """
        if self._taken + places > self._limits.connections:
            return False
        self._strangers.pop(visitor, None)
        self._taken += places
        visitor.places += places
        visitor.scope.deadline = float("inf")
        return True

    def _make_room(self, network: str) -> None:
        neighbours = [stranger for stranger in self._strangers if stranger.network == network]
        if len(neighbours) >= self._limits.strangers_per_address:
            leaves = neighbours[0]
        elif len(self._strangers) >= self._limits.strangers:
            leaves = next(iter(self._strangers))
        else:
            return
        del self._strangers[leaves]
        leaves.scope.cancel()
        self._crowded()


def _network(address: str) -> str:
    """What one sender can have: an address of IPv4, 64 bits of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # no IP: a socket of the file system, a stream in memory
        return address
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((int(parsed), 64), strict=False))
