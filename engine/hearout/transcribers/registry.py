"""The providers that have a dialect here, a line each; `hearout.transcribers.own` finds those of others."""

from __future__ import annotations

from collections.abc import Mapping

from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout.transcribers.flux import Flux
from hearout.transcribers.openai_realtime import OpenAIRealtime
from hearout.transcribers.provider import Provider
from hearout.transcribers.soniox import Soniox

__all__ = ["PROVIDERS"]

#: By name, in the order in which they are listed.
PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(Deepgram, "Deepgram", "DEEPGRAM_API_KEY"),
        Provider(Soniox, "Soniox", "SONIOX_API_KEY"),
        Provider(Flux, "Deepgram", "DEEPGRAM_API_KEY"),
        Provider(OpenAIRealtime, "OpenAI", "OPENAI_API_KEY"),
        Provider(AssemblyAI, "AssemblyAI", "ASSEMBLYAI_API_KEY"),
        Provider(ElevenLabs, "ElevenLabs", "ELEVENLABS_API_KEY"),
    )
}
