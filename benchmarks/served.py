"""`hearout serve` as a process, with the transcriber of ``benchmarks.capacity`` behind it as another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["served"]


@contextmanager
def served(*options: str, pinned: bool = True, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server and its port, for the length of a block.

    Args:
        pinned: the server has a core of its own, and the transcriber another.
    """
    with _process(["benchmarks.capacity.server"], 1 if pinned else None) as (_, line):
        url = f"ws://127.0.0.1:{int(line)}/v1/listen"
        command = ["hearout", "serve", "--port", "0", "--stt", "deepgram", "--url", url, *options]
        with _process(command, 0 if pinned else None, DEEPGRAM_API_KEY="any", **environment) as (server, line):
            yield server, int(line.rpartition(":")[2])


@contextmanager
def _process(
    command: Sequence[str], core: int | None, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and the first line that it prints."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    process = subprocess.Popen(
        [*pin, sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # who was refused, and whom the benchmark breaks off in the end
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
