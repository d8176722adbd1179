"""What Pipecat's frames tell a turn machine, where they mean the same to everybody who hears them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hearout.extras import needs_extra
from hearout.integrations.turns import OwnTurns
from hearout_policies.signals import KEYS

with needs_extra("pipecat", __name__, "Pipecat 1.14 or newer"):
    from pipecat.frames import frames

__all__ = ["hear_line", "hear_service"]

_TURNS: Mapping[type, Literal["started", "eager_end", "resumed", "ended"]] = {
    frames.ProposedUserStartedSpeakingFrame: "started",
    frames.ProposedUserStoppedSpeakingFrame: "ended",
    frames.EagerTranscriptionFrame: "eager_end",
    frames.EagerEndOfTurnCancelFrame: "resumed",
}


def hear_line(turns: OwnTurns, frame: Any) -> bool:
    """A key, or how late the service may be; False: the frame is neither."""
    match frame:
        case frames.InputDTMFFrame() if frame.button.value in KEYS:
            turns.key(frame.button.value)
        case frames.STTMetadataFrame() if frame.ttfs_p99_latency > 0:
            turns.patience = frame.ttfs_p99_latency
        case _:
            return False
    return True


def hear_service(turns: OwnTurns, frame: Any) -> bool:
    """An interim transcription, or what the service's own turn detection proposes; False: the frame is neither."""
    if isinstance(frame, frames.InterimTranscriptionFrame):
        turns.interim(frame.text)
    elif (kind := next((kind for one, kind in _TURNS.items() if isinstance(frame, one)), None)) is not None:
        turns.provider_turn(kind)
    else:
        return False
    return True
