"""Smart Turn v3.2 as an ear."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from hearout.ear.features import SAMPLE_RATE, log_mel
from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.models.known import MODELS, check, require
from hearout.models.onnx import load, runtime
from hearout.writing import printable

__all__ = ["SmartTurn", "believed", "log_odds"]

_SECONDS = 8
_SHAPE = [1, 80, 100 * _SECONDS]
_INPUT = "input_features"
# How far to believe it. Fitted to its answers 0.2 s into 160 pauses and behind 283 ends of people (a telephone call at
# 8 kHz, read-out names and numbers, orders, hesitant phrases), both weighted equally. Fitted on either half and told on
# the other, the loss is 0.49 and 0.55; of the answers as they are 0.75, of saying nothing 0.69.
_SHIFT, _SCALE = -0.66, 0.47
_SURE = 1e-4  # the model's answers are rounded to 0 and 1


class SmartTurn:
    """Daily's model, on one core: some 0.1 s of the processor a question. Making one takes as long as a few.

    Its answers are believed as far as measurements on pauses of people allow (`believed`).

    Args:
        path: a file of your own; None: the one that ``hearout models get smart-turn`` has fetched, or that of an
            installed Pipecat.
        sha256: of a file of your own, in hexadecimal; None: it must be the model that hearout knows.

    Raises:
        UsageError: onnxruntime is missing, there is no file, it is damaged, or its model is another.
    """

    seconds = float(_SECONDS)

    def __init__(self, path: str | Path | None = None, *, sha256: str | None = None) -> None:
        known = MODELS["smart-turn"]
        with needs_extra("ear", "an ear", "onnxruntime"):
            runtime()
        if path is None:
            file = require(known) / known.files[0].name
        else:
            file = Path(path)
            check(file, sha256 or known.files[0].sha256, "for a model of your own give its sha256")
        self._session: Any = load(file)
        inputs = [(one.name, list(one.shape)[1:]) for one in self._session.get_inputs()]
        if inputs != [(_INPUT, _SHAPE[1:])] or len(self._session.get_outputs()) != 1:
            raise UsageError(f"{file}: a model of another shape: {printable(str(inputs), 200)}")

    def listen(self, pcm: bytes, sample_rate: int, silence: float) -> float:
        """`hearout.ear.base.Ear` has it."""
        return believed(self.raw(pcm, sample_rate))

    def raw(self, pcm: bytes, sample_rate: int) -> float:
        """What the model itself says: probability that the turn is over."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        if sample_rate != SAMPLE_RATE:
            with needs_extra("ear", "an ear", "soxr"):
                import soxr
            samples = soxr.resample(samples, sample_rate, SAMPLE_RATE)
        whole = np.zeros(_SECONDS * SAMPLE_RATE, np.float32)
        samples = samples[-len(whole) :]
        whole[len(whole) - len(samples) :] = samples  # zeros in front, as in its training
        scaled = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-7)  # as in its training
        (answer,) = self._session.run(None, {_INPUT: log_mel(scaled)[None]})
        return float(np.ravel(answer)[0])


def log_odds(raw: float) -> float:
    """Of an answer of the model's, which may be rounded to 0 or 1."""
    raw = min(max(raw, _SURE), 1 - _SURE)
    return math.log(raw / (1 - raw))


def believed(raw: float, shift: float = _SHIFT, scale: float = _SCALE) -> float:
    """An answer of the model's, with doubt: the logistic function of ``shift`` and ``scale`` times its log-odds."""
    return 1 / (1 + math.exp(-shift - scale * log_odds(raw)))
