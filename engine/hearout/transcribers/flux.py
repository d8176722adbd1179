"""Deepgram Flux, the second version of its API (``/v2/listen``): a transcriber that knows turns itself.

Flux tells in ``TurnInfo`` messages how the turn goes: all its words so far, again and again, and what it makes
of them: StartOfTurn, Update, EagerEndOfTurn, TurnResumed, EndOfTurn. Words become final with EndOfTurn only
(`hearout.transcribers.flux_turns`). Options are query parameters and have Deepgram's names. Reference: https://developers.deepgram.com/docs/flux

Flux counts time by the audio it gets: when none comes, no turn ends. So the link feeds it silence as long as a turn
of its is open (`Flux.silence_after`). It has no keep-alive message; the pings of the link must do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar, Literal

from hearout.errors import UsageError
from hearout.fields import object_in
from hearout.transcribers.base import Heard, ProviderFailed, ProviderNews, WireMessage
from hearout.transcribers.flux_turns import EVENTS, FluxTurns
from hearout.transcribers.options import (
    check_extra,
    check_key,
    check_one_channel,
    check_range,
    check_types,
    check_url,
    given,
    with_query,
)
from hearout.writing import shown

__all__ = ["Flux"]

_NAME = "Flux"
_VARIABLE = "DEEPGRAM_API_KEY"
_RATES = (8000, 16000, 24000, 44100, 48000)
_USUAL_THRESHOLD = 0.7  # Deepgram's eot_threshold when none is given
# Options that Configure changes, and the field of it that they are in.
_CONFIGURABLE = {
    "eot_threshold": "thresholds",
    "eager_eot_threshold": "thresholds",
    "eot_timeout_ms": "thresholds",
    "keyterm": "keyterms",
    "language_hint": "language_hints",
    "numerals": "numerals",
}
_NOT_IN_QUERY = ("key", "url", "sample_rate", "channels", "auth", "own_turns", "extra")
_LATE = 0.5  # seconds


@dataclass(eq=False)
class Flux:
    """How Flux speaks.

    Either Flux decides when a turn is over, and its EndOfTurn is an endpoint to our rules; they still end a turn
    that Flux forgets, and hold one that ends with "and". Or, with ``own_turns``, only our rules decide: Flux is
    told never to end a turn by itself (``eot_threshold`` 1.0), and Finalize is its ForceEndTurn.

    Attributes:
        key: an API key, or a temporary token when ``auth`` is "bearer". Never shown.
        url: address of the endpoint; the query is added to it.
        sample_rate: of the linear16 audio: 8000, 16000, 24000, 44100 or 48000 Hz.
        channels: 1; Flux knows no other number. Speakers on channels of their own need a session each.
        own_turns: our rules end the turns.
        eot_threshold: confidence at which Flux ends a turn, 0.5 to 1.0; Deepgram's default: 0.7.
        eager_eot_threshold: confidence at which it predicts the end, 0.3 to 0.9, not above ``eot_threshold``;
            None: it never does.
        eot_timeout_ms: audio without a word that ends a turn whatever the confidence, 500 to 60000; Deepgram's
            default: 5000.
        keyterm: words to listen for.
        language_hint: for flux-general-multi only.
        redact: "numbers" or "aggressive_numbers".
        extra: further parameters, passed as they are.
        ignored: messages of unknown type so far.

    Raises:
        UsageError: an option that cannot work.
    """

    key: str = field(repr=False)
    url: str = field(default="wss://api.deepgram.com/v2/listen", repr=False)
    sample_rate: int = 16000
    channels: int = 1
    _: KW_ONLY
    auth: Literal["token", "bearer"] = "token"
    own_turns: bool = False
    model: str = "flux-general-en"
    eot_threshold: float | None = None
    eager_eot_threshold: float | None = None
    eot_timeout_ms: int | None = None
    keyterm: Sequence[str] = ()
    language_hint: Sequence[str] = ()
    numerals: bool = False
    profanity_filter: bool = False
    redact: Sequence[str] = ()
    tag: Sequence[str] = ()
    mip_opt_out: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    remedies: ClassVar[Mapping[int, str]] = {401: f"check the key in {_VARIABLE}"}

    name: str = field(default="flux", init=False, repr=False)
    keepalive_after: float | None = field(default=None, init=False, repr=False)
    longest: float | None = field(default=None, init=False, repr=False)
    ignored: int = field(default=0, init=False, repr=False)
    # Of this connection; `opening` starts them anew.
    _turns: FluxTurns = field(default_factory=FluxTurns, init=False, repr=False)
    _configuring: bool = field(default=False, init=False, repr=False)  # a Configure is not answered yet

    def __post_init__(self) -> None:
        check_key(_NAME, self.key, _VARIABLE)
        check_types(_NAME, self)
        check_url(_NAME, self.url, _VARIABLE)
        if self.auth not in ("token", "bearer"):
            raise UsageError(f'Flux: auth must be "token" or "bearer", not {shown(self.auth)}')
        if self.sample_rate not in _RATES:
            raise UsageError(f"Flux: sample_rate must be {', '.join(map(str, _RATES))}; not {self.sample_rate}")
        check_one_channel(_NAME, self.channels)
        check_range(_NAME, "eot_threshold", self.eot_threshold, 0.5, 1.0)
        check_range(_NAME, "eager_eot_threshold", self.eager_eot_threshold, 0.3, 0.9)
        check_range(_NAME, "eot_timeout_ms", self.eot_timeout_ms, 500, 60000)
        if self.own_turns:
            if self.eot_threshold not in (None, 1.0):
                raise UsageError("Flux: own_turns sets eot_threshold to 1.0; leave it out")
            self.eot_threshold = 1.0
        threshold = _USUAL_THRESHOLD if self.eot_threshold is None else self.eot_threshold
        if self.eager_eot_threshold is not None and self.eager_eot_threshold > threshold:
            raise UsageError(
                f"Flux: eager_eot_threshold must not be above eot_threshold, which is {threshold:g}; "
                f"{self.eager_eot_threshold:g} is"
            )
        if self.language_hint and "multi" not in self.model:
            raise UsageError(f"Flux: language_hint needs flux-general-multi, not {self.model}")
        for kind in self.redact:
            if kind not in ("numbers", "aggressive_numbers"):
                raise UsageError(f"Flux: redact knows numbers and aggressive_numbers, not {shown(kind)}")
        check_extra(_NAME, self, "encoding")

    def address(self) -> str:
        """The url with the query; no key in it."""
        query = given(self, *_NOT_IN_QUERY) | {"encoding": "linear16", "sample_rate": self.sample_rate}
        return with_query(self.url, query | dict(self.extra))

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"{self.auth.capitalize()} {self.key}")]

    def opening(self) -> Sequence[WireMessage]:
        """Nothing. A connection has begun: its clock starts anew, and no turn is open on it."""
        self._turns, self._configuring = FluxTurns(), False
        return ()

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio: an empty message could end the stream")
        return pcm

    def finalize(self, channel: int | None = None) -> WireMessage | None:
        """Only where our rules own the end: Flux has no Finalize that leaves its turn open."""
        return '{"type":"ForceEndTurn"}' if self.own_turns else None

    def configure(self, **options: Any) -> str:
        """The message that changes options on an open connection, for `Session.send`.

        Takes eot_threshold, eager_eot_threshold, eot_timeout_ms, keyterm, language_hint and numerals, as the
        constructor does; the others stay as they are. Later connections start with the new ones. Flux takes one
        such message at a time; when it refuses, the session tells so in a `SessionWarning`.

        Raises:
            UsageError: an option that cannot work, or is fixed, or the message before is not answered yet.
        """
        if self._configuring:
            raise UsageError("Flux: the last Configure is not answered yet, and it takes one at a time; try again")
        for name in options:
            if name not in _CONFIGURABLE:
                raise UsageError(f"Flux: {name} is fixed; Configure changes {', '.join(_CONFIGURABLE)}")
        replace(self, **options)  # which checks them
        message: dict[str, Any] = {"type": "Configure"}
        for name, value in options.items():
            setattr(self, name, value)
            value = list(value) if isinstance(value, Sequence) else value
            if _CONFIGURABLE[name] == "thresholds":
                message.setdefault("thresholds", {})[name] = value
            else:
                message[_CONFIGURABLE[name]] = value
        self._configuring = True
        return json.dumps(message, ensure_ascii=False)

    def keepalive(self) -> WireMessage | None:
        return None

    @property
    def silence_after(self) -> float | None:
        """Half a second while a turn of Flux's is open: long enough for audio that is only late."""
        return _LATE if self._turns.open else None

    def closing(self) -> WireMessage:
        """Flux closes, but does not finish its turn: the last Update is all there is."""
        return '{"type":"CloseStream"}'

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `Dialect.decode`. Messages and events of unknown type are counted in ``ignored``."""
        data = object_in(message, _NAME)
        match data.get("type"):
            case "TurnInfo" if data.get("event") in list(EVENTS):
                return [Heard(0, signal) for signal in self._turns.read(data, at, offset)]
            case "Connected":
                return []
            case "ConfigureSuccess":
                self._configuring = False
                return []
            case "Warning" if data.get("code") == "FORCE_END_TURN_NO_ACTIVE_TURN":
                # The answer to a ForceEndTurn when nothing was left to end.
                return [Heard(0, self._turns.silence(at, offset, finalized=True))]
            case "Warning" | "Error" | "ConfigureFailure" as kind:
                self._configuring = self._configuring and kind != "ConfigureFailure"
                said = [str(data[key])[:150] for key in ("code", "description") if data.get(key) is not None]
                return [ProviderFailed(f"{kind}: {': '.join(said) or 'no details'}", permanent=False)]
            case str() | None:
                self.ignored += 1
                return []
            case other:
                raise ValueError(f'"type" must be a string, not {shown(other)}')
