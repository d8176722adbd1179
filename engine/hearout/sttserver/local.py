"""The local server as a child process, for as long as a block of code runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO

import trio

from hearout.errors import SessionError, UsageError
from hearout.loops import only_in

__all__ = ["TOKEN_VARIABLE", "local_server"]

#: The environment variable for what ``stt-server --token`` says.
TOKEN_VARIABLE = "HEAROUT_STT_TOKEN"

_STOP_TIMEOUT = 2.0  # seconds
_READY = "listening on "
_COMPLAINT = re.compile("^(hearout stt-server|python -m hearout.sttserver: error): ")


@only_in("trio")
async def local_server(protocol: str = "deepgram") -> AsyncIterator[str]:
    """Start the local server on a free port and give its URL, such as ``ws://127.0.0.1:PORT/v1/listen``.

    Args:
        protocol: what it speaks, as in ``hearout stt-server --protocol``: deepgram, flux, soniox, openai, assemblyai
            or elevenlabs.

    The server ends with the block. It ends too when this process is killed, because it watches a pipe from here.

    Raises:
        UsageError: the recogniser is not installed, cannot work on this machine, or has no model here; there is no such
            protocol.
        SessionError: the server did not start for another reason.
    """
    command = [sys.executable, "-m", "hearout.sttserver", "--port", "0", "--until-eof", "--protocol", protocol]
    with tempfile.TemporaryFile() as complaints:
        # A session of its own: Ctrl-C is for this process, which then ends the server in good order.
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE},  # not for this one
            start_new_session=True,
        )
        try:
            line = await _first_line(process)
            if not line.startswith(_READY):
                await process.wait()
                raise _failure(process, complaints)
            yield line.removeprefix(_READY)
        finally:
            with trio.CancelScope(shield=True):
                await _stop(process)


async def _first_line(process: trio.Process) -> str:
    assert process.stdout is not None
    data = b""
    while not data.endswith(b"\n") and (more := await process.stdout.receive_some()):
        data += more
    return data.decode().strip()


def _failure(process: trio.Process, complaints: BinaryIO) -> Exception:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    status = process.returncode or 0
    if status == 2 and lines:
        return UsageError(_COMPLAINT.sub("", lines[-1]))
    if status == -signal.SIGILL:
        return UsageError("the local recogniser uses an instruction that this machine's processor does not have")
    if status < 0:
        return SessionError(f"the local recogniser did not start: it was ended by {signal.Signals(-status).name}")
    detail = next((_COMPLAINT.sub("", line) for line in reversed(lines) if _COMPLAINT.match(line)), None)
    return SessionError(f"the local recogniser did not start: {detail or f'exit status {status}'}")


async def _stop(process: trio.Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    with trio.move_on_after(_STOP_TIMEOUT):
        await process.wait()
    process.kill()
    await process.wait()
    await process.stdout.aclose()
