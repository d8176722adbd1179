"""Silero's voice detection: a small neural network, which hears a voice in noise."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.models.known import MODELS, require
from hearout.models.onnx import load, runtime
from hearout.vad.gate import SpeechGate
from hearout.vad.levels import LineLevels
from hearout.writing import printable

__all__ = ["SileroVad", "silero_gate"]

_INPUTS = {"input", "state", "sr"}
_STATE = (2, 1, 128)
_TAPS = 16  # of the filter before decimation, for each step: 0.5 ms of delay


def silero_gate(sample_rate: int) -> SpeechGate:
    """Silero's voice detection for one channel, to be given as ``vad``. See `SileroVad`."""
    return SpeechGate(SileroVad(sample_rate), sample_rate)


class SileroVad:
    """Silero's voice activity detector, v6.2: 0.3 ms of the processor for a frame of 32 ms.

    The model is loaded once a process and serves all lines; each remembers 1 kB of its own. At 32000 and 48000 Hz it
    hears what is left at 16000.

    Args:
        sample_rate: 8000, 16000, 32000 or 48000 Hz.
        threshold: the probability of speech from which a frame is speech, between 0 and 1.

    Raises:
        UsageError: a parameter is out of range; onnxruntime is missing, or the model that ``hearout models get
            silero-vad`` fetches, or it is damaged.
    """

    #: Seconds for which the verdict outlasts the speech of people, at a threshold of 0.5. Medians: 0.09 in a telephone
    #: call, 0.06 in orders to a machine, 0.08 in recordings labelled by hand; 0.05 after synthesised speech.
    TAIL = 0.08

    def __init__(self, sample_rate: int, *, threshold: float = 0.5) -> None:
        if sample_rate not in (8000, 16000, 32000, 48000):
            raise UsageError(f"voice detection at {sample_rate} Hz: Silero's works at 8000, 16000, 32000, 48000 Hz")
        if not 0 < threshold < 1:
            raise UsageError(f"threshold {threshold} of the voice detection: it must lie between 0 and 1")
        self._session = _session()
        self._threshold = threshold
        rate = min(sample_rate, 16000)
        self._rate = np.array(rate)
        self._decimator = _Decimator(sample_rate // rate) if sample_rate > rate else None
        self._context = rate // 250  # samples of the frame before that the model hears again
        size = rate * self.frame_ms // 1000
        self._heard = np.zeros((1, self._context + size), np.float32)
        self._state = np.zeros(_STATE, np.float32)
        self._levels = LineLevels(sample_rate * self.frame_ms // 1000, self.frame_ms)

    @property
    def frame_ms(self) -> int:
        return 32  # the model knows no other

    @property
    def tail(self) -> float:
        """Seconds, whatever the line."""
        return self.TAIL

    @property
    def quiet(self) -> bool:
        """The last frame was hardly louder than the noise of the line."""
        return self._levels.quiet

    def is_speech(self, frame: bytes) -> bool:
        return self.probability(frame) >= self._threshold

    def probability(self, frame: bytes) -> float:
        """What the model says of the next frame, instead of the verdict."""
        samples = np.frombuffer(frame, np.int16).astype(np.float32)
        self._levels.follow(float(samples.dot(samples)))
        samples /= 32768
        heard, context = self._heard, self._context
        heard[0, :context] = heard[0, -context:]
        heard[0, context:] = self._decimator.next(samples) if self._decimator else samples
        answer, self._state = self._session.run(None, {"input": heard, "state": self._state, "sr": self._rate})
        return float(answer[0, 0])


class _Decimator:
    """Takes every nth sample, after a low-pass filter; remembers what the filter still needs."""

    def __init__(self, step: int) -> None:
        self._step = step
        size = _TAPS * step + 1
        places = np.arange(size) - size // 2
        window = np.sinc(0.9 * places / step) * np.hamming(size)
        self._filter = (window / window.sum()).astype(np.float32)
        self._before = np.zeros(size - 1, np.float32)

    def next(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        whole = np.concatenate([self._before, samples])
        self._before = whole[len(samples) :]
        windows = np.lib.stride_tricks.sliding_window_view(whole, len(self._filter))
        kept: npt.NDArray[np.float32] = windows[:: self._step] @ self._filter
        return kept


@cache
def _session() -> Any:
    """The model, ready to be asked, from any thread.

    Raises:
        UsageError: it cannot be used.
    """
    known = MODELS["silero-vad"]
    with needs_extra("silero", "Silero's voice detection", "onnxruntime"):
        runtime()
    file = require(known) / known.files[0].name
    session = load(file)
    inputs = {one.name for one in session.get_inputs()}
    if inputs != _INPUTS:
        raise UsageError(f"{file}: a model of another shape: {printable(str(sorted(inputs)), 200)}")
    return session
