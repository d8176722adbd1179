"""The session clock, and what it does while the audio is late.

A silence is a silence only when it has been heard. Audio that comes over a network is late now and then, by
some tenths of a second, and then in a burst. If the session clock just ran on, a turn would end in a pause that
was none: the user spoke on, only nobody had heard it yet. So the clock waits for the audio, within limits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import trio

__all__ = ["MICRO", "SessionClock"]

MICRO = 1e-6  # the clock counts in microseconds, as traces do
_SLACK = 0.02  # seconds; between two blocks of audio the clock runs on
_WINDOW = 1.0  # seconds of audio; long against jitter, short enough for drift and lost samples


class SessionClock:
    """Seconds since the first audio began; never runs backwards.

    It runs with trio's clock, but not beyond the audio heard by more than a block, until no audio has come
    for ``patience`` seconds: then there is none, and time passes without it. Audio is on time when it comes
    with the least delay seen in the last second of audio; later audio belongs where it would have been then.
    It is never behind the audio.

    When the session is not in real time, this clock *is* audio time until the audio ends.

    Attributes:
        arrived: when the last audio came, on trio's clock.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        realtime: bool = True,
        patience: float = 0.5,
        current_time: Callable[[], float] = trio.current_time,
    ) -> None:
        """``current_time`` is trio's clock; a test may have its own."""
        self.arrived = -math.inf
        self._rate = sample_rate
        self._realtime = realtime
        self._patience = patience
        self._current_time = current_time
        self._frames = 0  # heard so far
        self._zero: float | None = None  # this clock's 0 on trio's; None: it is audio time
        self._ended = False
        self._now = 0.0
        self._offset = 0.0  # this clock minus audio time, when audio is on time
        # (audio time, delay), the latest that are less than all after them: the first is the least.
        self._delays: deque[tuple[float, float]] = deque()

    @property
    def heard(self) -> float:
        """Seconds of audio heard so far."""
        return round(self._frames / self._rate, 6)

    def now(self) -> float:
        """Seconds, to the microsecond."""
        if self._zero is None:
            return self._advance(self.heard)
        moment = self._current_time()
        at = moment - self._zero
        if not self._ended and moment < self.arrived + self._patience:
            # Not to the end of the next block, either: what is due there waits for what it says.
            at = min(at, self._frames / self._rate + self._offset + _SLACK - MICRO)
        return self._advance(round(at, 6))

    def arrive(self, frames: int) -> None:
        """``frames`` of audio have come. Tell `hear` of them, at once or in parts."""
        if not self._realtime:
            return
        moment = self._current_time()
        audio = (self._frames + frames) / self._rate
        if self._zero is None or moment - self._zero < audio:
            # The first, or there is more audio than time has passed: the first was late, or the sound card is fast.
            self._zero = moment - audio
        delay = moment - self._zero - audio
        delays = self._delays
        if moment >= self.arrived + self._patience:
            delays.clear()  # this clock has gone on without the audio
        while delays and delays[-1][1] >= delay:
            delays.pop()
        delays.append((audio, delay))
        while delays[0][0] <= audio - _WINDOW:
            delays.popleft()
        self._offset = delays[0][1]
        self.arrived = moment

    def hear(self, frames: int) -> None:
        """The next ``frames`` are heard."""
        self._frames += frames

    def heard_at(self) -> float:
        """The time of the last audio heard: its own place, also when it was late and more has come with it."""
        return self._advance(round(self._frames / self._rate + self._offset, 6))

    def has_heard(self, at: float) -> bool:
        """All audio before ``at`` is heard."""
        return self._frames / self._rate + self._offset >= at - MICRO

    def pass_by(self, at: float) -> None:
        """What was due at ``at`` is done: whatever comes now comes after it."""
        self._advance(round(math.ceil(at / MICRO) * MICRO + MICRO, 6))

    def wake(self, at: float) -> float:
        """When to see whether it is ``at`` (trio's clock), if no audio comes meanwhile."""
        if self._zero is None:
            return math.inf
        moment = self._zero + at
        return moment if moment > self._current_time() else self.arrived + self._patience

    def end(self) -> None:
        """No audio will come any more: from now on time passes without it."""
        now = self.now()
        self._zero = self._current_time() - now
        self._ended = True

    def _advance(self, at: float) -> float:
        if at > self._now:
            self._now = at
        return self._now
