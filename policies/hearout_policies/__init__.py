"""The pure half of hearout: signals in, events and commands out. Standard library only."""

from hearout_policies.decision import Outlook
from hearout_policies.events import (
    Answer,
    Event,
    Finalize,
    Opinion,
    Output,
    Timings,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
    UserIdle,
    as_dict,
)
from hearout_policies.language import Language
from hearout_policies.machine import TurnMachine
from hearout_policies.odds import Odds, Pauses
from hearout_policies.policy import PRESETS, Parameter, Policy, load_policy, preset
from hearout_policies.rules import (
    NEVER,
    Endpointing,
    FinalizeOnSilence,
    OnUtteranceEnd,
    ProviderEnd,
    Rule,
    Silence,
    Verdict,
)
from hearout_policies.signals import Word
from hearout_policies.text import Ending
from hearout_policies.view import TurnView

__all__ = [
    "NEVER",
    "PRESETS",
    "Answer",
    "Ending",
    "Endpointing",
    "Event",
    "Finalize",
    "FinalizeOnSilence",
    "Language",
    "Odds",
    "OnUtteranceEnd",
    "Opinion",
    "Outlook",
    "Output",
    "Parameter",
    "Pauses",
    "Policy",
    "ProviderEnd",
    "Rule",
    "Silence",
    "Timings",
    "TurnAbandoned",
    "TurnAmended",
    "TurnCompleted",
    "TurnMachine",
    "TurnPredicted",
    "TurnResumed",
    "TurnStarted",
    "TurnUpdated",
    "TurnView",
    "UserIdle",
    "Verdict",
    "Word",
    "as_dict",
    "load_policy",
    "preset",
]
