"""The pure half of turnwise: signals in, events and commands out. Standard library only."""

from turnwise_policies.events import (
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
    as_dict,
)
from turnwise_policies.machine import TurnMachine
from turnwise_policies.policy import PRESETS, Parameter, Policy, load_policy, preset
from turnwise_policies.rules import (
    NEVER,
    Endpointing,
    FinalizeOnSilence,
    ProviderEnd,
    Rule,
    Silence,
    UtteranceEnd,
    Verdict,
    Wait,
)
from turnwise_policies.signals import Word
from turnwise_policies.text import Ending
from turnwise_policies.turn import TurnView

__all__ = [
    "NEVER",
    "PRESETS",
    "Ending",
    "Endpointing",
    "Event",
    "Finalize",
    "FinalizeOnSilence",
    "Opinion",
    "Output",
    "Parameter",
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
    "UtteranceEnd",
    "Verdict",
    "Wait",
    "Word",
    "as_dict",
    "load_policy",
    "preset",
]
