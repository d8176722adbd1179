"""The rules that a policy is made of."""

from turnwise_policies.rules.base import NEVER, Rule, Verdict
from turnwise_policies.rules.endpointing import Endpointing
from turnwise_policies.rules.finalize_on_silence import FinalizeOnSilence
from turnwise_policies.rules.provider_end import ProviderEnd
from turnwise_policies.rules.silence import Silence, Wait
from turnwise_policies.rules.utterance_end import UtteranceEnd

__all__ = [
    "NEVER",
    "Endpointing",
    "FinalizeOnSilence",
    "ProviderEnd",
    "Rule",
    "Silence",
    "UtteranceEnd",
    "Verdict",
    "Wait",
]
