"""What the rows of the fault matrix are made of: troubles, sounds and sentences."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.faults.server import Sound, Trouble, say

__all__ = [
    "BROKE",
    "GOOD",
    "LONG",
    "REFUSED",
    "UNKNOWN",
    "bursts",
    "flapping",
    "odd_chunks",
    "refusal",
    "sound",
    "talk_for",
]

GOOD = Trouble()
REFUSED = Trouble(error=ConnectionRefusedError(111, "Connection refused"))
UNKNOWN = Trouble(error=socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
BROKE = "link_down link_up"  # what most faults look like


def refusal(status: int, error: str = "", **headers: str) -> Trouble:
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Trouble(status=status, headers=[*lines, (b"dg-error", error.encode())] if error else lines)


def sound(**options: Any) -> Callable[[random.Random, float, int], Sound]:
    return lambda rng, end, channels: Sound(end, channels=channels, **options)


def odd_chunks(rng: random.Random, end: float, channels: int) -> Sound:
    return Sound(end, channels=channels, chunk=lambda: rng.choice([1, 7, 160, 333, 1601, 4000]))


def bursts(rng: random.Random, end: float, channels: int) -> Sound:
    """Every half a second or so the line hangs for a moment; what was said meanwhile comes at once."""
    hangs, at = [], 0.0
    while at < end:
        at += rng.uniform(0.2, 0.8)
        hangs.append((at, at := at + rng.uniform(0.1, 0.4)))
    return Sound(end, channels=channels, late=lambda audio: next((e - audio for s, e in hangs if s <= audio < e), 0.0))


def flapping(times: int, seed: int, pause: tuple[float, float] = (3.5, 6.0)) -> Sequence[Trouble]:
    """A connection is lost after so many seconds of audio; every tenth time the next one is refused."""
    rng = random.Random(seed)
    plans: list[Trouble] = []
    at = 0.0
    for number in range(times):
        at += rng.uniform(*pause)
        plans.append(Trouble(drop_at=at))
        if number % 10 == 9:
            plans.append(REFUSED)
    return [*plans, GOOD]


LONG = say(
    "so i was thinking that we could maybe move the flight from monday to the day after and then take the train "
    "back to town because that would give us more time to see all of the people that we know there thanks.",
    1.0,
)


def talk_for(end: float) -> Iterator[tuple[str, float, float]]:
    """A sentence every 7 s."""
    at = 1.0
    while at < end - 6:
        yield from say("please tell me more about the second of these offers.", at)
        at += 7.0
