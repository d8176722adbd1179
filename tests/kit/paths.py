"""Where things lie in a checkout."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CASES", "DATA", "DOCS", "ROOT", "SAMPLES"]

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "cases"
DATA = ROOT / "tests" / "data"
DOCS = ROOT / "docs"
SAMPLES = ROOT / "samples"
