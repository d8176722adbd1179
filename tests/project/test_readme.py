"""The examples of README run as they stand there."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import soundfile

from hearout import load_policy
from hearout.cli.main import _parser
from tests.kit.paths import ROOT
from tests.kit.real_time import real_time

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[int, str]]:
    """(number of the line before it, code) of each fenced block of a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    matches = re.finditer(pattern, README, re.DOTALL | re.MULTILINE)
    return [(README.count("\n", 0, match.start(1)), match[1]) for match in matches]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: as that of a clone, but with nothing after the first turn of the recording."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    recording = tmp_path / "samples" / "order.flac"
    audio, rate = soundfile.read(recording, dtype="int16")
    soundfile.write(recording, audio[: 5 * rate], rate)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@real_time()
def test_python(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    for line, code in blocks("python"):
        # The empty lines make the line numbers of a traceback those of the file.
        exec(compile("\n" * line + code, str(ROOT / "README.md"), "exec"), namespace)
    text, latency = capsys.readouterr().out.rsplit(maxsplit=1)
    assert text == "i would like a large coffee and a bottle of water"
    assert float(latency) > 0


def test_embedding_takes_under_15_lines() -> None:
    (example,) = [code for _, code in blocks("python") if "open_session" in code]
    assert len([line for line in example.splitlines() if line.strip()]) < 15


def test_policies_in_toml(tmp_path: Path) -> None:
    for _, text in blocks("toml"):
        path = tmp_path / "policy.toml"
        path.write_text(text)
        policy = load_policy(str(path))
        values = {parameter.key: parameter.value for parameter in policy.parameters()}
        table = tomllib.loads(text)
        assert values["max_turn"] == table["max_turn"]
        assert values["silence.digits.hold"] == table["silence"]["digits"]["hold"]


def test_commands_and_their_options_exist() -> None:
    synopsis = "\n".join(text for _, text in blocks("console"))
    commands: dict[str, list[str]] = {}
    options: list[str] = []
    for line in synopsis.splitlines():
        if match := re.match(r"\$ hearout (\S+)", line):
            options = commands.setdefault(match[1], [])
        elif line.startswith("$"):
            options = []
        options += re.findall(r"(?<![\w-])--[a-z-]+", line)
    assert set(commands) == {"listen", "replay", "plot", "tune", "policies", "serve", "stt-server", "doctor"}
    (subparsers,) = [action for action in _parser()._actions if action.choices]
    assert set(subparsers.choices or ()) == set(commands)
    for command, options in commands.items():
        parser = subparsers.choices[command]  # type: ignore[index]
        for option in options:
            assert option in parser.format_help(), f"{command} has no {option}"


def test_files_it_names_exist() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"`((?:tests|samples|policies|docs)/[^`]*)`", README
    ):
        assert (ROOT / name).exists(), name
