"""Model files: which there are, where they are, and whether they are what they should be."""

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

__all__ = ["MODELS", "Model", "Wheel", "check", "find", "folder", "require", "sha256_of"]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel with the file in it.

    Attributes:
        package: what it installs; where that is installed already, its file is used.
        requirement: as pip takes it.
        member: path in it.
    """

    package: str
    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class Model:
    """A file with weights.

    Attributes:
        name: for people and commands.
        title: what it is and who made it.
        file: its name.
        licence: SPDX.
        sha256: of the file.
        bytes: its size.
        hub: address of the file.
        shift, scale: how far to believe it, of the log-odds of what it answers.
        wheel: where else it is.
    """

    name: str
    title: str
    file: str
    licence: str
    sha256: str
    bytes: int
    hub: str
    shift: float
    scale: float
    wheel: Wheel


def _read() -> Iterator[tuple[str, Model]]:
    data = tomllib.loads((resources.files("hearout.ear") / "models.toml").read_text("utf-8"))
    for name, fields in data.items():
        yield name, Model(**(fields | {"name": name, "wheel": Wheel(**fields["wheel"])}))


#: By name.
MODELS: Mapping[str, Model] = dict(_read())


def folder() -> Path:
    """Where fetched models are kept: ``HEAROUT_MODELS``, or else below the user's cache."""
    if named := os.environ.get("HEAROUT_MODELS"):
        return Path(named)
    usual = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return Path(usual or Path.home() / ".cache") / "hearout" / "models"


def find(model: Model) -> Path | None:
    """Its file: fetched, or that of an installed package; None: neither. It may not be what it should be."""
    places = [folder() / model.file]
    try:
        spec = importlib.util.find_spec(model.wheel.package)
    except (ImportError, ValueError):
        spec = None
    places += [Path(root).parent / model.wheel.member for root in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if place.is_file()), None)


def require(model: Model) -> Path:
    """`find`, and be sure of it.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    found = find(model)
    if found is None:
        raise UsageError(
            f"the model {model.name} is not on this machine: hearout models get {model.name} "
            f"({model.bytes / 1e6:.1f} MB, {model.licence})"
        )
    check(found, model.sha256, f"hearout models get {model.name}")
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
