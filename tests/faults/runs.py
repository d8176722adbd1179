"""One fault, one session: what a row of the matrix says, and what is measured when it is run.

Time is virtual. Streams are in memory unless the row asks for real sockets.
"""

from __future__ import annotations

import os
import random
import re
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal
from unittest.mock import patch

import trio
import trustme
from trio.testing import MockClock

from hearout.link.settings import LinkSettings, LinkStats
from hearout.link.socket import open_stream, tls_context
from hearout.session.session import open_session
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.base import Dialect
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout.transcribers.flux import Flux
from hearout.transcribers.openai_realtime import OpenAIRealtime
from hearout.transcribers.soniox import Soniox
from hearout.vad import SpeechGate
from tests.faults.server import Server, Sound, Trouble, Words, say
from tests.kit.provider import Plan
from tests.kit.secret import KEY
from tests.kit.word_count import Count

Wire = Literal["memory", "sockets", "no name", "no port", "no tls", "untrusted", "other name", "expired", "trusted"]

ADDRESSES = {
    "deepgram": ("api.deepgram.com", "/v1/listen"),
    "soniox": ("stt-rt.soniox.com", "/transcribe-websocket"),
    "flux": ("api.deepgram.com", "/v2/listen"),
    "assemblyai": ("streaming.assemblyai.com", "/v3/ws"),
    "elevenlabs": ("api.elevenlabs.io", "/v1/speech-to-text/realtime"),
    "openai": ("api.openai.com", "/v1/realtime"),
}
DIALECTS = tuple(ADDRESSES)

# Speech that goes on for long, a pause inside a turn, and two turns that are the same word.
TALK = [
    *say("hello i would like to move my flight to the week after next please.", 1.0),
    *say("yes.", 8.5),
    *say("yes.", 12.0),
    *say("the number is five five two", 15.0),
    *say("nine one four.", 17.4),
]
OTHER = [*say("good morning how can i help you?", 1.2), *say("and the number of your booking?", 12.6)]
END = 21.0

# What differs from run to run, and from one Python to the next, is left out of the page.
_PORT = re.compile(r"(?<=\.com:)\d{4,5}\b")
_SOURCE_LINE = re.compile(r" \(_ssl\.c:\d+\)")


@dataclass(frozen=True)
class Row:
    """A fault, and what must come of it.

    Attributes:
        name: short, unique.
        cause: how it is made.
        plans: what each connection does, in order; the last one stays in force.
        notices: types of all notices that the application gets, in order; None: of no interest.
        says: is part of the first notice or of the error.
        error: the session fails with a message that has this in it; None: it does not fail.
        recovered: the most seconds from the fault to a connection that works; None: the link is never down.
        lost: words that nobody could save; all others must be heard exactly once.
        turns: they are the same as without the fault; False: only the words are. Turns that go by while nothing
            is heard are told as one, with the words.
        words: the script of each channel; ``end`` is that of the audio.
        wire: streams in memory, sockets on this machine, or the engine's own way of connecting: to a name
            that does not exist, a port nobody listens on, a server that knows no TLS, or one with the named kind
            of certificate.
        dialect: whom the transcriber takes after.
        only: the dialects on which this can happen, when it is not all of them; ``why_only`` says why.
        merges: the dialects on which turns run into one after all, since the words of a turn come late.
        own_turns: with Flux, only our rules end the turns.
        longest: seconds that a connection may last, as the dialect knows; None: as the provider has it.
        bug: why this row does not hold yet.
        reader: seconds that the application thinks about each event.
        parts: what the application brings to `open_session`, made anew for each session.
        seed: for the pauses between attempts, and for whatever else the row leaves to chance.
    """

    name: str
    cause: str
    plans: Sequence[Plan] = (Trouble(),)
    notices: str | None = ""
    says: str = ""
    error: str | None = None
    recovered: float | None = None
    lost: Sequence[str] = ()
    turns: bool = True
    words: Sequence[Words] = (TALK,)
    end: float = END
    source: Callable[[random.Random, float, int], Sound] = lambda rng, end, channels: Sound(end, channels=channels)
    settings: LinkSettings | None = None
    wire: Wire = "memory"
    reader: float = 0.0
    parts: Callable[[], Mapping[str, Any]] = dict
    seed: int = 0
    bug: str = ""
    dialect: str = "deepgram"
    only: Sequence[str] = DIALECTS
    why_only: str = ""
    merges: Sequence[str] = ()
    own_turns: bool = False
    longest: float | None = None


@dataclass
class Outcome:
    """What came of it. Times are seconds since the session began.

    Attributes:
        records: the trace, when it was asked for.
        events: all that the application got, with the moment at which it could have read it.
        near: by how much the time of a word may be off, in seconds.
        recovered: from a fault to the next connection, the longest of them; None: no connection was replaced.
        live: from the fault to the moment when the transcriber heard what was just said again.
    """

    words: Sequence[Words]
    events: list[tuple[float, Any]] = field(default_factory=list)
    error: Exception | None = None
    server: Any = None
    stats: LinkStats = field(default_factory=LinkStats)
    orphans: list[str] = field(default_factory=list)
    records: list[Mapping[str, Any]] | None = None
    near: float = 0.15

    def write(self, record: Mapping[str, Any]) -> None:
        """Be the recorder of the session."""
        assert self.records is not None
        self.records.append(record)

    def of(self, *kinds: str) -> list[Any]:
        return [event for _, event in self.events if event.type in kinds]

    @property
    def notices(self) -> list[Any]:
        return self.of("warning", "link_down", "link_up", "audio_lost")

    @property
    def turns(self) -> list[str]:
        """The texts as they are in the end, in the order in which the turns began."""
        texts = {(e.channel, e.turn): e.text for e in self.of("turn_completed", "turn_amended")}
        return [texts[key] for key in sorted(texts)]

    @property
    def count(self) -> Count:
        count = Count(self.words, self.near)
        for _, event in self.events:
            count.take(event)
        return count

    @property
    def recovered(self) -> float | None:
        return max((up - since for since, up in self._outages()), default=None)

    @property
    def live(self) -> float | None:
        *_, (since, up) = [(0.0, 0.0), *self._outages()]
        heard = (t for t, _, what, at in self.server.log if what == "audio" and t >= up > 0 and t - at < 0.25)
        first = next(heard, None)
        return None if first is None else first - since

    def _outages(self) -> Iterator[tuple[float, float]]:
        """From the first fault since the connection before, to the next connection."""
        before = -1.0
        for up in [at for at, event in self.events if event.type == "link_up"]:
            yield min((at for at in self.server.troubles if before <= at <= up), default=up), up
            before = up

    def sees(self, usual: int | None = None) -> str:
        """What the application is told, in one line; ``usual``: the turns that there should be."""
        said = [_shown(event) for event in self.notices]
        runs = [(text, len(list(group))) for text, group in groupby(said)]
        parts = [text if n == 1 else f"{text} ({n} times)" for text, n in runs]
        if len(self.of("link_down")) > 3:
            parts = [f"{len(self.of('link_down'))} times link_down, link_up"]
        completed = self.of("turn_completed")
        if unconfirmed := sum(not event.confirmed for event in completed):
            parts.append(f"{unconfirmed} of {len(completed)} turns unconfirmed")
        if amended := len({(event.channel, event.turn) for event in self.of("turn_amended")}):
            parts.append(f"{amended} amended")
        if usual not in (None, len(self.turns)):
            parts.append(f"{len(self.turns)} {'turn' if len(self.turns) == 1 else 'turns'} instead of {usual}")
        if self.error is not None:
            parts.append(f"{type(self.error).__name__}: {self.error}")
        return _SOURCE_LINE.sub("", _PORT.sub("PORT", "; ".join(parts))) or "nothing"


def _shown(event: Any) -> str:
    match event.type:
        case "link_down" | "warning":
            return f"{event.type} ({event.detail})"
        case "audio_lost":
            return f"audio_lost ({event.audio_start:.1f} to {event.audio_end:.1f} s)"
    return str(event.type)


def run(row: Row, *, record: bool = False) -> Outcome:
    """Play the row's session to its end, in virtual time; ``record``: and keep its trace."""
    # Real sockets need a moment of real time now and then, or the clock would jump ahead of them.
    clock = MockClock(autojump_threshold=0 if row.wire == "memory" else 0.002)
    with _certificate(row.wire, ADDRESSES[row.dialect][0]) as context:
        tls_context()  # a thread's work takes no virtual time: the clock would jump ahead of it
        return trio.run(_run, row, record, context, clock=clock)


async def _run(row: Row, record: bool, context: ssl.SSLContext | None) -> Outcome:
    # Of ElevenLabs' words only the final ones have times; the others are about a word off. OpenAI's have none, and lie
    # where they were asked for while the line lags behind: there a word is known by its text and its order.
    near = {"elevenlabs": 0.35, "openai": 8.0}.get(row.dialect, 0.15)
    outcome = Outcome(row.words, records=[] if record else None, near=near)
    rng = random.Random(row.seed)
    async with trio.open_nursery() as nursery:
        server = outcome.server = Server(nursery, row.words, row.plans, row.dialect)
        host, path = ADDRESSES[row.dialect]
        url, connect = f"wss://{host}{path}", server.connect
        if row.wire != "memory":
            port = await server.listen(context)
        if row.wire not in ("memory", "sockets"):
            # As in the field: the engine finds the server by its name. Only the resolver is ours.
            port = await _closed_port() if row.wire == "no port" else port
            url, connect = f"wss://{host}:{port}{path}", open_stream
            trio.socket.set_custom_hostname_resolver(_Resolver(knows=row.wire != "no name"))
            server.troubles.append(0.0)
        dialect = _dialect(row, url)
        source = row.source(rng, row.end, len(row.words))
        gates = iter(row.words)
        usual: dict[str, Any] = {
            "vad": lambda rate: voice_gate(next(gates), rate),
            "link": row.settings,
            "recorder": outcome if record else None,
            "connect": connect,
        }
        try:
            async with open_session(source, dialect, **{**usual, **row.parts()}) as session:
                session._core.link._rng = rng  # what is left to chance is in the seed
                try:
                    async for event in session:
                        outcome.events.append((trio.current_time(), event))
                        await trio.sleep(row.reader)
                finally:
                    outcome.stats = session.link_stats
        except Exception as error:
            outcome.error = error
        await trio.testing.wait_all_tasks_blocked()
        outcome.orphans = [task.name for task in nursery.child_tasks if "hang" not in task.name]
        nursery.cancel_scope.cancel()
    return outcome


def _dialect(row: Row, url: str) -> Dialect:
    match row.dialect:
        case "soniox":
            soniox = Soniox(KEY, url)
            soniox.longest = row.longest or soniox.longest
            return soniox
        case "flux":
            return Flux(KEY, url, eager_eot_threshold=0.5, own_turns=row.own_turns)
        case "assemblyai":
            return AssemblyAI(KEY, url)
        case "elevenlabs":
            return ElevenLabs(KEY, url)
        case "openai":
            return OpenAIRealtime(KEY, url, wire_rate=16000)
    return Deepgram(KEY, url, channels=len(row.words))


def voice_gate(words: Words, rate: int) -> SpeechGate:
    """Voice detection that is a `WordDetector`."""
    return SpeechGate(WordDetector(words), rate)


class WordDetector:
    """Hears the words of a script, and nothing in between."""

    frame_ms = 20
    tail = 0.0

    def __init__(self, words: Words) -> None:
        self._words = iter(words)
        self._next = next(self._words, None)
        self._frames = 0

    def is_speech(self, frame: bytes) -> bool:
        self._frames += 1
        at = self._frames * 0.02
        while self._next and self._next[2] < at:
            self._next = next(self._words, None)
        return self._next is not None and self._next[1] < at


# The real network, on this machine


class _Resolver(trio.abc.HostnameResolver):
    def __init__(self, knows: bool) -> None:
        self._knows = knows

    async def getaddrinfo(self, host: Any, port: Any, family: Any = 0, type: Any = 0, proto: Any = 0, flags: Any = 0):  # type: ignore[no-untyped-def]
        await trio.lowlevel.checkpoint()
        if not self._knows:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: Any):  # type: ignore[no-untyped-def]
        raise NotImplementedError


async def _closed_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


@contextmanager
def _certificate(kind: str, host: str) -> Iterator[ssl.SSLContext | None]:
    """A server's certificate, and an authority that this machine trusts for as long, if the kind says so."""
    if kind not in ("untrusted", "other name", "expired", "trusted"):
        yield None
        return
    authority = trustme.CA()
    certificate = authority.issue_cert(
        "deepgram.example" if kind == "other name" else host,
        not_before=datetime.now(UTC) - timedelta(days=2),
        not_after=datetime.now(UTC) + timedelta(days=-1 if kind == "expired" else 1),
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with tempfile.NamedTemporaryFile(suffix=".pem") as trusted:
        trusted.write(authority.cert_pem.bytes())
        trusted.flush()
        with patch.dict(os.environ, {} if kind == "untrusted" else {"SSL_CERT_FILE": trusted.name}):
            yield context
