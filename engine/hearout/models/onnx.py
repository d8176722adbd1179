"""onnxruntime, for the models that need it: on one core, and without a word to anybody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hearout.errors import UsageError
from hearout.writing import printable

__all__ = ["load", "runtime"]


def runtime() -> Any:
    """Import onnxruntime.

    Its wheels, those of 1.32 also on Linux and macOS, report to Microsoft that and how they are used, unless the
    environment forbids it before the import (its Privacy.md: disable_telemetry_events comes too late, and ends only a
    part). Who has imported it before, or has the variable say something else, has chosen.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def load(file: Path) -> Any:
    """The model in a file, ready to be asked from any thread.

    Raises:
        UsageError: it cannot be used.
    """
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, which is enough
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, which have no common name
        raise UsageError(f"{file}: onnxruntime cannot load it: {printable(str(error), 200)}") from None
