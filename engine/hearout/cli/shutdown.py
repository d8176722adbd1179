"""How a command that listens ends at a signal: the audio is over, and what was said is told."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from hearout.cli.output import complain
from hearout.nursery import open_background
from hearout.serving.signals import ending_signals, insisted
from hearout.sources.base import AudioSource

__all__ = ["GRACE", "Shutdown", "run_until_signal"]

GRACE = 8.0  # seconds for the last words; who sends SIGTERM most often waits for 10 before the kill
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}  # else the terminal is gone


class Shutdown:
    """Ends audio before its time.

    Attributes:
        applied: it did.
        force_end: of the session; some policies wait for long even when there is no more audio.
    """

    def __init__(self) -> None:
        self.applied = False
        self.force_end: Callable[[], object] = lambda: None
        self._scope: trio.CancelScope | None = None  # of whoever waits for audio

    @property
    def applies(self) -> bool:
        """There is audio to end."""
        return self._scope is not None

    def end(self) -> None:
        """No more of it is heard."""
        self.applied = True
        self.force_end()
        if self._scope is not None:
            self._scope.cancel()

    def of(self, source: AudioSource) -> AudioSource:
        """The same audio, until `end`."""
        return _Audio(self, source)

    async def next(self, chunks: AsyncIterator[bytes]) -> bytes:
        """The next chunk.

        Raises:
            StopAsyncIteration: there is none, or it is not wanted any more.
        """
        if not self.applied:
            with trio.CancelScope() as self._scope:
                return await anext(chunks)
        raise StopAsyncIteration


class _Audio:
    def __init__(self, shutdown: Shutdown, source: AudioSource) -> None:
        self.sample_rate, self.channels, self.duration = source.sample_rate, source.channels, source.duration
        self._shutdown = shutdown
        self._chunks = aiter(source)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self._shutdown.next(self._chunks)


async def run_until_signal(main: Callable[[Shutdown], Awaitable[int]]) -> int:
    """Run ``main``, which listens; returns the exit status.

    SIGTERM, SIGINT or SIGHUP ends the audio, and ``main`` has `GRACE` seconds to tell the last turn. A second signal,
    or one before there is audio, ends it at once.
    """
    shutdown, status = Shutdown(), 0
    caught: list[signal.Signals] = []

    async def obey(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        caught.append(signal.Signals(await anext(signals)))
        if shutdown.applies:
            shutdown.end()
            with trio.move_on_after(GRACE):
                await insisted(signals)
        scope.cancel()

    with trio.open_signal_receiver(*ending_signals()) as signals:
        async with open_background() as nursery:
            nursery.start_soon(obey, signals, nursery.cancel_scope)
            status = await main(shutdown)
    if not caught:
        return status
    complain(f"hearout: {_WORDS.get(caught[0], 'hung up')}")
    return 128 + caught[0]
