"""``hearout serve --workers N``: several processes that take calls from one socket, and one that looks after them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import trio

from hearout.backoff import Backoff
from hearout.cli.counting import Counting, forget_worker
from hearout.errors import UsageError
from hearout.nursery import open_background
from hearout.serving.signals import ending_signals, insisted

__all__ = ["Workers", "end_of_supervisor"]

_log = logging.getLogger(__name__)

_FIRST, _LONGEST = 0.5, 30.0  # seconds before a worker that has ended is started anew
_STABLE = 60.0  # seconds after which its end is no consequence of its start


class Workers:
    """Processes of one command, which inherit a socket that listens.

    The kernel gives a connection to one of those that wait for it, so to one that has the time; none is lost when a
    worker ends. (With a socket for each and SO_REUSEPORT the kernel would pick by address, also one that is full, and
    those that had been picked for a worker that ends would be reset.)

    Args:
        command: of a worker. It is told the socket as ``--fd NUMBER``, and prints a line when it takes calls.
        count: how many.
        listening: the file descriptor of the socket.
        announce: called once, when all of them take calls.
    """

    def __init__(self, command: Sequence[str], count: int, listening: int, announce: Callable[[], object]) -> None:
        self._command = [*command, "--fd", str(listening)]
        self._count = count
        self._announce = announce
        self._listening = listening
        self._processes: set[trio.Process] = set()
        self._serving: set[trio.Process] = set()  # those that have taken calls, perhaps
        self._ready = 0
        self._ending = trio.Event()
        self._status = 0

    async def run(self) -> int:
        """Until SIGTERM, SIGINT or SIGHUP, which drain all workers; a second one ends them at once.

        Gives the exit status.

        What is wrong with the options is told by the first worker, and ends the others, too.
        """
        with (
            _folder() as counts,
            trio.open_signal_receiver(*ending_signals()) as signals,
        ):
            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as workers:
                    for _ in range(self._count):
                        workers.start_soon(self._keep, counts)

                    async def obey() -> None:
                        await anext(signals)
                        self._end()
                        await insisted(signals)
                        self._end()

                    nursery.start_soon(obey)
                nursery.cancel_scope.cancel()
        return self._status

    def _end(self) -> None:
        """Drain them; if they do so already, it is too late for that."""
        for process in self._processes if self._ending.is_set() else self._processes - self._serving:
            process.kill()
        self._ending.set()

    async def _keep(self, counts: str) -> None:
        """One worker, and the next one in its place."""
        backoff = Backoff(_FIRST, _LONGEST)
        while not self._ending.is_set():
            began = trio.current_time()
            process = await self._start(counts)
            await self._watch(process)
            forget_worker(process.pid, counts)
            if self._ending.is_set():
                return
            if process.returncode == 2:  # bad usage, which another attempt does not mend
                self._status = 2
                self._end()
                return
            if trio.current_time() - began > _STABLE:
                backoff.end()
            pause = backoff.pause(trio.current_time(), float("inf")) or 0.0
            _log.warning("worker %d ended with %d: a new one in %g s", process.pid, process.returncode, pause)
            with trio.move_on_after(pause):
                await self._ending.wait()

    async def _start(self, counts: str) -> trio.Process:
        process = await trio.lowlevel.open_process(
            self._command,
            stdin=subprocess.PIPE,  # whose end tells it that we are gone
            stdout=subprocess.PIPE,
            env=os.environ | {Counting.WORKERS_VARIABLE: counts},
            pass_fds=[self._listening],
            start_new_session=True,  # Ctrl-C is for us
        )
        self._processes.add(process)
        return process

    async def _watch(self, process: trio.Process) -> None:
        """Until it has ended."""
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            async with process.stdin, process.stdout, open_background() as background:
                background.start_soon(self._drain, process)
                async for _ in process.stdout:
                    if process not in self._serving:
                        self._serving.add(process)
                        self._ready += 1
                        if self._ready == self._count:
                            self._announce()
                await process.wait()
        finally:
            self._processes.discard(process)
            self._serving.discard(process)
            if process.returncode is None:
                process.kill()

    async def _drain(self, process: trio.Process) -> None:
        # Not by a signal: systemd sends one to each process of a service, and a second would end it at once.
        await self._ending.wait()
        assert process.stdin is not None
        await process.stdin.aclose()


def _folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory()
    except OSError:
        raise UsageError("--workers: there is no folder for temporary files, in which they count: set TMPDIR") from None


async def end_of_supervisor() -> None:
    """In a worker: until who started it is gone, or wants it to drain."""
    # Not through sys.stdin: its lock, held by the thread that is abandoned here, would abort the interpreter's exit.
    while await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 4096, abandon_on_cancel=True):
        pass
