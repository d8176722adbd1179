"""hearout tells a voicebot when its user has finished a turn, and what the user said.

Everything an application needs is here: `open_session`, the sources of audio, the transcribers, the events it
gets, and the policies that decide.
"""

import logging

from hearout.audio import AudioFormat
from hearout.ear import Ear, SmartTurn
from hearout.errors import HearoutError, SessionError, UsageError
from hearout.link.settings import LinkSettings, LinkStats
from hearout.session.notices import AudioLost, LinkDown, LinkUp, Notice, SessionWarning
from hearout.session.session import Session, SessionEvent, open_session
from hearout.sources import AudioSource, FileSource, PushSource, RawSource, paced, stdin_source
from hearout.sttserver.local import local_server
from hearout.traces import Header, Recorder, Replayed, Trace, check, parse_trace, read_trace, replay
from hearout.transcribers import AssemblyAI, Deepgram, Dialect, ElevenLabs, Flux, OpenAIRealtime, Soniox
from hearout.vad import SileroVad, SpeechEdge, SpeechGate, VoiceDetector, WebRtcDetector, silero_gate, webrtc_gate
from hearout.version import __version__
from hearout_policies import (
    PRESETS,
    Answer,
    Ending,
    Endpointing,
    Event,
    Finalize,
    FinalizeOnSilence,
    Language,
    Odds,
    OnUtteranceEnd,
    Opinion,
    Outlook,
    Parameter,
    Pauses,
    Policy,
    ProviderEnd,
    Rule,
    Silence,
    Timings,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnMachine,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
    TurnView,
    UserIdle,
    Verdict,
    Word,
    as_dict,
    load_policy,
    preset,
)

# Nothing is printed unless the application configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "PRESETS",
    "Answer",
    "AssemblyAI",
    "AudioFormat",
    "AudioLost",
    "AudioSource",
    "Deepgram",
    "Dialect",
    "Ear",
    "ElevenLabs",
    "Ending",
    "Endpointing",
    "Event",
    "FileSource",
    "Finalize",
    "FinalizeOnSilence",
    "Flux",
    "Header",
    "HearoutError",
    "Language",
    "LinkDown",
    "LinkSettings",
    "LinkStats",
    "LinkUp",
    "Notice",
    "Odds",
    "OnUtteranceEnd",
    "OpenAIRealtime",
    "Opinion",
    "Outlook",
    "Parameter",
    "Pauses",
    "Policy",
    "ProviderEnd",
    "PushSource",
    "RawSource",
    "Recorder",
    "Replayed",
    "Rule",
    "Session",
    "SessionError",
    "SessionEvent",
    "SessionWarning",
    "Silence",
    "SileroVad",
    "SmartTurn",
    "Soniox",
    "SpeechEdge",
    "SpeechGate",
    "Timings",
    "Trace",
    "TurnAbandoned",
    "TurnAmended",
    "TurnCompleted",
    "TurnMachine",
    "TurnPredicted",
    "TurnResumed",
    "TurnStarted",
    "TurnUpdated",
    "TurnView",
    "UsageError",
    "UserIdle",
    "Verdict",
    "VoiceDetector",
    "WebRtcDetector",
    "Word",
    "__version__",
    "as_dict",
    "check",
    "load_policy",
    "local_server",
    "open_session",
    "paced",
    "parse_trace",
    "preset",
    "read_trace",
    "replay",
    "silero_gate",
    "stdin_source",
    "webrtc_gate",
]
