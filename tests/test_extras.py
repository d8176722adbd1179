"""Packages that are not installed: one line for each, with the extra that has it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.extras import MissingExtra, needs_extra
from hearout.testing import check_dialect
from hearout.transcribers.deepgram import Deepgram
from tests.kit.paths import ROOT
from tests.transcribers.test_check_dialect import DEEPGRAM, KEY

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def named_extras(path: Path) -> Iterator[str]:
    """What calls of `needs_extra`, `MissingExtra` and `pool` in a module say."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="needs_extra" | "MissingExtra"), args=[ast.Constant(value=str(extra)), *_]):
                yield extra
            case ast.Call(func=ast.Name(id="pool"), args=[_, ast.Constant(value=str(extra)), *_]):
                yield extra


def test_every_extra_is_named_by_an_error_and_no_other() -> None:
    named = {extra for path in (ROOT / "engine").rglob("*.py") for extra in named_extras(path)}
    assert named == EXTRAS.keys() - {"all", "dev", "docs"}


def test_no_other_place_says_what_to_install() -> None:
    for path in (ROOT / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Raise, ast.JoinedStr)) and path.name != "extras.py":
                assert "hearout[" not in ast.unparse(node), f"{path}:{node.lineno}"


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with (
        pytest.raises(MissingExtra, match=r"^this needs soxr: pip install 'hearout\[cli\]'$"),
        needs_extra("cli", "this"),
    ):
        import soxr
    with pytest.raises(ImportError, match=r"^this needs SoX: "), needs_extra("cli", "this", "SoX"):
        import soxr  # noqa: F401


def test_a_package_that_is_too_old() -> None:
    said = (
        r"^this needs Sound 2 or newer \(cannot import name 'tomorrow' from 'soxr' .*\): pip install 'hearout\[cli\]'$"
    )
    with pytest.raises(UsageError, match=said), needs_extra("cli", "this", "Sound 2 or newer"):
        from soxr import tomorrow  # type: ignore[attr-defined] # noqa: F401


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError("sndfile library\nnot found"), "sndfile library not found"),
        (RuntimeError("built for a processor with AVX"), "built for a processor with AVX"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_package_that_does_not_work_here(error: Exception, why: str) -> None:
    """What wheels raise when they are imported on a machine that they were not made for."""
    with (
        pytest.raises(UsageError, match=f"^this needs Sound that works on this machine: {why}$"),
        needs_extra("cli", "this", "Sound"),
    ):
        raise error


def test_a_complaint_of_ones_own_stays_as_it_is() -> None:
    with pytest.raises(UsageError, match=r"^no PortAudio$"), needs_extra("mic", "this"):
        raise UsageError("no PortAudio")


def test_without_joblib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    traces = sorted(str(path) for path in (ROOT / "tests/cases").glob("early_*.jsonl"))
    assert main(["tune", *traces * 8, "--trials", "1", "--target-cutoff", "0.5"]) == 2
    assert capsys.readouterr().err == "hearout: tuning needs joblib: pip install 'hearout[tune]'\n"


def test_without_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingExtra, match=re.escape("check_dialect needs hypothesis: pip install 'hearout[testing]'")):
        check_dialect(lambda: Deepgram(KEY, channels=2), DEEPGRAM)
