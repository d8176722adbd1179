"""Test hearout inside Pipecat, in an environment of its own.

    python tests/integration/run_pipecat.py [--cache DIR] [--compare] [PYTEST ARGUMENT...]

Installs hearout and Pipecat there the first time (0.5 GB). ``--compare``: in place of the tests, see
``tests/integration/pipecat/compare.py``, to which the other arguments then go.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "integration" / "pipecat"
# The extras are for the service and the voice detection to compare with, and for the services that the local server
# is tested with (tests/integration/servers).
NEEDED = ("-e", f"{ROOT}[local]", "pipecat-ai[deepgram,silero,soniox]==1.14.*", "pytest>=8.3")


def main() -> int:
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hearout-integration"
    parser = argparse.ArgumentParser(description="Test hearout inside Pipecat.")
    parser.add_argument("--cache", type=Path, default=base, help="where Pipecat is installed (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="the same calls with Pipecat's own turns and with these")
    arguments, more = parser.parse_known_args()
    try:
        python = installed(arguments.cache.resolve() / "pipecat")
    except subprocess.CalledProcessError as error:
        print(f"run_pipecat: Pipecat could not be installed: {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    command = [TESTS / "compare.py"] if arguments.compare else ["-m", "pytest", "-p", "no:cacheprovider"]
    return subprocess.call([python, *command, *more], cwd=ROOT if arguments.compare else TESTS)


def installed(directory: Path) -> Path:
    """The interpreter of the environment, which is made when it is not there, or was made for something else."""
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = directory / "installed.txt", "\n".join((*NEEDED, (ROOT / "pyproject.toml").read_text()))
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing Pipecat into {directory}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDED], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(main())
