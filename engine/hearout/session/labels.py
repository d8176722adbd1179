"""Whether a transcriber was told to tell voices apart, where a policy asks for one of them."""

from __future__ import annotations

from hearout.transcribers.base import Dialect, diarization_of
from hearout.transcribers.registry import PROVIDERS
from hearout_policies.policy import Policy

__all__ = ["unlabelled"]


def unlabelled(policy: Policy, transcriber: Dialect) -> str | None:
    """Why `Policy.only_speaker` leaves nobody out with ``transcriber``; None: it does, or nothing is known of that."""
    switch = diarization_of(transcriber)
    if policy.only_speaker is None or any(getattr(transcriber, name or "", None) for name in (switch, "diarize_model")):
        return None  # diarize_model: Deepgram's newer switch
    if switch is not None:
        return f"only_speaker has no effect: {transcriber.name} is not told to tell voices apart, {switch}=True"
    if type(transcriber) in {provider.dialect for provider in PROVIDERS.values()}:
        return f"only_speaker has no effect: {transcriber.name} does not tell voices apart"
    return None
