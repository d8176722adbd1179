"""Whether a transcriber was told to tell voices apart, where a policy asks for one of them."""

from __future__ import annotations

from hearout.transcribers.base import Dialect, diarization_of
from hearout.transcribers.registry import PROVIDERS
from hearout_policies.policy import Policy

__all__ = ["unlabelled"]


def unlabelled(policy: Policy, transcriber: Dialect) -> str | None:
    """Why `Policy.only_speaker` leaves nobody out with ``transcriber``; None: it does, or nothing is known of that."""
    if policy.only_speaker is None:
        return None
    if (switch := diarization_of(transcriber)) is not None:
        if getattr(transcriber, switch) or getattr(transcriber, "diarize_model", None):  # Deepgram's newer switch
            return None
        return f"only_speaker has no effect: {transcriber.name} is not told to tell voices apart, {switch}=True"
    if type(transcriber) in {provider.dialect for provider in PROVIDERS.values()}:
        return f"only_speaker has no effect: {transcriber.name} does not tell voices apart"
    return None
