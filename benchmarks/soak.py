"""A day of talk over a bad network, in virtual time: is anything lost, doubled, left open, or kept for ever?

    python -m benchmarks.soak [--hours H] [--seed N] [--calm]
    python -m benchmarks.soak --real [--minutes M]

The first plays one session through the whole engine (`open_session`, its link, a real websocket on streams in
memory), about 100 times faster than real time. Turns of all lengths come with pauses in them; every few minutes
something fails: connections drop, freeze, fall silent, are refused, hang in the handshake; answers are late or
never come; nonsense is sent; the audio stalls or comes in bursts. The transcriber says its times in float32, as
Deepgram does. Exit status 1 when a word of the script is lost, doubled or invented, or a promise is broken.

``--calm``: nothing fails. ``--real``: the recordings of ``samples/`` in a loop, in real time, with the local
recogniser.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trio
from trio.testing import MockClock

from hearout import Deepgram, FileSource, TurnCompleted, UsageError, local_server, open_session, paced
from hearout.link.settings import LinkSettings
from hearout_policies.policy import Policy, preset
from tests.faults.runs import voice_gate
from tests.faults.server import RATE, Server, Sound, Trouble, Words
from tests.kit.paths import ROOT
from tests.kit.word_count import Count

_PHRASES = (
    "yes.",
    "no thanks.",
    "yes.",
    "i would like to change my flight please.",
    "can you tell me when the next train to the airport leaves?",
    "my number is five five two nine one four seven",
    "um i am not so sure about that and i think i would rather wait until we know more about it.",
    "that is right.",
)
_BETWEEN_FAULTS = 90.0  # seconds, on average
_SETTINGS = LinkSettings(budget=600.0)  # faults may follow each other closely, and no session is to end of it


def talk(rng: random.Random, seconds: float) -> Iterator[tuple[str, float, float]]:
    """Turn after turn, in all lengths, some with pauses inside."""
    at = 1.0
    while True:
        pace = rng.uniform(0.26, 0.4)
        for word in rng.choice(_PHRASES).split():
            if at > seconds - 30:
                return
            yield word, round(at, 3), round(at + pace - 0.06, 3)
            at += pace + (rng.uniform(0.2, 1.0) if rng.random() < 0.04 else 0.0)
        at += rng.choice([rng.uniform(1.5, 4.0), rng.uniform(4.0, 12.0), rng.uniform(12.0, 40.0)])


class BadServer(Server):
    """Makes up its plans as it goes.

    Attributes:
        faults: how many of each kind.
        heard: how much audio the session has heard; what goes wrong does so some time after that.
    """

    def __init__(self, nursery: trio.Nursery, words: Sequence[Words], rng: random.Random, calm: bool) -> None:
        super().__init__(nursery, words)
        self.faults: Counter[str] = Counter()
        self.keep_log = False
        self._rng, self._calm = rng, calm
        self._outage = 0  # refusals to come
        self.heard: Callable[[], float] = lambda: 0.0

    def _next(self) -> Trouble:
        self.requests.clear()
        self.attempts.clear()
        self.troubles.clear()
        self.plans = [Trouble() if self._calm else self._trouble()]
        return super()._next()

    def _trouble(self) -> Trouble:
        rng = self._rng
        if self._outage:
            self._outage -= 1
            return self._outage_plan()
        at = self.heard() + rng.expovariate(1 / _BETWEEN_FAULTS)
        if rng.random() < 0.3:
            self._outage = rng.choice([1, 1, 2, 3, 6])
        usual: dict[str, Any] = {
            "answer": rng.choice([0.05, 0.1, 0.3, 1.0, 2.5]),
            "finalize_answers": rng.random() < 0.9,
            "endpoints": rng.random() < 0.95,
        }
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("drop", {"drop_at": at}),
            ("drop", {"drop_at": at}),
            ("withheld message", {"withhold": rng.randint(1, 200)}),
            ("torn frame", {"tear_at": at}),
            ("half-open", {"freeze_at": at}),
            ("stuck", {"clog_at": at}),
            ("silent", {"silent_at": at}),
            ("1011", {"close": (1011, "NET-0000"), "close_at": at}),
            ("nonsense", {"raw": ["{", '{"type":"Results"}', b"\x83\x00"], "raw_at": at}),
        ]
        kind, plan = rng.choice(kinds)
        self.faults[kind] += 1
        for quirk, usually in (("finalize_answers", True), ("endpoints", True)):
            self.faults[f"no {quirk.replace('_', ' ')}"] += usual[quirk] is not usually
        return Trouble(**usual, **plan)

    def _outage_plan(self) -> Trouble:
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("refused", {"error": ConnectionRefusedError(111, "Connection refused")}),
            ("HTTP 503", {"status": 503}),
            ("HTTP 429", {"status": 429, "headers": [(b"retry-after", b"3")]}),
            ("handshake hangs", {"hang_handshake": True}),
            ("hangs up in the handshake", {"hang_up_handshake": True}),
        ]
        kind, plan = self._rng.choice(kinds)
        self.faults[kind] += 1
        return Trouble(**plan)


class Float32Deepgram(Deepgram):
    """Reads the messages as if every time in them had been a float32 on its way."""

    def decode(self, message: str | bytes, at: float, offset: float) -> Any:
        data = json.loads(message, parse_float=lambda text: float(np.float32(text)))
        return super().decode(json.dumps(data), at, offset)


class Promises:
    """Watches the events go by.

    Attributes:
        broken: what should not have been, in words.
    """

    def __init__(self, policy: Policy) -> None:
        self.broken: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lost_spans: list[tuple[float, float]] = []
        self.worst = 0.0  # the longest a turn was open
        self._policy = policy
        self._at = 0.0
        self._turn: tuple[int, float] | None = None
        self._predicted: str | None = None
        self._down = False

    def see(self, event: Any) -> None:
        self.counts[event.type] += 1
        if event.at < self._at:
            self._broken(event, f"comes after an event at {self._at}")
        self._at = event.at
        match event.type:
            case "turn_started":
                if self._turn is not None:
                    self._broken(event, "while a turn is open")
                self._turn = (event.turn, event.at)
            case "turn_completed" | "turn_abandoned":
                if self._turn is None or self._turn[0] != event.turn:
                    self._broken(event, "is not the open turn")
                else:
                    self.worst = max(self.worst, event.at - self._turn[1])
                if event.type == "turn_completed":
                    self.counts["unconfirmed"] += not event.confirmed
                    if self._predicted not in (None, event.text):
                        self._broken(event, f"was predicted as {self._predicted!r}")
                self._turn = self._predicted = None
            case "turn_predicted":
                self._predicted = event.text
            case "turn_resumed":
                if self._predicted is None:
                    self._broken(event, "was not predicted")
                self._predicted = None
            case "link_down" | "link_up":
                if self._down == (event.type == "link_down"):
                    self._broken(event, "for the second time")
                self._down = event.type == "link_down"
            case "audio_lost":
                self.lost_spans.append((event.audio_start, event.audio_end))

    def end(self) -> None:
        if self._turn is not None:
            self.broken.append(f"turn {self._turn[0]} is open at the end")
        if self.worst > self._policy.max_turn + 1:
            self.broken.append(f"a turn was open for {self.worst:.0f} s")

    def _broken(self, event: Any, what: str) -> None:
        self.broken.append(f"{event.type} at {event.at:.3f} {what}")


def memory() -> tuple[float, int]:
    """Resident memory in MB (where Linux tells), and blocks that Python has allocated."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return resident / 1e6, sys.getallocatedblocks()


async def soak(hours: float, seed: int, calm: bool) -> bool:
    """Play it; True when all is well."""
    rng = random.Random(seed)
    seconds = hours * 3600
    words = list(talk(rng, seconds))
    policy = preset("balanced")
    count, promises = Count([words]), Promises(policy)
    stalls = {at: rng.uniform(1, 60) for at in _times(rng, seconds, 900)} if not calm else {}
    hangs = itertools.cycle([0.0] * 60 + [0.3, 0.2, 0.1] + [0.0] * 90 + [0.1])
    source = Sound(seconds, chunk=lambda: RATE // 10, pauses=stalls, late=lambda audio: 0.0 if calm else next(hangs))
    print(f"{hours:g} h, seed {seed}: {len(words)} words, {len(stalls)} stalls of the audio", flush=True)
    began = time.perf_counter()
    sizes: list[tuple[float, int]] = []
    async with trio.open_nursery() as nursery:
        server = BadServer(nursery, [words], rng, calm)
        async with open_session(
            source,
            Float32Deepgram("soak"),
            policy=policy,
            vad=lambda rate: voice_gate(words, rate),
            link=_SETTINGS,
            connect=server.connect,
        ) as session:
            session._core.link._rng = rng  # what is left to chance is in the seed
            server.heard = lambda: session.heard
            async for event in session:
                promises.see(event)
                count.take(event)
                if session.heard >= 3600 * (len(sizes) + 1) * min(1.0, hours / 4):
                    sizes.append(memory())
                    resident, blocks = sizes[-1]
                    speed = session.heard / (time.perf_counter() - began)
                    print(
                        f"  {session.heard / 3600:5.2f} h: {resident:.1f} MB, {blocks:,} blocks, "
                        f"{promises.counts['turn_completed']} turns, {session.link_stats.losses} losses, "
                        f"{speed:.0f} times real time",
                        flush=True,
                    )
            stats = session.link_stats
        nursery.cancel_scope.cancel()
    promises.end()
    told = [w for w in count.lost if any(w[2] > start and w[1] < end for start, end in promises.lost_spans)]
    lost = len(count.lost) - len(told)
    counts = promises.counts
    print(f"faults: {', '.join(f'{n} {kind}' for kind, n in server.faults.most_common())}")
    print(f"connections: {stats.connections}, replayed {stats.replayed:.0f} s of {seconds:.0f} s")
    print(
        f"turns: {counts['turn_completed']} completed ({counts['unconfirmed']} unconfirmed), "
        f"{counts['turn_amended']} amendments, {counts['turn_abandoned']} abandoned; "
        f"the longest took {promises.worst:.0f} s"
    )
    print(f"notices: {', '.join(f'{counts[k]} {k}' for k in ('link_down', 'link_up', 'warning', 'audio_lost'))}")
    print(
        f"words: {len(words)}; lost {lost}, doubled {len(count.doubled)}, invented {len(count.invented)}; "
        f"{len(told)} in the {stats.lost:.0f} s of audio that were told to be lost"
    )
    print(f"promises broken: {len(promises.broken)}", *promises.broken[:10], sep="\n  ")
    for word in [*[w for w in count.lost if w not in told], *count.doubled, *count.invented][:10]:
        print("  ", word)
    return not (lost or count.doubled or count.invented or promises.broken)


def _times(rng: random.Random, seconds: float, apart: float) -> Iterator[float]:
    at = rng.expovariate(1 / apart)
    while at < seconds:
        yield at
        at += rng.expovariate(1 / apart)


# In real time


class Loop:
    """The recordings, one after the other, again and again."""

    def __init__(self, paths: Sequence[Path], seconds: float) -> None:
        first = FileSource(paths[0])
        self.sample_rate, self.channels, self.duration = first.sample_rate, first.channels, seconds
        self._paths = paths

    async def __aiter__(self) -> AsyncIterator[bytes]:
        until = trio.current_time() + self.duration
        for path in itertools.cycle(self._paths):
            async for chunk in paced(FileSource(path)):
                yield chunk
                if trio.current_time() >= until:
                    return


async def real(minutes: float) -> bool:
    """The samples of one speaker in a loop; True when no promise is broken."""
    truths = [json.loads(path.read_text()) for path in sorted((ROOT / "samples").glob("*.json"))]
    sources = {truth["file"]: FileSource(ROOT / "samples" / truth["file"]) for truth in truths}
    rate = max(source.sample_rate for source in sources.values() if source.channels == 1)
    paths = [ROOT / "samples" / name for name, s in sources.items() if (s.channels, s.sample_rate) == (1, rate)]
    promises = Promises(preset("balanced"))
    texts: Counter[str] = Counter()
    sizes: list[tuple[float, int]] = []
    async with local_server() as url:
        source = Loop(paths, minutes * 60)
        print(f"{minutes:g} min of {', '.join(path.name for path in paths)}", flush=True)
        async with open_session(source, Deepgram("local", url, source.sample_rate)) as session:
            cpu = time.process_time()
            async for event in session:
                promises.see(event)
                if isinstance(event, TurnCompleted):
                    texts[event.text] += 1
                if session.heard >= 60 * (len(sizes) + 1):
                    sizes.append(memory())
                    resident, blocks = sizes[-1]
                    print(f"  {session.heard / 60:4.1f} min: {resident:.1f} MB, {blocks:,} blocks", flush=True)
            spent = (time.process_time() - cpu) / session.heard
    promises.end()
    counts = promises.counts
    print(
        f"turns: {counts['turn_completed']} completed, {counts['turn_abandoned']} abandoned; "
        f"{counts['warning']} warnings"
    )
    print(f"CPU of the session: {spent * 1000:.1f} ms for each second of audio")
    for text, times in texts.most_common():
        print(f"  {times:3} times: {text}")
    print(f"promises broken: {len(promises.broken)}", *promises.broken[:10], sep="\n  ")
    return not promises.broken


def main() -> int:
    parser = argparse.ArgumentParser(description="A day of talk over a bad network.")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated time (default 24)")
    parser.add_argument("--seed", type=int, default=1, help="of the talk and the faults (default 1)")
    parser.add_argument("--calm", action="store_true", help="nothing fails")
    parser.add_argument("--real", action="store_true", help="recordings in real time, with the local recogniser")
    parser.add_argument("--minutes", type=float, default=10.0, help="--real: how long (default 10)")
    options = parser.parse_args()
    if options.real:
        try:
            return 0 if trio.run(real, options.minutes) else 1
        except UsageError as error:
            print(f"benchmarks.soak: {error}", file=sys.stderr)
            return 2
    clock = MockClock(autojump_threshold=0)
    return 0 if trio.run(soak, options.hours, options.seed, options.calm, clock=clock) else 1


if __name__ == "__main__":
    sys.exit(main())
