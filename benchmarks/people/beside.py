"""hearout, Pipecat and LiveKit Agents on the same recordings, one after the other, in real time.

Each system in a process of its own, with its own voice detection and its own model of ends; the transcriber of
`benchmarks.peers` knows the words, and is the same for all. Recordings are put together to calls of a few minutes, with
the noise of their own line in between. What is handed over is scored as `benchmarks.endpointing.scoring` has it, like
everything else here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.endpointing.conversations import Conversation, SpokenTurn, SpokenWord
from benchmarks.endpointing.recorded import Recording, Sound
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.scoring import Figures, Tally, score
from benchmarks.peers.environments import Failed
from benchmarks.peers.feed import RATE, WARM_UP
from benchmarks.peers.scenarios import Script, Spoken
from benchmarks.peers.scores import read_run
from benchmarks.peers.systems import SYSTEMS, run
from benchmarks.people.sound import line_noise, resampled
from hearout_policies.events import Timings, TurnCompleted

__all__ = ["USUAL", "beside", "joined", "tally_of"]

USUAL = ("hearout", "hearout-fast", "hearout-ear", "pipecat", "livekit")

_LEAD = 1.5  # seconds before the first turn: everybody is connected by then
_AFTER = 4.5  # seconds behind each recording: longer than any of them waits for more
_LONG = 40.0  # seconds; a call that is longer gets no further recording
_NO_TIMES = Timings(None, None, None, None, 0.0)


def beside(
    recordings: Sequence[Recording], systems: Sequence[str], cache: Path, output: Path, at_once: int
) -> dict[str, tuple[Figures, float]]:
    """By title: the figures, and by how many seconds the audio was late at worst, of those that ran to the end."""
    output.mkdir(parents=True, exist_ok=True)
    calls = joined(recordings)
    scripts = [_script(call, output) for call in calls]
    scripts.sort(key=lambda script: -script.turns[-1].end)
    scripts.insert(0, _script(_warm_up(calls), output))
    (output / "scripts.json").write_text(json.dumps([asdict(script) for script in scripts]))
    found: dict[str, tuple[Figures, float]] = {}
    for name in systems:
        system = SYSTEMS[name]
        print(f"{system.title} ...", file=sys.stderr, flush=True)
        try:
            run(system, system.python(cache), scripts, output, name, at_once)
        except Failed as error:  # the others are measured all the same
            print(f"benchmarks.people: {error}", file=sys.stderr)
            continue
        events, _ = read_run(output / f"{name}.jsonl")
        tally = Tally()
        for call in calls:
            tally.merge(tally_of(call, events[call.key]))
        late = [event["worst_feed"] for of_call in events.values() for event in of_call if event["event"] == "end"]
        found[system.title] = Figures.of(tally), max(late)
    return found


def _warm_up(calls: Sequence[Recording]) -> Recording:
    """The first turn of the call in which that is over soonest."""
    call = min(calls, key=lambda one: one.turns[0].end)
    end = round((call.turns[0].end + _AFTER) * RATE)
    return Recording(WARM_UP, call.turns[:1], call.sound[:end], RATE)


def joined(recordings: Sequence[Recording]) -> list[Recording]:
    """Calls of several recordings, at the rate of all peers."""
    calls: list[Recording] = []
    parts: list[Sound] = []
    turns: list[SpokenTurn] = []

    def close() -> None:
        calls.append(Recording(f"call-{len(calls) + 1}", tuple(turns), np.concatenate(parts), RATE))
        parts.clear()
        turns.clear()

    for one in recordings:
        sound = resampled(one.sound, one.rate, RATE)
        if not parts:
            parts.append(line_noise(sound, round(_LEAD * RATE)))
        at = sum(len(part) for part in parts) / RATE
        later = [_later(turn, at) for turn in one.turns]
        turns += [turn for turn in later if turn.words]  # an "um" that is not written is no turn
        parts += [sound, line_noise(sound, round(_AFTER * RATE))]
        if sum(len(part) for part in parts) > _LONG * RATE:
            close()
    if parts:
        close()
    return calls


def _later(turn: SpokenTurn, by: float) -> SpokenTurn:
    words = tuple(SpokenWord(w.text, round(w.start + by, 3), round(w.end + by, 3)) for w in turn.words if w.text)
    return replace(turn, words=words, holds=tuple((start + by, end + by) for start, end in turn.holds))


def _script(call: Recording, output: Path) -> Script:
    pcm = f"{call.key}.s16"
    (output / pcm).write_bytes(call.sound.astype("<i2").tobytes())
    turns = [Spoken([(word.text, word.start, word.end) for word in turn.words]) for turn in call.turns]
    return Script(call.key, "people", pcm, turns)


def tally_of(call: Recording, events: Iterable[Mapping[str, Any]]) -> Tally:
    """What the hand-overs of a call are worth; only their times count."""
    turns = [event["t"] for event in events if event["event"] == "turn"]
    outputs = [TurnCompleted(number, 0, at, 0, at, "", (), "", True, _NO_TIMES) for number, at in enumerate(turns, 1)]
    conversation = Conversation(SCENARIOS["agent"], call.key, call.turns, (), (), (), len(call.sound) / RATE)
    return score(conversation, outputs)
