"""Test hearout inside LiveKit Agents, in an environment of its own.

    python tests/integration/run_livekit.py [--cache DIR] [--compare] [PYTEST ARGUMENT...]

Installs hearout and LiveKit Agents there the first time (0.4 GB). ``--compare``: in place of the tests, see
``tests/integration/livekit/compare.py``, to which the other arguments then go.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "integration" / "livekit"
# LiveKit's Deepgram plugin is to compare with, and both plugins are to test the local server with
# (tests/integration/servers). The tests wait more than they work, so two files run at a time.
NEEDED = (
    "-e",
    f"{ROOT}[local]",
    "livekit-agents==1.8.*",
    "livekit-plugins-deepgram==1.8.*",
    "livekit-plugins-soniox==1.8.*",
    "pytest>=8.3",
    "pytest-xdist",
)


def main() -> int:
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hearout-integration"
    parser = argparse.ArgumentParser(description="Test hearout inside LiveKit Agents.")
    parser.add_argument("--cache", type=Path, default=base, help="where LiveKit is installed (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="the same calls with LiveKit's own turns and with these")
    arguments, more = parser.parse_known_args()
    try:
        python = installed(arguments.cache.resolve() / "livekit")
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"run_livekit: LiveKit Agents could not be installed: {command}", file=sys.stderr)
        return 1
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
    return subprocess.call(
        [python, *(["-m", "tests.integration.livekit.compare"] if arguments.compare else tests), *more],
        cwd=ROOT if arguments.compare else TESTS,
    )


def installed(directory: Path) -> Path:
    """The interpreter of the environment, which is made when it is not there, or was made for something else."""
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = directory / "installed.txt", "\n".join((*NEEDED, (ROOT / "pyproject.toml").read_text()))
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing LiveKit Agents into {directory}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDED], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(main())
