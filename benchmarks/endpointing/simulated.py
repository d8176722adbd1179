"""A simulated Deepgram, and conversations run through one turn machine in virtual time.

`SimulatedTranscriber` is pure: told how much audio has reached it, it says which messages it sends, and how long each
takes it. They are Deepgram's own wire messages, and the real dialect decodes them. `converse` is the fast path: audio
and messages travel through a queue of events, and `TurnMachine.handle` is called as an engine would. It leaves out
socket and session; `benchmarks.endpointing.through_engine` shows that these change nothing.
"""

from __future__ import annotations

import heapq
import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any

from benchmarks.endpointing.conversations import FRAME, Conversation, normal
from benchmarks.endpointing.scenarios import LogNormal, Network, Transcriber
from hearout import Deepgram
from hearout.transcribers.base import Heard
from hearout_policies import Finalize, Policy, TurnMachine
from hearout_policies.events import Output
from hearout_policies.language import language
from hearout_policies.signals import (
    VOICE,
    AgentSpeech,
    Asked,
    EndOfAudio,
    Signal,
    Tick,
)
from hearout_policies.text import Ending, classify

__all__ = ["MESSAGE", "Chance", "SimulatedTranscriber", "Way", "converse", "trace"]

MESSAGE = 0.1  # seconds of audio in a message to the transcriber, as `hearout.link.settings.LinkSettings` has it
_GRID = 0.1  # seconds; chance is drawn anew for each
_TAIL = LogNormal(-3.9, 1.0, cap=0.2)  # the transcriber's own VAD outlasts speech a little (assumed)
_SHOWN = 0.15  # seconds behind a word after which an interim result shows its punctuation (captured: not at once)
_HELD = 3.0  # seconds of silence for which smart_format withholds digits; documented
_BEFORE = 0.3  # seconds before a turn at which the application says what it has asked
_RATHER_NEW = 0.1  # less new audio than this since a Finalize, and the next one is not answered


class Chance:
    """The numbers that chance deals out in one conversation, by the time for which they are asked.

    Nothing depends on how often one asks: policies that ask at different times still meet the same luck.
    """

    def __init__(self, key: str, length: float) -> None:
        self._key = key
        self._count = math.ceil((length + 30) / _GRID)
        self._normals: dict[str, list[float]] = {}

    def normal(self, what: str, at: float) -> float:
        """A standard normal number."""
        if what not in self._normals:
            random = Random(f"{what}/{self._key}")
            self._normals[what] = [normal(random) for _ in range(self._count)]
        return self._normals[what][min(int(at / _GRID + 1e-6), self._count - 1)]

    def draw(self, what: str, of: LogNormal, at: float) -> float:
        return min(of.cap, of.shift + math.exp(of.mu + of.sigma * self.normal(what, at)))

    def happens(self, what: str, share: float, at: float) -> bool:
        return share > 0 and math.erfc(-self.normal(what, at) / math.sqrt(2)) / 2 < share


@lru_cache(maxsize=512)
def chance_of(conversation_key: str, length: float) -> Chance:
    return Chance(conversation_key, length)


class Way:
    """One direction of the network: what goes in at a time comes out at another, in order."""

    def __init__(self, name: str, network: Network, chance: Chance, stalls: Sequence[tuple[float, float]]) -> None:
        self._name, self._network, self._chance, self._stalls = name, network, chance, stalls
        self._last = 0.0

    def pass_through(self, at: float) -> float:
        """When what is sent at ``at`` arrives."""
        arrival = at + self._network.base + self._chance.draw(self._name, self._network.jitter, at)
        for start, end in self._stalls:
            if start <= at < end:
                arrival += end - at
        self._last = max(self._last, arrival)
        return self._last


def ways(conversation: Conversation) -> tuple[Way, Way]:
    """To the transcriber, and back."""
    network = conversation.scenario.network
    chance = chance_of(conversation.key, conversation.length)
    stalls: list[tuple[float, float]] = []
    random = Random(f"stalls/{conversation.key}")
    at = 0.0
    while network.stalls:
        at -= 60 / network.stalls * math.log(1 - random.random())
        if at > conversation.length:
            break
        stalls.append((at, at + network.stall_for * (1 + 2 * random.random()) / 3))
    return Way("up", network, chance, stalls), Way("down", network, chance, stalls)


Said = tuple[float, dict[str, Any]]  # seconds that it takes the transcriber, and the message


@dataclass
class _Phrase:
    """One stretch of voice as the transcriber's own VAD hears it."""

    start: float
    end: float
    missed: bool  # no endpoint after it
    told: bool = False  # SpeechStarted was sent


class SimulatedTranscriber:
    """One connection to the transcriber.

    `hear` and `finalize` take the audio time that has reached it, which never runs backwards. Words are known from
    their end on, in interim results; a final result has those whose middle lies in its span.
    """

    def __init__(self, conversation: Conversation, options: Transcriber | None = None) -> None:
        self.options = options or conversation.scenario.transcriber
        self._chance = chance_of(conversation.key, conversation.length)
        self._words = conversation.words
        self._ends = [word.end for word in self._words]
        self._middles = [(word.start + word.end) / 2 for word in self._words]
        self._phrases = [
            _Phrase(
                start,
                end + self._chance.draw("tail", _TAIL, end),
                self._chance.happens("endpoint", self.options.endpoint_missed, end),
            )
            for start, end in conversation.voiced
        ]
        self._phrase = 0  # the one that is heard, or the next
        self._begin = 0.0  # of the segment
        self._first = 0  # word of the segment
        self._shown = 0  # interim results of this segment
        self._last_final: float | None = None  # end of the last final word
        self._told_end: float | None = None  # ... for which an UtteranceEnd was sent
        self._flushed = -1.0  # audio time of the last Finalize

    def hear(self, until: float) -> list[Said]:
        """The audio up to ``until`` has come."""
        said: list[Said] = []
        options = self.options
        while self._phrase + 1 < len(self._phrases) and self._phrases[self._phrase + 1].start <= until:
            self._phrase += 1
        phrase = self._phrases[self._phrase]
        silence = until - phrase.end if phrase.start <= until else until
        if phrase.start <= until and not phrase.told:
            phrase.told = True
            said.append((0.05, {"type": "SpeechStarted", "channel": [0, 1], "timestamp": round(phrase.start, 2)}))
        known = max(self._first, bisect_right(self._ends, until))
        lasted = until - self._begin
        before = len(said)
        if known > self._first:
            endpoint = options.endpointing_ms is not None and silence >= options.endpointing_ms / 1000
            if endpoint and not phrase.missed and phrase.start <= until and not self._withheld(known, silence):
                said.append(self._result(until, known, final=True, endpoint=True))
            elif lasted >= self._segment and not self._withheld(known, silence):
                cut = until if silence > 0 else self._cut(until, known)
                if cut > self._begin:
                    said.append(self._result(cut, bisect_left(self._middles, cut), final=True))
        elif lasted >= options.empty_every and silence > 0.5:
            said.append(self._result(until, known, final=True, endpoint=options.endpointing_ms is not None))
        if len(said) == before and until - self._begin >= (self._shown + 1) * options.interim_every - 1e-6:
            said.append(self._result(until, known))
        if len(said) > before:
            said += self._utterance_end(until, known)
        return said

    def finalize(self, until: float) -> list[Said]:
        """A Finalize came behind the audio up to ``until``."""
        new = until - self._flushed
        self._flushed = until
        if new < _RATHER_NEW or self._chance.happens("unanswered", self.options.unanswered, until):
            return []
        known = max(self._first, bisect_left(self._middles, until))
        return [self._result(until, known, final=True, finalized=True), *self._utterance_end(until, known)]

    @property
    def _segment(self) -> float:
        least, most = self.options.segment
        share = math.erfc(-self._chance.normal("segment", self._begin) / math.sqrt(2)) / 2
        return least + (most - least) * share

    def _cut(self, until: float, known: int) -> float:
        """Where a segment ends in the middle of talk: between words, a little back."""
        words = [end for end in self._ends[self._first : known] if end <= until - 0.3]
        return words[-1] if words else self._begin

    def _withheld(self, known: int, silence: float) -> bool:
        if not self.options.smart_format or silence >= _HELD:
            return False
        text = " ".join(word.text for word in self._words[self._first : known])
        return classify(text, language("en")) is Ending.DIGITS

    def _result(
        self, until: float, stop: int, *, final: bool = False, endpoint: bool = False, finalized: bool = False
    ) -> Said:
        words = self._words[self._first : stop]
        items: list[dict[str, Any]] = []
        for word in words:
            text = word.text
            if not final and word is words[-1] and until < word.end + _SHOWN:
                text = text.rstrip(",.?")
            end = min(word.end, until)
            items.append({"word": text.rstrip(",.?").casefold(), "start": word.start, "end": end, "confidence": 0.99})
            items[-1]["punctuated_word"] = text
        message: dict[str, Any] = {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": round(until - self._begin, 3),
            "start": round(self._begin, 3),
            "is_final": final,
            "speech_final": endpoint,
            "channel": {
                "alternatives": [{"transcript": " ".join(item["punctuated_word"] for item in items), "words": items}]
            },
            "from_finalize": finalized,
        }
        if final:
            takes = self._chance.draw("final", self.options.finalise, until) - 2 * Network().base
            self._begin, self._first, self._shown = until, max(stop, self._first), 0
            if words:
                self._last_final = words[-1].end
        else:
            takes = self._chance.draw("interim", self.options.interim, until)
            self._shown += 1
        return max(0.02, takes), message

    def _utterance_end(self, until: float, known: int) -> list[Said]:
        """A word gap that the result just sent shows."""
        gap = self.options.utterance_end_ms
        last = self._last_final
        if gap is None or last is None or last == self._told_end:
            return []
        following = bisect_right(self._ends, last + 1e-6)
        reach = self._words[following].start if following < known else until
        if reach - last < gap / 1000:
            return []
        self._told_end = last
        return [(0.0, {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": round(last, 3)})]


@dataclass
class _Run:
    """One conversation on its way through one machine."""

    conversation: Conversation
    machine: TurnMachine
    transcriber: SimulatedTranscriber
    records: list[dict[str, Any]] | None
    dialect: Deepgram = field(default_factory=lambda: Deepgram("simulated"))
    outputs: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.up, self.down = ways(self.conversation)
        self.queue: list[tuple[float, int, str, Any]] = []
        self.order = 0
        self.sent = 0.0  # audio time sent to the transcriber
        self.spoken = 0.0  # when the transcriber last sent something

    def run(self) -> list[Output]:
        conversation = self.conversation
        for edge in conversation.edges:
            self.push(edge.at, "edge", edge)
        for answer in conversation.answers:
            self.push(answer.at, "ear", answer)
        for turn in conversation.turns:
            if turn.asked:
                self.push(max(0.0, turn.start - _BEFORE), "asked", turn.asked)
        for start, end in conversation.agent:
            self.push(start, "agent", "started")
            self.push(end, "agent", "stopped")
        self.push(MESSAGE, "audio", MESSAGE)
        self.push(conversation.length, "end", None)
        machine = self.machine
        while self.queue:
            at, deadline = self.queue[0][0], machine.deadline
            if deadline is not None and deadline < at:
                self.tell(Tick(deadline))
            else:
                _, _, kind, what = heapq.heappop(self.queue)
                self.happen(at, kind, what)
        while machine.deadline is not None:
            self.tell(Tick(machine.deadline))
        return self.outputs

    def push(self, at: float, kind: str, what: Any) -> None:
        heapq.heappush(self.queue, (at, self.order, kind, what))
        self.order += 1

    def happen(self, at: float, kind: str, what: Any) -> None:
        match kind:
            case "audio":
                if what == round(self.sent + MESSAGE, 3) and what <= self.conversation.length:
                    self.send_audio(at, what)
            case "hear":
                self.answer(at, self.transcriber.hear(what))
            case "finalize":
                self.answer(at, self.transcriber.finalize(what))
            case "message":
                self.record(t=at, stt=what)
                for news in self.dialect.decode(json.dumps(what), at, 0.0):
                    if isinstance(news, Heard):
                        self.tell(news.signal)
            case "edge":
                self.record(t=at, vad=what.kind, audio=what.audio, heard=at, channel=0)
                self.tell(VOICE[what.kind](at, what.audio, at))
            case "ear":
                self.record(t=at, ear=what.odds, audio=what.audio, channel=0)
                self.tell(what)
            case "asked":
                self.record(t=at, expected=[one.to_dict() for one in what], keep=False)
                self.tell(Asked(at, what))
            case "agent":
                self.record(t=at, agent=what)
                self.tell(AgentSpeech(at, what))
            case "end":
                self.record(t=at, end=True)
                self.tell(EndOfAudio(at))

    def send_audio(self, at: float, until: float) -> None:
        self.sent = until
        self.push(self.up.pass_through(at), "hear", until)
        following = round(until + MESSAGE, 3)
        self.push(following, "audio", following)

    def answer(self, at: float, said: list[Said]) -> None:
        for takes, message in said:
            self.spoken = max(self.spoken, at + takes)
            self.push(self.down.pass_through(self.spoken), "message", message)

    def tell(self, signal: Signal) -> None:
        """Give the machine a signal and do what it says."""
        for output in self.machine.handle(signal):
            self.outputs.append(output)
            if isinstance(output, Finalize):
                self.record(t=output.at, sent={"type": "Finalize"})
                heard = round(math.floor(min(output.at, self.conversation.length) / FRAME + 1e-6) * FRAME, 3)
                if heard > self.sent:
                    self.send_audio(output.at, heard)
                self.push(self.up.pass_through(output.at), "finalize", self.sent)

    def record(self, **record: Any) -> None:
        if self.records is not None:
            self.records.append(record)


def converse(
    conversation: Conversation,
    policy: Policy,
    transcriber: Transcriber | None = None,
    *,
    records: list[dict[str, Any]] | None = None,
) -> list[Output]:
    """Everything a turn machine says in one conversation, in order.

    Args:
        policy: under test.
        transcriber: its options; None: those of the scenario.
        records: gets the records of a trace of the session.
    """
    return _Run(conversation, TurnMachine(policy), SimulatedTranscriber(conversation, transcriber), records).run()


def trace(conversation: Conversation, policy: Policy, transcriber: Transcriber | None = None) -> list[dict[str, Any]]:
    """The session as a trace, header first: one object a line makes a file that `hearout replay` takes."""
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": 1, "vad": True, "policy": policy.to_dict()}
    records: list[dict[str, Any]] = [header | {"source": f"simulated, {conversation.scenario.name} {conversation.key}"}]
    converse(conversation, policy, transcriber, records=records)
    return records
