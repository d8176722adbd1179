"""dev.py: what the demo says to do next can be done."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path

import pytest

from hearout.cli.main import _parser
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
