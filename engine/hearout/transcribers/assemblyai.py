"""AssemblyAI's streaming speech to text, version 3 (``/v3/ws``).

AssemblyAI cuts what it hears into turns of its own and tells each as ``Turn`` messages: all words of the turn so far,
some of them final, until one says ``end_of_turn``. ``ForceEndpoint`` ends the turn at once. Options are query
parameters and have AssemblyAI's names.
Reference: https://www.assemblyai.com/docs/streaming/message-sequence
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from hearout.errors import UsageError
from hearout.fields import object_in, time_of
from hearout.transcribers.assemblyai_turns import AssemblyAITurns, TurnOptions
from hearout.transcribers.base import Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
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
from hearout.writing import printable, shown
from hearout_policies.signals import ProviderSpeechStarted

__all__ = ["AssemblyAI"]

_NAME = "AssemblyAI"
_VARIABLE = "ASSEMBLYAI_API_KEY"
_UNIVERSAL = "universal-streaming-"  # these models take a confidence threshold, and format when asked to
_USUAL_THRESHOLD = 0.4  # AssemblyAI's end_of_turn_confidence_threshold when none is given
# Milliseconds; what AssemblyAI's own presets for hurried talk end a turn after, and its pages warn of less.
_HURRIED = 500
_NOT_IN_QUERY = ("key", "url", "channels", "own_turns", "eager_threshold", "extra")
# Errors that another connection with the same settings would meet again: bad parameters, a bad key, no credit.
_PERMANENT = ("1008", "3006", "4000", "4001", "4002", "4003")


@dataclass(eq=False)
class AssemblyAI:
    """How AssemblyAI speaks.

    With ``own_turns`` our rules decide when a turn is over: ``ForceEndpoint`` is Finalize, the models that have a
    threshold are told never to be confident, and where AssemblyAI ends a turn all the same that only makes words final.
    Without, AssemblyAI decides: its end of turn is an endpoint to our rules, and nothing is asked for.

    A turn that is to be formatted comes twice, plain and then formatted: the plain one is a result that may change, and
    final only if no formatted one follows before the next turn.

    Attributes:
        key: an API key. Never shown.
        url: address of the endpoint; the query is added to it. In Europe: wss://streaming.eu.assemblyai.com/v3/ws.
        sample_rate: of the linear16 audio, Hz.
        channels: 1; AssemblyAI knows no other number. Speakers on channels of their own need a session each.
        speech_model: AssemblyAI wants one to be named.
        own_turns: our rules end the turns.
        format_turns: universal-streaming models: final text gets punctuation and capitals, a little later. The others
            always have them.
        end_of_turn_confidence_threshold: 0 to 1; AssemblyAI's default: 0.4. Not with ``own_turns``.
        min_turn_silence: milliseconds of silence after which a confident end is told.
        max_turn_silence: milliseconds of silence after which a turn ends in any case. A warning where 500 and less
            would end turns in mid-sentence.
        eager_threshold: without ``own_turns``: confidence from which an end is predicted, 0 to 1; None: AssemblyAI
            predicts it, by the text of an ``utterance``. A warning where the end would always come first.
        vad_threshold: 0 to 1, of AssemblyAI's voice detection.
        keyterms_prompt: words to listen for.
        language_codes: of models that know several languages.
        speaker_labels: words have a `Word.speaker`.
        prompt, agent_context: what the universal-3 models may know beforehand: how to write, what the agent said.
        extra: further parameters, passed as they are.
        ignored: messages of unknown type so far.

    Raises:
        UsageError: an option that cannot work.
    """

    key: str = field(repr=False)
    url: str = field(default="wss://streaming.assemblyai.com/v3/ws", repr=False)
    sample_rate: int = 16000
    channels: int = 1
    _: KW_ONLY
    speech_model: str = "universal-streaming-english"
    own_turns: bool = True
    format_turns: bool = False
    end_of_turn_confidence_threshold: float | None = None
    min_turn_silence: int | None = None
    max_turn_silence: int | None = None
    eager_threshold: float | None = None
    vad_threshold: float | None = None
    keyterms_prompt: Sequence[str] = ()
    language_codes: Sequence[str] = ()
    prompt: str | None = None
    agent_context: str | None = None
    filter_profanity: bool = False
    speaker_labels: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    diarization: ClassVar[str] = "speaker_labels"
    remedies: ClassVar[Mapping[int, str]] = {401: f"check the key in {_VARIABLE}"}
    #: Seconds of audio that a message must have, or error 3007 follows:
    #: https://www.assemblyai.com/docs/streaming/common-session-errors-and-closures
    least_message: ClassVar[float] = 0.05
    #: Each ForceEndpoint ends a turn, and its model begins anew. Pipecat's service sends it 0.2 s into a silence, too.
    finalize_after: ClassVar[float] = 0.2

    decoding: ClassVar[Sequence[str]] = ("speech_model", "own_turns", "format_turns", "eager_threshold")

    name: str = field(default="assemblyai", init=False, repr=False)
    keepalive_after: float | None = field(default=None, init=False, repr=False)  # a session needs none
    longest: float | None = field(default=3 * 3600.0, init=False, repr=False)  # then: error 3008
    silence_after: float | None = field(default=None, init=False, repr=False)
    ignored: int = field(default=0, init=False, repr=False)
    # Of this connection; `opening` starts them anew. Times are seconds of its clock.
    _turns: AssemblyAITurns = field(default_factory=AssemblyAITurns, init=False, repr=False)

    def __post_init__(self) -> None:
        check_key(_NAME, self.key, _VARIABLE)
        check_types(_NAME, self)
        check_url(_NAME, self.url, _VARIABLE)
        if not 8000 <= self.sample_rate <= 48000:
            raise UsageError(f"AssemblyAI: sample_rate must be 8000 to 48000, not {self.sample_rate}")
        check_one_channel(_NAME, self.channels)
        for name in ("end_of_turn_confidence_threshold", "eager_threshold", "vad_threshold"):
            check_range(_NAME, name, getattr(self, name), 0.0, 1.0)
        for name in ("min_turn_silence", "max_turn_silence"):
            check_range(_NAME, name, getattr(self, name), 0, 60_000)
        if self.format_turns and not self._universal:
            raise UsageError(f"AssemblyAI: {self.speech_model} formats by itself; leave format_turns out")
        check_extra(_NAME, self, "encoding")
        self._check_turns()

    @property
    def _universal(self) -> bool:
        return self.speech_model.startswith(_UNIVERSAL)

    @property
    def _turn_options(self) -> TurnOptions:
        word_by_word = self._universal and not self.format_turns
        return TurnOptions(self.own_turns, self.format_turns, word_by_word, self.eager_threshold)

    def _check_turns(self) -> None:
        least, most = self.min_turn_silence, self.max_turn_silence
        if least is not None and most is not None and least > most:
            raise UsageError(f"AssemblyAI: min_turn_silence must not be above max_turn_silence; {least} and {most} are")
        if self.own_turns:
            for name in ("end_of_turn_confidence_threshold", "eager_threshold"):
                if getattr(self, name) is not None:
                    raise UsageError(f"AssemblyAI: {name} is for own_turns=False; with own_turns our rules decide")
            return
        if most is not None and most <= _HURRIED:
            warnings.warn(f"AssemblyAI: max_turn_silence={most} ends turns at pauses for thought", stacklevel=4)
        threshold = self.end_of_turn_confidence_threshold
        threshold = _USUAL_THRESHOLD if threshold is None else threshold
        if self.eager_threshold is not None and self._universal and self.eager_threshold > threshold:
            warnings.warn(
                f"AssemblyAI: eager_threshold={self.eager_threshold:g} predicts no end: turns end at a confidence of "
                f"{threshold:g}",
                stacklevel=4,
            )

    def address(self) -> str:
        """The url with the query; no key in it. Lists are JSON there."""
        query = given(self, *_NOT_IN_QUERY)
        if self.own_turns and self._universal:
            query["end_of_turn_confidence_threshold"] = 1.0
        # Its heartbeats tell that it listens when nobody speaks.
        query |= {"encoding": "pcm_s16le", "session_heartbeat": True} | dict(self.extra)
        return with_query(self.url, {name: _in_query(value) for name, value in query.items()})

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", self.key)]

    def opening(self) -> Sequence[WireMessage]:
        """Nothing. A connection has begun: its clock and its turns start anew."""
        self._turns = AssemblyAITurns()
        return ()

    def audio(self, pcm: bytes) -> WireMessage:
        if not pcm:
            raise ValueError("no audio: an empty message is an error to AssemblyAI")
        return pcm

    def finalize(self, channel: int | None = None) -> WireMessage | None:
        """Where our rules own the end: it ends AssemblyAI's turn, which is nothing to them."""
        return '{"type":"ForceEndpoint"}' if self.own_turns else None

    def keepalive(self) -> WireMessage | None:
        return None

    def closing(self) -> WireMessage:
        return '{"type":"Terminate"}'

    def decode(self, message: WireMessage, at: float, offset: float) -> Sequence[ProviderNews]:
        """See `Dialect.decode`. Messages of unknown type are counted in ``ignored``."""
        data = object_in(message, _NAME)
        match data.get("type"):
            case "Turn":
                return [Heard(0, signal) for signal in self._turns.read(data, at, offset, self._turn_options)]
            case "SpeechStarted":
                return [Heard(0, ProviderSpeechStarted(at, time_of(data, "timestamp") / 1000 + offset))]
            case "Heartbeat":
                return [Heard(0, self._turns.heartbeat(data, at, offset))]
            case "Termination":
                last = self._turns.settle(at, offset, self._turn_options)
                return [*(Heard(0, signal) for signal in last), StreamFinished()]
            case "Error":
                return [_failure(data)]
            case "Warning":
                return [ProviderFailed(f"warning: {printable(str(data.get('warning')), 150)}", permanent=False)]
            case "Begin" | "SpeakerRevision" | "Silence":
                return []
            case str() | None:
                self.ignored += 1
                return []
            case other:
                raise ValueError(f'"type" must be a string, not {shown(other)}')


def _failure(data: dict[str, Any]) -> ProviderFailed:
    """An error in whatever shape: one that is told must not go unseen."""
    code, error = data.get("error_code"), data.get("error")
    said = "" if code is None else " " + printable(str(code).removesuffix(".0"), 50)
    detail = "no details" if error is None else printable(str(error), 150)
    return ProviderFailed(f"error{said}: {detail}", permanent=said.strip() in _PERMANENT)


def _in_query(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else json.dumps(value, ensure_ascii=False)
