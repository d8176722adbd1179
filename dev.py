#!/usr/bin/env python3
"""Everything on a bare machine: python3 dev.py demo, test, lint or docs.

Needs Python 3.11 or newer and its standard library only. Makes .venv beside this file, installs what is needed
there (again when pyproject.toml has changed), and runs the command in it.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
TRACE = ROOT / "build" / "table.jsonl"  # of the demo's call

# The demo ends with it on a terminal.
PAGE = ["-m", "hearout", "serve", "--page", "--port", "0"]

# What the local recogniser needs, 78 MB, unless it is here.
RECOGNISER = ["-m", "hearout", "models", "get", "whisper-tiny-en"]

COMMANDS = {
    "demo": (
        "local,mic,plot",
        [
            RECOGNISER,
            ["-m", "hearout", "listen", "samples/demo/table.flac", "--record", "build/table.jsonl"],
        ],
    ),
    "test": ("dev", [RECOGNISER, ["-m", "pytest", "-n", "auto", "--dist", "worksteal"]]),
    "lint": (
        "dev",
        [
            ["-m", "ruff", "format", "--check"],
            ["-m", "ruff", "check"],
            ["-c", "from importlinter.cli import lint_imports_command as main; main(['--no-cache'])"],
            ["-m", "mypy"],
        ],
    ),
    # Into build/site.
    "docs": ("docs", [["-m", "zensical", "build", "--clean", "--strict"]]),
}


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what tells)
        print(f"dev.py: Python 3.11 or newer is needed, this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    if name not in COMMANDS:
        print(f"usage: python3 dev.py {'|'.join(COMMANDS)} [ARGUMENT...]", file=sys.stderr)
        return 2
    extra, runs = COMMANDS[name]
    install(extra)
    TRACE.parent.mkdir(exist_ok=True)
    for index, arguments in enumerate(runs):
        more = sys.argv[2:] if index == len(runs) - 1 else []
        print("$ python", *arguments, *more, flush=True)
        status = subprocess.call([PYTHON, *arguments, *more], cwd=ROOT)
        if status:
            return status
    if name == "demo":
        for line in next_steps(Path.cwd()):
            print(line, flush=True)
        if sys.stdin.isatty() and sys.stdout.isatty():
            return speak()
    return 0


def speak() -> int:
    """Serve the page until Ctrl-C."""
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the server inherits: no traceback while it starts
    with subprocess.Popen([PYTHON, *PAGE], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        signal.signal(signal.SIGINT, ours)
        assert server.stdout is not None
        listens = False
        try:
            print("", "Or speak now: open the page below in a browser. Ctrl-C ends.", sep="\n", flush=True)
            for line in server.stdout:
                listens = True
                print(line, end="", flush=True)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one is for the server alone
            if not listens:  # else it has got the signal, too, and ends in good order
                server.terminate()
            server.wait()
            return 0
        return server.wait()


def next_steps(here: Path) -> list[str]:
    """What to try after the demo, as commands that work in the directory ``here``."""

    def named(path: Path) -> str:
        return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))

    hearout = named(BIN / "hearout")
    steps = {
        f"{hearout} listen mic": "speak yourself",
        f"{hearout} listen your.wav": "a recording of yours; two files are the two speakers of a call",
        f"{hearout} replay --explain {named(TRACE)}": "why each turn of the call ended when it did",
        f"{hearout} serve --page": "speak into a page: open the address that it prints in a browser",
    }
    width = max(map(len, steps))
    return ["", "What to do next:", *(f"$ {command:{width}}  # {what}" for command, what in steps.items())]


def install(extra: str) -> None:
    stamp = VENV / f".installed-{extra.replace(',', '-')}"
    wanted = (ROOT / "pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"dev.py: installing into {VENV.name}", flush=True)
    target: list[str | Path] = [PYTHON, "-m", "pip"]
    if not PYTHON.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            # Debian without python3-venv: pip from outside can install into a venv that has none of its own.
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV], check=True)
    if subprocess.run([*target, "--version"], capture_output=True).returncode:
        target = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    # Compiling all of it takes as long as the rest; Python compiles what it loads.
    quick = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*target, "install", *quick, "-e", f"{ROOT}[{extra}]"], check=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failed:
        sys.exit(f"dev.py: installing failed (exit status {failed.returncode}): see above")
    except KeyboardInterrupt:
        sys.exit(130)
