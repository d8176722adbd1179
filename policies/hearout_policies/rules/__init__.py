"""The rules that a policy is made of."""

from hearout_policies.params import param
from hearout_policies.rules.base import NEVER, Rule, Verdict
from hearout_policies.rules.endpointing import Endpointing
from hearout_policies.rules.finalize_on_silence import FinalizeOnSilence
from hearout_policies.rules.provider_end import ProviderEnd
from hearout_policies.rules.silence import Silence
from hearout_policies.rules.utterance_end import OnUtteranceEnd

__all__ = [
    "NEVER",
    "Endpointing",
    "FinalizeOnSilence",
    "OnUtteranceEnd",
    "ProviderEnd",
    "Rule",
    "Silence",
    "Verdict",
    "param",
]
