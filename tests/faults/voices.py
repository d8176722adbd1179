"""How the providers tell what they hear: the words of a script, in each one's own messages.

A voice is one connection's ear. Its audio time is that of the session; what it says counts from the connection's 0.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.kit.provider import ENDPOINTING, Ear

__all__ = ["AssemblyAI", "Deepgram", "ElevenLabs", "Flux", "Message", "OpenAI", "Soniox", "Voice", "Words"]

Words = Sequence[tuple[str, float, float]]
Message = dict[str, Any]

_SEGMENT = 3.5  # seconds; longer speech is made final in parts
_GAP = 1.0  # seconds without words that make an UtteranceEnd
_SLACK = 1e-6


class Voice(Protocol):
    """The transcriber's side of a connection, without the connection."""

    def hear(self, until: float) -> list[Message]:
        """Audio of the session was heard up to ``until``."""

    def silence(self, seconds: float) -> list[Message]:
        """Silence that is none of the session's was heard."""

    def obey(self, message: Message) -> list[Message]:
        """A request in JSON, other than to close."""

    def close(self) -> list[Message]:
        """The last messages."""

    def cut_off(self) -> Message:
        """What an error frame can carry along: all that was heard, as final as it will be."""


class _Script:
    """The words of one channel, quickly found."""

    def __init__(self, words: Words, starts: Sequence[float]) -> None:
        self.words, self.starts = words, starts

    def between(self, begin: float, until: float, *, whole: bool) -> list[tuple[str, float, float]]:
        """Those with their middle in this span; ``whole``: that are over at its end."""
        first, last = bisect_left(self.starts, begin - 1), bisect_left(self.starts, until)
        near = self.words[first:last]
        return [w for w in near if begin <= (w[1] + w[2]) / 2 < until and (not whole or w[2] <= until + _SLACK)]

    def within_word(self, until: float) -> bool:
        index = bisect_left(self.starts, until) - 1
        return index >= 0 and until < self.words[index][2]


@dataclass
class _Channel(Ear):
    """What one channel of a Deepgram connection hears. Long speech is made final in parts."""

    script: _Script = field(kw_only=True)
    endpoints: bool = field(kw_only=True)
    last_final: float | None = None  # end of the last final word that no UtteranceEnd came for
    started: bool = False

    def hear(self, until: float) -> list[Message]:
        words = self._words(until, whole=True)
        said: list[Message] = []
        if words and not self.started:
            self.started = True
            said.append(self._event("SpeechStarted", "timestamp", words[0][1]))
        if self.script.within_word(until):
            pass  # no end in the middle of a word
        elif self.endpoints and until - (words[-1][2] + ENDPOINTING if words else self.begin + 3.0) >= 0:
            return [*said, self.result(until, final=True, endpoint=True)]
        if len(words) > 2 and until - self.begin >= _SEGMENT:
            # As Deepgram does it: shorter than the interim result before it; the rest comes again.
            return [*said, self.result((words[-2][2] + words[-1][1]) / 2, final=True)]
        if until - self.begin >= self.shown + 1:
            self.shown += 1
            said.append(self.result(until))
            if self.last_final is not None and not words and until - self.last_final >= _GAP:
                said.append(self._event("UtteranceEnd", "last_word_end", self.last_final))
                self.last_final = None
        return said

    def result(self, until: float, *, final: bool = False, endpoint: bool = False, finalized: bool = False) -> Message:
        words = self._words(until, whole=not final)
        if final and words:
            self.last_final, self.started = words[-1][2], False
        message: Any = super().result(until, final=final, endpoint=endpoint, finalized=finalized)
        for word in message["channel"]["alternatives"][0]["words"]:
            word["start"] = max(word["start"], 0.0)  # a word that was cut by the start of the connection
        return dict(message)

    def _event(self, kind: str, key: str, audio: float) -> Message:
        return {"type": kind, "channel": [self.channel, self.channels], key: max(audio - self.offset, 0.0)}

    def _words(self, until: float, *, whole: bool) -> list[tuple[str, float, float]]:
        return self.script.between(self.begin, until, whole=whole)


class Deepgram:
    """Interim results every second, final ones at the end of speech."""

    def __init__(self, words: Sequence[Words], starts: Sequence[Sequence[float]], at: float, plan: Any) -> None:
        self.at, self.plan = at, plan
        self.channels = [
            _Channel(i, len(words), mine, at, script=_Script(mine, starts[i]), endpoints=plan.endpoints)
            for i, mine in enumerate(words)
        ]

    def hear(self, until: float) -> list[Message]:
        self.at = until
        return [item for channel in self.channels for item in channel.hear(until)]

    def silence(self, seconds: float) -> list[Message]:
        raise AssertionError("it needs none")

    def obey(self, message: Message) -> list[Message]:
        if message["type"] != "Finalize" or not self.plan.finalize_answers:
            return []
        number = message.get("channel")
        asked = self.channels if number is None else [self.channels[number]]
        return [channel.result(self.at, final=True, finalized=True) for channel in asked]

    def close(self) -> list[Message]:
        rest = [channel.result(self.at, final=True) for channel in self.channels if self.at > channel.begin]
        return [*rest, {"type": "Metadata", "duration": self.at, "channels": 1}]

    def cut_off(self) -> Message:
        return {}


class Soniox:
    """Tokens every quarter of a second; what was said more than a second ago is final."""

    _EVERY, _LAG, _ENDPOINT = 0.24, 1.0, 0.8

    def __init__(self, words: Sequence[Words], starts: Sequence[Sequence[float]], at: float, plan: Any) -> None:
        self.at = self.origin = self.final = self.told = at
        self.plan = plan
        self.script = _Script(words[0], starts[0])
        self.ended = True  # no word since the last marker

    def hear(self, until: float) -> list[Message]:
        self.at = until
        if until - self.told < self._EVERY - _SLACK:
            return []
        words = self.script.between(self.final, until, whole=True)
        last = words[-1][2] if words else None
        quiet = not self.script.within_word(until) and (last is None or until - last >= self._ENDPOINT)
        if quiet and self.plan.endpoints and (words or not self.ended):
            return [self._message(until, "<end>")]
        if not self.plan.endpoints and words:
            return [self._message(self.final)]
        # A word is made final as a whole.
        lag = max(until - self._LAG, self.final)
        cut = [start for _, start, end in words if start < lag < end]
        return [self._message(max(min([lag, *cut]), self.final))]

    def silence(self, seconds: float) -> list[Message]:
        raise AssertionError("it needs none")

    def obey(self, message: Message) -> list[Message]:
        if message["type"] == "finalize" and self.plan.finalize_answers:
            return [self._message(self.at, "<fin>")]
        return []

    def close(self) -> list[Message]:
        return [self._message(self.at) | {"finished": True}]

    def cut_off(self) -> Message:
        return self._message(self.at)

    def _message(self, final: float, marker: str = "") -> Message:
        finals = self.script.between(self.final, final, whole=False)
        rest = self.script.between(final, self.at, whole=True)
        tokens = [token for word in finals for token in self._tokens(word, True)]
        if finals:
            self.ended = False
        if marker:
            tokens.append({"text": marker, "is_final": True})
            self.ended = True
        tokens += [token for word in rest for token in self._tokens(word, False)]
        self.final, self.told = final, self.at
        return {
            "tokens": tokens,
            "final_audio_proc_ms": round((final - self.origin) * 1000),
            "total_audio_proc_ms": round((self.at - self.origin) * 1000),
        }

    def _tokens(self, word: tuple[str, float, float], final: bool) -> list[Message]:
        """Two for a word, and one for what stands behind it."""
        text, start, end = word
        plain = text.rstrip(".?!")
        half = len(plain) // 2
        middle = (start + end) / 2
        parts = [(" " + plain[:half], start, middle), (plain[half:], middle, end), (text[len(plain) :], end, end)]
        if not half:
            parts = [(" " + plain, start, end), *parts[2:]]
        return [
            {
                "text": part,
                "start_ms": round(max(begin - self.origin, 0.0) * 1000),
                "end_ms": round((stop - self.origin) * 1000),
                "is_final": final,
            }
            for part, begin, stop in parts
            if part
        ]


class Flux:
    """Turns: updates every quarter of a second, and an end after enough silence, by the audio it gets."""

    _EVERY, _EAGER, _END = 0.24, 0.4, 0.7

    def __init__(self, words: Sequence[Words], starts: Sequence[Sequence[float]], at: float, plan: Any) -> None:
        self.at = self.origin = self.begin = at
        self.plan = plan
        self.script = _Script(words[0], starts[0])
        self.silences: list[tuple[float, float]] = []  # where and how long, on the session's clock
        self.told = 0.0  # on this connection's clock, as is `_now`
        self.window = 0.0
        self.turn = 0
        self.open = self.eager = False
        self.shown: list[tuple[str, float, float]] = []

    @property
    def _now(self) -> float:
        return self._time(self.at + _SLACK)

    def _time(self, audio: float) -> float:
        return max(audio - self.origin, 0.0) + sum(length for start, length in self.silences if start < audio - _SLACK)

    def hear(self, until: float) -> list[Message]:
        self.at = until
        return self._look()

    def silence(self, seconds: float) -> list[Message]:
        if self.silences and self.silences[-1][0] == self.at - 2 * _SLACK:
            seconds += self.silences.pop()[1]
        self.silences.append((self.at - 2 * _SLACK, seconds))
        return self._look()

    def obey(self, message: Message) -> list[Message]:
        if message["type"] == "ForceEndTurn":
            self.shown = self._words()
            if self.open:
                return [self._end("manual")]
            return [{"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "no turn"}]
        return [{"type": "ConfigureFailure", "code": "ODD", "description": "no"}]

    def close(self) -> list[Message]:
        """It does not end its turn."""
        self.shown = self.script.between(self.begin, self.at, whole=False)
        return [self._info("Update" if self.open or not self.shown else "StartOfTurn")]

    def cut_off(self) -> Message:
        return {}

    def _words(self) -> list[tuple[str, float, float]]:
        return self.script.between(self.begin, self.at, whole=not self._stopped)

    def _look(self) -> list[Message]:
        words = self._words()
        said: list[Message] = []
        if words and not self.open:
            self.open, self.shown = True, words
            said.append(self._info("StartOfTurn"))
        elif self.eager and words != self.shown:
            self.eager, self.shown = False, words
            said.append(self._info("TurnResumed"))
        self.shown = words
        if self.open and (not self.script.within_word(self.at) or self._stopped):
            quiet = self._now - self._time(words[-1][2])
            if quiet >= self._END - _SLACK and self.plan.endpoints:
                return [*said, self._end("model")]
            if quiet >= self._EAGER - _SLACK and not self.eager:
                self.eager = True
                said.append(self._info("EagerEndOfTurn"))
        if not said and self._now - self.told >= self._EVERY - _SLACK:
            said.append(self._info("Update"))
        return said

    @property
    def _stopped(self) -> bool:
        return bool(self.silences) and self.silences[-1][0] >= self.at - 3 * _SLACK

    def _end(self, trigger: str) -> Message:
        message = self._info("EndOfTurn") | {"trigger": trigger}
        self.turn += 1
        self.begin, self.window = self.at, self._now
        self.open, self.eager, self.shown = False, False, []
        return message

    def _info(self, event: str) -> Message:
        self.told = self._now
        return {
            "type": "TurnInfo",
            "event": event,
            "turn_index": self.turn,
            "audio_window_start": round(self.window, 3),
            "audio_window_end": round(self._now, 3),
            "transcript": " ".join(word for word, _, _ in self.shown),
            "words": [
                {"word": word, "confidence": 0.9, "start": self._time(start), "end": self._time(end)}
                for word, start, end in self.shown
            ],
        }


class AssemblyAI:
    """Turns whose words become final one by one; an end when it is forced, or after a long silence."""

    _END, _BEAT = 1.28, 5.0

    def __init__(self, words: Sequence[Words], starts: Sequence[Sequence[float]], at: float, plan: Any) -> None:
        self.at = self.origin = self.begin = at
        self.plan = plan
        self.script = _Script(words[0], starts[0])
        self.silences: list[tuple[float, float]] = []  # where and how long, on the session's clock
        self.turn = self.shown = 0
        self.beat = at

    def _time(self, audio: float) -> float:
        return max(audio - self.origin, 0.0) + sum(length for start, length in self.silences if start < audio - _SLACK)

    def hear(self, until: float) -> list[Message]:
        self.at = until
        words = self._words()
        said: list[Message] = []
        if words and self.plan.endpoints and until - words[-1][2] >= self._END and not self.script.within_word(until):
            return [self._end()]
        if len(words) > self.shown:
            self.shown = len(words)
            said.append(self._info(words))
        if until - self.beat >= self._BEAT:
            self.beat = until
            received = round(1000 * self._time(until + _SLACK))
            voice = 0.1 if not words and until - self.begin >= self._BEAT else 0.9
            said.append({"type": "Heartbeat", "total_audio_received_ms": received, "max_speech_probability": voice})
        return said

    def silence(self, seconds: float) -> list[Message]:
        self.silences.append((self.at - 2 * _SLACK, seconds))
        return []

    def obey(self, message: Message) -> list[Message]:
        if message["type"] != "ForceEndpoint":
            return [{"type": "Warning", "warning_code": 1, "warning": "no"}]
        return [self._end()] if self._words(whole=False) else []

    def close(self) -> list[Message]:
        last = [self._end()] if self._words(whole=False) else []
        return [*last, {"type": "Termination", "audio_duration_seconds": 1, "session_duration_seconds": 1}]

    def cut_off(self) -> Message:
        return {}

    def _words(self, *, whole: bool = True) -> list[tuple[str, float, float]]:
        return self.script.between(self.begin, self.at, whole=whole)

    def _end(self) -> Message:
        message = self._info(self._words(whole=False), ends=True)
        self.turn, self.shown, self.begin = self.turn + 1, 0, self.at
        return message

    def _info(self, words: list[tuple[str, float, float]], *, ends: bool = False) -> Message:
        return {
            "type": "Turn",
            "turn_order": self.turn,
            "turn_is_formatted": False,
            "end_of_turn": ends,
            "transcript": " ".join(text for text, _, _ in words) if ends else "",
            "end_of_turn_confidence": 0.5,
            "words": [
                {
                    "start": round(1000 * self._time(start)),
                    "end": round(1000 * self._time(end)),
                    "text": text,
                    "confidence": 0.9,
                    "word_is_final": ends or number < len(words) - 1,
                }
                for number, (text, start, end) in enumerate(words)
            ],
            "utterance": "",
        }


class ElevenLabs:
    """Words that may change until they are asked for. Each commit is told with an echo and, then, with times."""

    _LEAST = 0.3

    def __init__(self, words: Sequence[Words], starts: Sequence[Sequence[float]], at: float, plan: Any) -> None:
        self.at = self.origin = self.begin = at
        self.script = _Script(words[0], starts[0])
        self.silences: list[tuple[float, float]] = []  # where and how long, on the session's clock
        self.shown = 0
        self.committed = 0.0  # on the connection's clock

    def _time(self, audio: float) -> float:
        return max(audio - self.origin, 0.0) + sum(length for start, length in self.silences if start < audio - _SLACK)

    def hear(self, until: float) -> list[Message]:
        self.at = until
        words = self._words()
        if len(words) <= self.shown:
            return []
        self.shown = len(words)
        return [self._told("partial_transcript", words)]

    def silence(self, seconds: float) -> list[Message]:
        self.silences.append((self.at - 2 * _SLACK, seconds))
        return []

    def obey(self, message: Message) -> list[Message]:
        assert message["commit"]
        received = self._time(self.at + _SLACK)
        assert received - self.committed >= self._LEAST - _SLACK, "ElevenLabs would hang up"
        words = self._words(whole=False)
        self.begin, self.shown, self.committed = self.at, 0, received
        said = [self._told("committed_transcript", words)]
        if words:
            said.append(self._told("partial_transcript", words))
        return [*said, self._told("committed_transcript_with_timestamps", words)]

    def close(self) -> list[Message]:
        return []  # there is no such request

    def cut_off(self) -> Message:
        return {}

    def _words(self, *, whole: bool = True) -> list[tuple[str, float, float]]:
        return self.script.between(self.begin, self.at, whole=whole)

    def _told(self, kind: str, words: list[tuple[str, float, float]]) -> Message:
        message: Message = {"message_type": kind, "text": " ".join(text for text, _, _ in words)}
        if kind.endswith("timestamps"):
            message["words"] = [
                item
                for text, start, end in words
                for item in (
                    {"text": " ", "start": self._time(start), "end": self._time(start), "type": "spacing"},
                    {"text": text, "start": self._time(start), "end": self._time(end), "type": "word"},
                )
            ]
        return message


class OpenAI:
    """Items, which commits end: words without times, one by one while they are said, and all when it is done."""

    _LEAST = 0.1
    _SOUND = "conversation.item.input_audio_transcription"

    def __init__(self, words: Sequence[Words], starts: Sequence[Sequence[float]], at: float, plan: Any) -> None:
        self.at = self.begin = at
        self.script = _Script(words[0], starts[0])
        self.shown = self.items = 0
        self.fresh = 0.0  # seconds since the last commit

    def hear(self, until: float) -> list[Message]:
        self.fresh += until - self.at
        self.at = until
        words = [text for text, _, _ in self.script.between(self.begin, until, whole=True)]
        fresh, first, self.shown = words[self.shown :], self.shown == 0, max(self.shown, len(words))
        return [self._told("delta", delta=(" " * (not first)) + " ".join(fresh))] if fresh else []

    def silence(self, seconds: float) -> list[Message]:
        self.fresh += seconds
        return []

    def obey(self, message: Message) -> list[Message]:
        if message["type"] != "input_audio_buffer.commit":
            return []
        assert self.fresh >= self._LEAST - _SLACK, "OpenAI would say that there is too little"
        text = " ".join(text for text, _, _ in self.script.between(self.begin, self.at, whole=False))
        committed = {"type": "input_audio_buffer.committed", "item_id": f"item_{self.items}"}
        said = [committed, self._told("completed", transcript=text)]
        self.begin, self.shown, self.items, self.fresh = self.at, 0, self.items + 1, 0.0
        return said

    def close(self) -> list[Message]:
        return []  # there is no such request

    def cut_off(self) -> Message:
        return {}

    def _told(self, kind: str, **fields: str) -> Message:
        return {"type": f"{self._SOUND}.{kind}", "item_id": f"item_{self.items}", **fields}
