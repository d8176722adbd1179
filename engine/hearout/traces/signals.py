"""What a machine was told, as lines of a trace whose ``stt`` is `hearout.transcribers.results`."""

from __future__ import annotations

from typing import Any

from hearout.transcribers.results import message_of
from hearout_policies.signals import (
    VOICE,
    AgentSaid,
    AgentSpeech,
    AppCommand,
    Asked,
    AudioStalled,
    EarHeard,
    EndOfAudio,
    KeyPressed,
    PolicyChanged,
    Signal,
    SpeechPaused,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
)

__all__ = ["record_of"]

_EDGES = {signal: kind for kind, signal in VOICE.items()}


def record_of(signal: Signal) -> dict[str, Any]:
    """The line, without its ``t``, that a replay reads as ``signal``.

    Raises:
        ValueError: there is none: a lost connection, of which results do not know.
    """
    match signal:
        case SpeechStarted() | SpeechStopped() | SpeechSuspected() | SpeechPaused():
            return {"vad": _EDGES[type(signal)], "audio": signal.audio, "heard": signal.heard}
        case EarHeard(audio=audio, odds=odds):
            return {"ear": odds, "audio": audio}
        case AudioStalled(heard=heard):
            return {"audio": "stalled", "heard": heard}
        case AgentSpeech(kind=kind):
            return {"agent": kind}
        case AgentSaid(text=text):
            return {"agent": "said", "text": text}
        case Asked(expectations=expectations, keep=keep):
            return {"expected": [one.to_dict() for one in expectations], "keep": keep}
        case KeyPressed(key=key):
            return {"key": key}
        case PolicyChanged(policy=policy):
            return {"policy": policy.to_dict()}
        case AppCommand(kind=kind):
            return {"app": kind}
        case EndOfAudio():
            return {"end": True}
    message = message_of(signal)
    if message is None:
        raise ValueError(f"no line of a trace says {type(signal).__name__}")
    return {"stt": message}
