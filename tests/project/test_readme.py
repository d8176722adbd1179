"""The examples of README, and of the page on the command line, run as they stand there."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import soundfile

from hearout import load_policy
from hearout.cli.main import _parser
from tests.kit.paths import DOCS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND_LINE = (DOCS / "command-line.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """(number of the line before it, code) of each fenced block of a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    matches = re.finditer(pattern, page, re.DOTALL | re.MULTILINE)
    return [(page.count("\n", 0, match.start(1)), match[1]) for match in matches]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: as that of a clone, but with nothing after the first turn of the recording."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    recording = tmp_path / "samples" / "order.flac"
    audio, rate = soundfile.read(recording, dtype="int16")
    soundfile.write(recording, audio[: 5 * rate], rate)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("line", "code"), blocks(README, "python"))
def test_first_programs(clone: Path, capsys: pytest.CaptureFixture[str], line: int, code: str) -> None:
    # The empty lines make the line numbers of a traceback those of the file.
    exec(compile("\n" * line + code, str(ROOT / "README.md"), "exec"), {})
    text, latency = capsys.readouterr().out.rsplit(maxsplit=1)
    assert text == "I would like a large coffee and a bottle of water."
    assert float(latency) > 0


def test_first_programs_are_short_and_for_asyncio_and_trio() -> None:
    programs = [code for _, code in blocks(README, "python")]
    assert [code.split()[1] for code in programs] == ["asyncio", "trio"]
    for program in programs:
        assert len([line for line in program.splitlines() if line.strip()]) < 15


def test_policies_in_toml(tmp_path: Path) -> None:
    for _, text in blocks(COMMAND_LINE, "toml"):
        path = tmp_path / "policy.toml"
        path.write_text(text)
        policy = load_policy(str(path))
        values = {parameter.key: parameter.value for parameter in policy.parameters()}
        table = tomllib.loads(text)
        assert values["max_turn"] == table["max_turn"]
        assert values["odds.digits"] == table["odds"]["digits"]


def test_commands_and_their_options_exist() -> None:
    synopsis = "\n".join(text for _, text in blocks(COMMAND_LINE, "console"))
    commands: dict[str, list[str]] = {}
    options: list[str] = []
    for line in synopsis.splitlines():
        if match := re.match(r"\$ hearout (\S+)", line):
            options = commands.setdefault(match[1], [])
        elif line.startswith("$"):
            options = []
        options += re.findall(r"(?<![\w-])--[a-z-]+", line)
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
