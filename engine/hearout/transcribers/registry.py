"""The providers that have a dialect here: one line each, for traces, replay, tuning and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.base import Dialect
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.flux import Flux
from hearout.transcribers.soniox import Soniox

__all__ = ["PROVIDERS", "BuiltIn", "Provider"]

BuiltIn: TypeAlias = Deepgram | Soniox | Flux | AssemblyAI


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    Attributes:
        dialect: made with a key, and with ``sample_rate`` and ``channels`` if they are not the usual ones.
        owner: whose key that is.
        variable: the environment variable that people keep it in.
    """

    dialect: type[BuiltIn]
    owner: str
    variable: str

    @property
    def name(self) -> str:
        """As in ``--stt`` and in traces."""
        return self.dialect.name

    def reader(self, channels: int = 1) -> Dialect:
        """What reads recorded messages; it connects to nothing, so it needs no key.

        Raises:
            UsageError: this provider does not transcribe so many channels.
        """
        dialect = self.dialect("unused", channels=channels)
        dialect.opening()
        return dialect

    @property
    def finalizes(self) -> bool:
        """It can be asked for final results, unless its options say otherwise."""
        return self.reader().finalize() is not None


#: By name, in the order in which they are listed.
PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(Deepgram, "Deepgram", "DEEPGRAM_API_KEY"),
        Provider(Soniox, "Soniox", "SONIOX_API_KEY"),
        Provider(Flux, "Deepgram", "DEEPGRAM_API_KEY"),
        Provider(AssemblyAI, "AssemblyAI", "ASSEMBLYAI_API_KEY"),
    )
}
