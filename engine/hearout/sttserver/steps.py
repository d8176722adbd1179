"""What a protocol asks of the server: decode this, tell me the words, send that, hang up.

A protocol (`hearout.sttserver.deepgram.stream`) is pure. It takes what the client sent and returns steps; the server
(`hearout.sttserver.server`) carries them out with a recogniser a channel and a socket. Only `Ask` has an
answer, and the protocol decides everything about time before that answer is known, so the steps of a message can
be planned at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hearout.writing import printable

_MARKS = ".,;:!?\"'()[]\N{HORIZONTAL ELLIPSIS}-"

__all__ = ["Ask", "Close", "Decode", "Drop", "HeardWord", "Refused", "Send", "Step", "Stream"]


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word of the recogniser.

    Attributes:
        text: with capitals and punctuation.
        start, end: seconds from the start of the utterance.
        confidence: 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float

    @property
    def plain(self) -> str:
        """In small letters, without the punctuation around it."""
        return self.text.strip(_MARKS).lower() or self.text


@dataclass(frozen=True)
class Decode:
    """Give the channel's recogniser audio: linear16 mono, 16 kHz. Begins an utterance if none is open."""

    channel: int
    pcm: bytes


@dataclass(frozen=True)
class Ask:
    """Ask for the words of the open utterance, and give the answer to `Stream.report`.

    Attributes:
        utterance: audio time at which the utterance began; None: there is none, so there are no words.
        ends: close the utterance first, for the best words it will ever have.
    """

    channel: int
    utterance: float | None
    ends: bool

    @property
    def pauses(self) -> bool:
        """The utterance may end here, so its words are to be as good as at its end."""
        return False


@dataclass(frozen=True)
class Send:
    """Send a text message. Those with a channel keep their place among its steps, the others come last."""

    text: str
    channel: int | None = None


@dataclass(frozen=True)
class Close:
    """Close the connection; nothing comes after this."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Drop:
    """Let the connection break: no close, no goodbye. Nothing comes after this."""


Step = Decode | Ask | Send | Close | Drop


class Refused(Exception):
    """The handshake is answered with an HTTP error.

    Attributes:
        status, code, detail: HTTP status, the provider's name for the error, and what is wrong in one line.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.detail = printable(detail, 300)  # a client's own words may be in it
        super().__init__(self.detail)
        self.status = status
        self.code = code


class Stream(Protocol):
    """One connection, as a protocol sees it.

    Attributes:
        authorised: the client has shown a key; where that may come with the first message, nothing is done before.
        channels: how many recognisers it needs.
        idle_timeout: seconds from now after which `wait` is due although the client sent nothing.
    """

    @property
    def authorised(self) -> bool: ...

    @property
    def channels(self) -> int: ...

    @property
    def idle_timeout(self) -> float: ...

    def opening(self) -> list[Step]:
        """What to do once connected."""

    def receive(self, message: str | bytes) -> list[Step]:
        """What to do about a message of the client, which may be a part of a long binary one."""

    def wait(self, seconds: float) -> list[Step]:
        """What to do about so much quiet from the client; called before each `receive`, too."""

    def alive(self) -> None:
        """The client was heard of, be it with a websocket ping only."""

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        """The messages to send now that the answer is here."""

    def refuse(self, refused: Refused) -> list[Step]:
        """How to hang up when it was connected before it was authorised, and now cannot be served."""

    def failed(self) -> Close:
        """How to hang up when the recogniser is gone."""
