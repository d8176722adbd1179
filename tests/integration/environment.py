"""Run a suite in an environment of its own, which is made the first time."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "main"]

ROOT = Path(__file__).resolve().parents[2]


def main(framework: str, room: str, needed: Sequence[str], pytest: Sequence[str] = ()) -> int:
    """The command of a suite.

    Args:
        framework: its name, for people.
        room: its folder beside this file, and that of its environment.
        needed: what pip is to install.
        pytest: options.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hearout-integration"
    parser = argparse.ArgumentParser(description=f"Test hearout inside {framework}.")
    parser.add_argument("--cache", type=Path, default=base, help="where it is installed (default: %(default)s)")
    parser.add_argument(
        "--compare", action="store_true", help=f"the same calls with the turns of {framework} and with these"
    )
    arguments, more = parser.parse_known_args()
    try:
        python = _installed(arguments.cache.resolve() / room, framework, needed)
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"run_{room}: {framework} could not be installed: {command}", file=sys.stderr)
        return 1
    if arguments.compare:
        return subprocess.call([python, "-m", f"tests.integration.{room}.compare", *more], cwd=ROOT)
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *pytest, *more]
    return subprocess.call([python, *tests], cwd=Path(__file__).parent / room)


def _installed(directory: Path, framework: str, needed: Sequence[str]) -> Path:
    """The interpreter of the environment, which is made when it is not there, or was made for something else."""
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = directory / "installed.txt", "\n".join((*needed, (ROOT / "pyproject.toml").read_text()))
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {framework} into {directory}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
        stamp.write_text(wanted)
    return python
