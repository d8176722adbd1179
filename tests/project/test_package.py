"""What is installed, and what of it is public."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
import typing
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hearout
import hearout_policies
from tests.kit.paths import ROOT

FORMER = "turn" + "wise"  # until its first release; that name belongs to somebody else on PyPI
PACKAGES = [hearout, hearout_policies]
NAMES = ["hearout", "hearout_policies"]


def classes_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


def hints_of(public: Any) -> Iterator[Any]:
    """The annotations that the user of a class or a function meets."""
    if inspect.isfunction(public) or inspect.isclass(public):
        yield from (hint for name, hint in typing.get_type_hints(public).items() if not name.startswith("_"))
    for name, member in vars(public).items() if inspect.isclass(public) else ():
        if inspect.isfunction(member) and not name.startswith("_"):
            yield from typing.get_type_hints(member).values()
        elif isinstance(member, property) and member.fget and not name.startswith("_"):
            yield from typing.get_type_hints(member.fget).values()


#: What a user only meets when driving a machine by hand, or writing a transcriber or a language of their own.
SPECIAL_MODULES = {
    "hearout_policies.signals",
    "hearout_policies.text",
    "hearout_policies.finalizes",
    "hearout.transcribers.base",
    "hearout.traces.records",
}
#: Protocols that a public class fulfils: `Recorder`, `RawSource`'s stream.
SPECIAL_NAMES = {"TraceWriter", "ByteStream"}


@pytest.mark.parametrize("package", PACKAGES, ids=NAMES)
def test_what_the_public_names_speak_of_is_public(package: ModuleType) -> None:
    missing = {
        found.__name__
        for name in package.__all__
        for hint in hints_of(vars(package)[name])
        for found in classes_in(hint)
        if found.__module__.startswith("hearout") and found.__module__ not in SPECIAL_MODULES
    }
    assert missing - set(package.__all__) - SPECIAL_NAMES == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    assert path.name == f"hearout-{version('hearout')}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_the_wheel_holds_both_packages_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(root))
        for root in (ROOT / "engine", ROOT / "policies")
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
    assert {
        "hearout/py.typed",
        "hearout_policies/py.typed",
        "hearout_policies/languages/en.toml",
        "hearout_policies/odds.toml",
    } <= held


def test_the_wheel_works_by_itself(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import sys, hearout, hearout_policies; from hearout.cli.main import main; "
        "print(hearout.__file__, hearout_policies.__file__); sys.exit(main(['policies', 'balanced']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    where, *parameters = done.stdout.splitlines()
    assert where == f"{tmp_path}/hearout/__init__.py {tmp_path}/hearout_policies/__init__.py"
    assert any(line.startswith("silence.price = ") for line in parameters)


def test_the_wheel_says_what_it_needs(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = wheel.read(name).decode()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert set(needed) == {"trio", "trio-websocket", "wsproto", "h11", "webrtcvad-wheels", "numpy"}
    assert "License-Expression: Apache-2.0" in metadata
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "hearout = hearout.cli.main:main" in wheel.read(name).decode()


def test_the_readme_on_pypi_has_no_link_that_leads_nowhere(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    description = wheel.read(name).decode().partition("\n\n")[2]
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```.*?^```$", readme, re.MULTILINE | re.DOTALL)
    assert blocks
    assert [block for block in blocks if block not in description] == []
    prose = re.sub(r"^```.*?^```$", "", description, flags=re.MULTILINE | re.DOTALL)
    assert all(target.startswith("https://") for target in re.findall(r"\]\((.*?)\)", prose))


def test_all_is_every_extra_but_the_frameworks_and_what_we_work_with() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (whole,) = extras["all"]
    names = re.fullmatch(r"hearout\[(.*)\]", whole)
    assert names
    assert set(names[1].split(",")) == set(extras) - {"all", "dev", "docs", "livekit", "pipecat"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asks git what belongs to the project")
def test_the_former_name_is_gone() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    paths = [path for path in listed.decode().split("\0") if path]
    assert len(paths) > 500
    assert [path for path in paths if FORMER in path.casefold()] == []
    read = {path: (ROOT / path).read_bytes() for path in paths if (ROOT / path).is_file()}
    assert [path for path, data in read.items() if FORMER.encode() in data.lower()] == []
