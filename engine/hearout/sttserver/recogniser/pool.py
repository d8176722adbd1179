"""Recogniser processes, from the server's side: one for each channel of each connection, started ahead of need."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from hearout.errors import UsageError
from hearout.extras import MissingExtra
from hearout.sttserver.steps import HeardWord

__all__ = ["Recogniser", "RecogniserFailed", "RecogniserPool"]

_WORKER = Path(__file__).with_name("worker.py")


class RecogniserFailed(Exception):
    """The recogniser's process ended, or could not be started."""


class Recogniser:
    """One recogniser process. Requests are answered one at a time, in order, so waiting for the answer is all the
    back-pressure there needs to be."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._buffer = bytearray()
        self._owes = True  # the first answer comes unasked

    @property
    def in_step(self) -> bool:
        """False when a request was given up half-way: later answers would be those to earlier questions."""
        return not self._owes

    async def ready(self) -> None:
        """Wait until the model is loaded.

        Raises:
            UsageError: it cannot be, for a reason the user can do something about.
            RecogniserFailed: the process ended.
        """
        answer = await self._answer()
        if "missing" in answer:
            raise MissingExtra("local", "the recogniser", answer["missing"])
        if "error" in answer:
            raise UsageError(answer["error"])

    async def decode(self, pcm: bytes) -> None:
        """Decode linear16 audio, mono, 16 kHz; returns when that is done.

        Raises:
            RecogniserFailed: as do all the methods below.
        """
        await self._request(b"A", pcm)

    async def words(self, *, ends: bool) -> list[HeardWord]:
        """The words of the utterance so far or, when it ``ends``, for good."""
        answer = await self._request(b"E" if ends else b"P")
        return [HeardWord(*word) for word in answer["words"]]

    async def reset(self) -> None:
        """Forget the open utterance and everything learnt about the speaker and the line."""
        await self._request(b"R")

    async def aclose(self) -> None:
        """Close the pipes, which ends the process too."""
        await self._stdin.aclose()
        await self._stdout.aclose()

    async def _request(self, kind: bytes, payload: bytes = b"") -> dict[str, Any]:
        self._owes = True
        try:
            await self._stdin.send_all(struct.pack(">cI", kind, len(payload)) + payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise RecogniserFailed("the recogniser's process ended") from None
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        (length,) = struct.unpack(">I", await self._receive_exactly(4))
        answer: dict[str, Any] = json.loads(await self._receive_exactly(length))
        self._owes = False
        return answer

    async def _receive_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = await self._stdout.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise RecogniserFailed("the recogniser's process ended")
            self._buffer += data
        out = bytes(self._buffer[:count])
        del self._buffer[:count]
        return out


# A recogniser, and the scope whose cancellation ends its process.
_Loan = tuple[Recogniser, trio.CancelScope]


class RecogniserPool:
    """Keeps a recogniser ready, and lends them out.

    A full model takes 0.5 s to load. Recognisers that come back in good order are reset and kept, up to ``spare``.

    Args:
        nursery: in which the processes live; cancelling it ends them.
        sentences: a text file, one sentence a line, for the small model; None: the full one.
        spare: how many to keep.
    """

    def __init__(self, nursery: trio.Nursery, *, sentences: Path | None = None, spare: int = 2) -> None:
        self._nursery = nursery
        self._spare = spare
        self._idle: list[_Loan] = []
        self._command = [sys.executable, "-P", str(_WORKER)]
        if sentences is not None:
            self._command += ["--sentences", str(sentences)]

    async def warm_up(self) -> None:
        """Start the first recogniser.

        Raises:
            UsageError, RecogniserFailed: it cannot be started.
        """
        self._idle.append(await self._start())

    @asynccontextmanager
    async def lend(self, count: int) -> AsyncIterator[list[Recogniser]]:
        """``count`` recognisers that know nothing of what others heard.

        Raises:
            UsageError, RecogniserFailed: one cannot be started.
        """
        lent: list[_Loan] = []
        try:
            while len(lent) < count:
                lent.append(self._idle.pop() if self._idle else await self._start())
            if count and not self._idle:
                self._nursery.start_soon(self._refill)
            yield [recogniser for recogniser, _ in lent]
        finally:
            for loan in lent:
                self._nursery.start_soon(self._take_back, loan)

    async def _refill(self) -> None:
        # A failure is not told here: the next connection will meet it, and its client can be told.
        with suppress(UsageError, RecogniserFailed):
            self._idle.append(await self._start())

    async def _take_back(self, loan: _Loan) -> None:
        recogniser, life = loan
        if recogniser.in_step:
            with suppress(RecogniserFailed):
                await recogniser.reset()
                if len(self._idle) < self._spare:
                    self._idle.append(loan)
                    return
        life.cancel()

    async def _start(self) -> _Loan:
        loan: _Loan = await self._nursery.start(self._run_process)
        recogniser, life = loan
        try:
            await recogniser.ready()
        except BaseException:
            life.cancel()
            raise
        return loan

    async def _run_process(self, task_status: trio.TaskStatus[_Loan]) -> None:
        # A session of its own: Ctrl-C is for the server, which then ends this process by closing its stdin.
        process = await trio.lowlevel.open_process(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        recogniser = Recogniser(process)
        try:
            with trio.CancelScope() as life:
                task_status.started((recogniser, life))
                await process.wait()
        finally:
            self._idle = [loan for loan in self._idle if loan[0] is not recogniser]
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                await recogniser.aclose()
