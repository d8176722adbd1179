"""The providers, and what it takes to add another one: a dialect, and help with the JSON that it reads."""

from hearout.fields import field_of, number_of, object_in, time_of
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout.transcribers.flux import Flux
from hearout.transcribers.openai_realtime import OpenAIRealtime
from hearout.transcribers.soniox import Soniox
from hearout.writing import printable, shown
from hearout_policies.words import spread

__all__ = [
    "AssemblyAI",
    "Deepgram",
    "Dialect",
    "ElevenLabs",
    "Flux",
    "Heard",
    "OpenAIRealtime",
    "ProviderFailed",
    "ProviderNews",
    "Soniox",
    "StreamFinished",
    "WireMessage",
    "field_of",
    "number_of",
    "object_in",
    "printable",
    "shown",
    "spread",
    "time_of",
]
