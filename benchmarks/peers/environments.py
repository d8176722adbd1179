"""The environments in which the peers live: installed on demand, never a dependency."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CACHE", "LIVEKIT", "PIPECAT", "Failed", "python_in"]

PIPECAT = ("pipecat-ai[deepgram,silero]==1.14.*",)
LIVEKIT = ("livekit-agents==1.8.*", "livekit-plugins-deepgram==1.8.*", "livekit-plugins-silero==1.8.*")
#: Where they are installed unless told otherwise.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hearout-peers"


class Failed(Exception):
    """A system could not be installed or run."""


def python_in(directory: Path, requires: Sequence[str]) -> str:
    """The interpreter of an environment with these packages, which is made when it is not there.

    Raises:
        Failed: it cannot be made.
    """
    python = directory.resolve() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = directory / "installed.txt"
    if not done.exists():
        print(f"installing {' '.join(requires)} into {directory}", file=sys.stderr, flush=True)
        commands = (
            [sys.executable, "-m", "venv", str(directory)],
            [str(python), "-m", "pip", "install", *requires],
        )
        for command in commands:
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
                raise Failed(f"{requires[0]} could not be installed: {' '.join(command)}")
        done.write_text("\n".join(requires))
    return str(python)
