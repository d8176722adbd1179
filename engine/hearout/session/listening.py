"""An ear at work in a session: asked once in each silence, in a thread, while audio and time go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from hearout.audio import deinterleave
from hearout.ear.base import Ear

__all__ = ["Listening"]

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("_limiter")


def _cores() -> trio.CapacityLimiter:
    """No more questions at a time than cores, over all sessions: each takes one for some 0.1 s."""
    try:
        return _limiter.get()
    except LookupError:
        _limiter.set(trio.CapacityLimiter(os.cpu_count() or 1))
        return _limiter.get()


@dataclass(frozen=True, slots=True)
class _Question:
    pcm: bytes
    audio: float
    silence: float


class Listening:
    """Remembers the latest audio, and what the ear makes of it.

    Args:
        tell: is given channel, audio time and probability of each answer.
        warn: is told, once, when the ear fails; it is not asked again.
    """

    def __init__(
        self,
        ear: Ear,
        sample_rate: int,
        channels: int,
        tell: Callable[[int, float, float], None],
        warn: Callable[[str], None],
    ) -> None:
        self._ear = ear
        self._sample_rate = sample_rate
        self._size = 2 * round(ear.seconds * sample_rate)  # bytes
        self._latest = [bytearray() for _ in range(channels)]
        self._tell = tell
        self._warn = warn
        self._questions: dict[int, _Question] = {}  # by channel
        self._asked = trio.Event()
        self._answered = trio.Event()
        self._busy = self._failed = False

    def hear(self, block: bytes) -> None:
        """Interleaved audio, in order."""
        monos = (block,) if len(self._latest) == 1 else deinterleave(block, len(self._latest))
        for latest, mono in zip(self._latest, monos, strict=True):
            latest += mono
            if len(latest) > 2 * self._size:  # seldom, as it copies
                del latest[: -self._size]

    def ask(self, channel: int, end: float, heard: float) -> None:
        """The voice of ``channel`` ended at audio time ``end``, and so much audio has been heard."""
        if not self._failed:
            self._questions[channel] = _Question(bytes(self._latest[channel][-self._size :]), heard, heard - end)
            self._asked.set()

    async def settle(self) -> None:
        """Until all questions are answered."""
        while self._questions or self._busy:
            await self._answered.wait()

    async def run(self) -> None:
        """Ask the ear, for as long as the session lasts."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            while self._questions:
                self._busy = True
                channel, question = self._questions.popitem()
                await self._answer(channel, question)
                self._busy = False
            self._answered.set()
            self._answered = trio.Event()

    async def _answer(self, channel: int, question: _Question) -> None:
        ask = partial(self._ear.listen, question.pcm, self._sample_rate, question.silence)
        try:
            odds = await trio.to_thread.run_sync(ask, limiter=_cores(), abandon_on_cancel=True)
            if not 0.0 <= odds <= 1.0:
                raise ValueError(f"{odds!r} is no probability")
        except Exception as error:
            self._failed = True
            self._questions.clear()
            self._warn(f"the ear failed: {type(error).__name__}: {error}; the session goes on without")
        else:
            self._tell(channel, question.audio, round(odds, 4))
