"""Which transcribers tell voices apart, as far as that is known before they speak."""

from __future__ import annotations

from typing import Any

import pytest

from hearout.session.labels import unlabelled
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.flux import Flux
from hearout.transcribers.soniox import Soniox
from hearout_policies.policy import preset

KEY = "a-key"


class Own:
    """A transcriber that hearout knows nothing of."""

    name = "own"


@pytest.mark.parametrize(
    ("transcriber", "detail"),
    [
        (Deepgram(KEY, diarize=True), None),
        (Deepgram(KEY, diarize_model="latest"), None),
        (Deepgram(KEY), "deepgram is not told to tell voices apart, diarize=True"),
        (Soniox(KEY), "soniox is not told to tell voices apart, enable_speaker_diarization=True"),
        (AssemblyAI(KEY, speaker_labels=True), None),
        (Own(), None),
        (Flux(KEY), "flux does not tell voices apart"),
    ],
)
def test_who_tells_voices_apart(transcriber: Any, detail: str | None) -> None:
    said = unlabelled(preset("balanced").replace({"only_speaker": "1"}), transcriber)
    assert said == (detail and f"only_speaker has no effect: {detail}")
    assert unlabelled(preset("balanced"), transcriber) is None
