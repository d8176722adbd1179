"""What hearout has to know of a provider beside its dialect, and how it makes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from hearout.errors import UsageError
from hearout.transcribers.base import Dialect

__all__ = ["NO_KEY", "Provider", "parameters_of"]

#: Stands for a key where none is needed: nothing is connected to.
NO_KEY = "a-key-that-is-no-key"

_OFFERED = ("key", "url", "sample_rate", "channels")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    Attributes:
        dialect: made with those of ``key``, ``url``, ``sample_rate`` and ``channels`` that it takes.
        owner: whose key that is.
        variable: the environment variable that people keep it in; None: the class is not given a key.
    """

    dialect: type[Dialect]
    owner: str
    variable: str | None

    @property
    def name(self) -> str:
        """As in ``--stt`` and in traces."""
        return self.dialect.name

    def make(self, key: str, url: str | None = None, sample_rate: int = 16000, channels: int = 1) -> Dialect:
        """A dialect; ``url`` None: at its usual endpoint.

        Raises:
            UsageError: an option that cannot work. The text is the dialect's own, so it may repeat the key.
        """
        taken = parameters_of(self.dialect)
        if url is not None and "url" not in taken:
            raise UsageError(f"{self.owner}: it takes no url")
        given: dict[str, Any] = {"sample_rate": sample_rate, "channels": channels}
        if self.variable is not None:
            given["key"] = key
        if url is not None:
            given["url"] = url
        call: Callable[..., Dialect] = self.dialect
        return call(**{name: value for name, value in given.items() if name in taken})

    def reader(self, channels: int = 1) -> Dialect:
        """What reads recorded messages; it connects to nothing, so it needs no key.

        Raises:
            UsageError: this provider does not transcribe so many channels.
        """
        dialect = self.make(NO_KEY, channels=channels)
        if dialect.channels != channels:
            raise UsageError(f"{self.owner}: it transcribes {dialect.channels} channel(s), not {channels}")
        dialect.opening()
        return dialect

    @property
    def finalizes(self) -> bool:
        """It can be asked for final results, unless its options say otherwise."""
        return self.reader().finalize() is not None


@cache
def parameters_of(dialect: type) -> Mapping[str, bool]:
    """What may be given to its constructor by name, each with whether it must be."""
    try:
        parameters = inspect.signature(dialect).parameters.values()
    except ValueError:  # a class of C, which does not tell
        return {}
    taken = {
        p.name: p.default is p.empty
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)  # one that is positional only shows when it must be given
    }
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        taken = dict.fromkeys(_OFFERED, False) | taken
    return taken
