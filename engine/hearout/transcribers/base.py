"""The interface of a provider: a *dialect*, wire messages in, signals out, and nothing else.

A dialect is pure: no socket, no clock, no task. The link (`hearout.link.link`) owns all of those, so one piece of
code keeps every provider's connection alive, and a dialect is tested on golden messages alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hearout_policies.signals import Signal

__all__ = [
    "Dialect",
    "Heard",
    "ProviderFailed",
    "ProviderNews",
    "StreamFinished",
    "WireMessage",
    "diarization_of",
    "least_frames",
    "least_silence",
    "tells_progress",
]

WireMessage = str | bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """A signal for the turn machine of one channel.

    Attributes:
        by: session clock by which its words were said, where they have no times; None: by its arrival.
    """

    channel: int
    signal: Signal
    by: float | None = None


@dataclass(frozen=True, slots=True)
class ProviderFailed:
    """The provider reported an error in the stream.

    Attributes:
        permanent: trying again with the same settings is useless (bad key, bad request).
    """

    detail: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The provider has sent its last result for this connection, if it was asked to close."""


ProviderNews = Heard | ProviderFailed | StreamFinished


class Dialect(Protocol):
    """How one provider speaks.

    One serves one session at a time. Those that remember nothing of a connection may have a class attribute
    ``shareable = True``: several sessions may have them at once. One whose words get worse when `finalize` comes too
    soon may have a class attribute ``finalize_after``: the least seconds of silence before it. One whose provider takes
    no message with less audio may have ``least_message``, in seconds: silence fills up what is shorter; likewise
    ``least_segment``, the audio between two finalizes. One whose provider does not say how far it has listened, and
    nothing at all as long as nobody speaks, has ``tells_progress = False``: it hangs if it leaves a finalize without an
    answer, and what it tells without times has an empty span, which `Hearing` lays out. One that has options which
    change what messages mean names them in ``decoding``, and traces have them.
    One that can tell voices apart names the option that has it do so, a bool, in a class attribute ``diarization``.
    One that is told which language it hears has it in an attribute ``language``, or several in ``language_hints``
    (BCP 47): a policy that names none judges in that.

    Attributes:
        name: as in ``--stt`` and in traces.
        sample_rate: Hz of the audio it is told to expect.
        channels: number of audio channels it transcribes apart.
        keepalive_after: seconds without any outgoing message after which `keepalive` is due; None: never.
        longest: seconds that the provider lets a connection last; None: no limit is known.
    """

    name: str
    sample_rate: int
    channels: int
    keepalive_after: float | None

    @property
    def longest(self) -> float | None: ...

    @property
    def silence_after(self) -> float | None:
        """Seconds without audio after which it must be fed silence to go on, at the moment; None: not now, or never.

        For providers whose own end of turn counts time by the audio they get. May change with each `decode`.
        """

    def address(self) -> str:
        """The full url with its query; no secret in it."""

    def headers(self) -> list[tuple[str, str]]:
        """Headers of the handshake. These hold the key: never log them."""

    def opening(self) -> Sequence[WireMessage]:
        """What to send before the first audio. Called once a connection: what is kept of the one before is over."""

    def audio(self, pcm: bytes) -> WireMessage:
        """One message with ``pcm``: linear16, channels interleaved, never empty."""

    def finalize(self, channel: int | None = None) -> WireMessage | None:
        """Ask to finalise all audio sent so far; None when the provider knows no such thing."""

    def keepalive(self) -> WireMessage | None:
        """Something to send when there is no audio."""

    def closing(self) -> WireMessage:
        """Ask for the last results and a clean close."""

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """What one message means.

        Args:
            message: exactly as received.
            at: session clock of its arrival, stamped on the signals.
            offset: added to the provider's times, which count from the start of *its* connection, to give
                audio time of the session.

        Returns:
            news in the order in which it is to be handled; nothing for messages that mean nothing to us.

        Raises:
            ValueError: not a message of this provider (no JSON, wrong types, times that are no numbers).
        """


def least_silence(dialect: Dialect | type[Dialect]) -> float:
    """Seconds of silence before it may be asked to `finalize`: its ``finalize_after``, if it has one."""
    seconds: float = getattr(dialect, "finalize_after", 0.0)
    return seconds


def least_frames(dialect: Dialect, rate: int, of: Literal["message", "segment"]) -> int:
    """Frames that a message of audio, or all audio before a `finalize`, must have, at ``rate`` Hz; 0: as few as any."""
    seconds: float = getattr(dialect, f"least_{of}", 0.0)
    return math.ceil(seconds * rate)


def diarization_of(dialect: Dialect | type[Dialect]) -> str | None:
    """The option that has it tell voices apart; None: it has none."""
    name: str | None = getattr(dialect, "diarization", None)
    return name


def tells_progress(dialect: Dialect) -> bool:
    """Its provider says from time to time how far it has listened, whoever speaks or does not."""
    tells: bool = getattr(dialect, "tells_progress", True)
    return tells
