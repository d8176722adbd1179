"""What commands that take long have in common: processes, a cluster, a progress bar, files that are written whole."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hearout.errors import UsageError

__all__ = [
    "add_work_arguments",
    "check_work",
    "check_writable",
    "cluster",
    "progress_bar",
    "whole_file",
    "write_whole",
]


def add_work_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs`` and ``--dask``."""
    parser.add_argument("--jobs", type=int, default=-1, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="work on a Dask cluster, such as tcp://10.0.0.1:8786")


def check_work(args: argparse.Namespace) -> None:
    """See whether they can be.

    Raises:
        UsageError: no.
    """
    if args.jobs == 0 or args.jobs < -1:
        raise UsageError(f"--jobs {args.jobs}: a number of processes, or -1 for one a core")


def write_whole(name: str, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        UsageError: that is not possible.
    """
    with whole_file(name) as write:
        write(data)


def check_writable(name: str) -> None:
    """See whether a file could be written.

    Raises:
        UsageError: no.
    """
    with _refused(name):
        os.unlink(_temporary(Path(name)))


@contextmanager
def whole_file(name: str) -> Iterator[Callable[[bytes], object]]:
    """Gives what writes to a file, which has its name and its content at the end of the block or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    path = Path(name)
    with _refused(name):
        temporary = _temporary(path)
        file = open(temporary, "wb")  # noqa: SIM115 (closed below)

    def write(data: bytes) -> None:
        with _refused(name):
            file.write(data)

    try:
        with file:
            yield write
            with _refused(name):
                file.flush()
        with _refused(name):
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _temporary(path: Path) -> str:
    if path.is_dir():
        raise IsADirectoryError(21, "Is a directory")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, "Permission denied")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    return temporary


@contextmanager
def _refused(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{name}: cannot write: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def progress_bar(doing: str, units: str) -> Iterator[Any]:
    """A bar on a terminal, if rich is there; nothing elsewhere."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(units),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Let joblib work on a Dask cluster."""
    if address is None:
        yield
        return
    try:
        import joblib
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs Dask: pip install distributed joblib") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UsageError(f"--dask {address}: no scheduler answers there: {str(error).splitlines()[0]}") from None
    with client, joblib.parallel_config(backend="dask"):
        yield
