"""dev.py: what the demo says to do next can be done, and the page by which it ends."""

from __future__ import annotations

import os
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hearout.cli.main import _parser
from tests.kit.commandline import environment
from tests.kit.paths import ROOT

DEV = runpy.run_path(str(ROOT / "dev.py"))


def commands(here: Path) -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ "), comments=True) for line in DEV["next_steps"](here) if line.startswith("$ ")
    ]


def test_the_demo_ends_with_commands_that_there_are() -> None:
    found = commands(ROOT)
    for program, *arguments in found:
        assert ROOT / program == DEV["BIN"] / "hearout"
        assert callable(_parser().parse_args(arguments).run)
    assert [arguments[:2] for _, *arguments in found] == [
        ["listen", "mic"],
        ["listen", "your.wav"],
        ["replay", "--explain"],
        ["serve", "--page"],
    ]


def test_the_trace_is_the_one_that_the_demo_records() -> None:
    _, runs = DEV["COMMANDS"]["demo"]
    (recorded,) = {ROOT / run[run.index("--record") + 1] for run in runs if "--record" in run}
    (explained,) = {Path(command[-1]) for command in commands(Path("/")) if "--explain" in command}
    assert "/" / explained == recorded


def test_from_another_directory_and_with_a_space_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEV["next_steps"].__globals__, "BIN", tmp_path / "my bin")
    assert {command[0] for command in commands(tmp_path)} == {"my bin/hearout"}
    assert {command[0] for command in commands(ROOT)} == {str(tmp_path / "my bin" / "hearout")}


def test_the_readme_says_the_same() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = [shlex.split(line.removeprefix("$ "), comments=True) for line in readme.splitlines() if "$ .venv" in line]
    assert said == commands(ROOT)


# The demo without what it installs, fetches and hears.
DEMO = f"""
import runpy, sys
dev = runpy.run_path({str(ROOT / "dev.py")!r})
parts = dev["main"].__globals__
parts |= {{"install": lambda extra: None, "COMMANDS": {{"demo": ("", [])}}, "PYTHON": sys.executable}}
parts["PAGE"] += ["--stt", "deepgram", "--url", "ws://127.0.0.1:9/"]
sys.argv = ["dev.py", "demo"]
sys.exit(dev["main"]())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
@pytest.mark.parametrize("until", ["Ctrl-C ends", "open http://127.0.0.1:"], ids=["starting", "started"])
def test_on_a_terminal_the_demo_goes_on_with_the_page_until_it_is_interrupted(until: str) -> None:
    screen, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", DEMO],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment(),
        start_new_session=True,
    ) as demo:
        os.close(terminal)
        said = b""
        try:
            while until.encode() not in said:
                said += os.read(screen, 4096)
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
            while more := os.read(screen, 4096):
                said += more
        except OSError:  # of a terminal at which nobody is any more
            pass
        finally:
            os.close(screen)
        assert demo.wait() == 0, said
    assert b"Traceback" not in said
    assert said.endswith(b"hearout: stopped\r\n" if until.startswith("open") else b"Ctrl-C ends.\r\n")


def test_without_a_terminal_the_demo_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEMO], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "# speak into a page" in done.stdout.splitlines()[-1]
