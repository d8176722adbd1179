"""The conversations of ``hearout doctor``: play a recording to the service, and ask it for all hearout asks for.

Connections are those of the link, and messages go through the dialect, so that both are examined as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from hearout.doctor.checks import (
    SPEAKER_CHECKS,
    SPEECH_CHECKS,
    TURN_CHECKS,
    Arrival,
    Conversation,
    Finding,
    differs,
    has,
    lacks,
    ok,
    skipped,
)
from hearout.doctor.deepgram import DEEPGRAM_CHECKS
from hearout.doctor.refusals import ask, named, refused
from hearout.doctor.sample import Sample
from hearout.link.refusal import LinkFailure
from hearout.link.secrets import masked_message, redact
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.link.websocket import WebSocket, open_websocket
from hearout.nursery import open_background
from hearout.serving import is_loopback
from hearout.transcribers.base import (
    Dialect,
    Heard,
    ProviderFailed,
    WireMessage,
    diarization_of,
    least_frames,
    least_silence,
    tells_progress,
)
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.flux import Flux
from hearout_policies.policy import Policy
from hearout_policies.signals import Transcript

__all__ = ["WRONG_KEY", "examine"]

#: What nobody's key is.
WRONG_KEY = "0" * 40

_SILENCE = 3.0  # seconds played after the recording: enough for UtteranceEnd
_MESSAGE = 0.1  # seconds of audio
_NO_ANSWER = 1.5  # seconds after which there is none to the second Finalize
_PATIENCE = 5.0  # seconds for the answer to the first, and to a wrong key
_IDLE = 15.0  # seconds; Deepgram hangs up after 10 to 12 without any message
_LIMITS = LinkSettings()
_NO_KEEPALIVE = "the dialect sends none; pings must do"
_STUCK = 120.0  # seconds that no part takes

# What its makers call a provider's own end of speech.
_ENDPOINTS = {"deepgram": "speech_final", "flux": "EndOfTurn", "soniox": "<end>"}


async def examine(
    dialect: Dialect,
    sample: Sample,
    report: Callable[[Finding], None],
    *,
    stranger: Dialect | None = None,
    slow: bool = False,
    speed: float = 1.0,
    connect: Connector = open_stream,
) -> None:
    """Run all checks against the service that ``dialect`` names, one connection after the other.

    Args:
        report: gets the outcome of each check at once.
        stranger: the same with `WRONG_KEY`; None: a wrong key is not tried.
        slow: also those that only wait.
        speed: of the audio. Other than 1, latencies mean nothing; the service may refuse more than 1.25.
        connect: opens the stream below the websocket.
    """
    patient = _Patient(dialect, sample, report, speed, connect)
    for part in (patient.speak, patient.finalize, *([patient.stay_idle] if slow else [])):
        try:
            with trio.move_on_after(_STUCK) as patience:
                await part()
            if patience.cancelled_caught:
                report(differs("connection", f"stuck for {_STUCK:g} s: the server does not take the audio"))
        except LinkFailure as failure:
            report(differs("connect", redact(failure.detail, dialect)))
            return  # it would be the same again
        except (ConnectionClosed, LocalProtocolError):
            report(differs("connection", "the server hung up too early: " + patient.goodbye()))
    if not slow:
        why = f"takes {_IDLE:g} s: add --slow" if dialect.keepalive_after is not None else _NO_KEEPALIVE
        report(skipped("KeepAlive", why))
    report(
        skipped("wrong key", "the class is not given its key")
        if stranger is None
        else await patient.wrong_key(stranger)
    )
    if isinstance(dialect, Deepgram):
        report(await patient.bad_query())


class _Patient:
    """The service under examination."""

    def __init__(
        self,
        dialect: Dialect,
        sample: Sample,
        report: Callable[[Finding], None],
        speed: float,
        connect: Connector,
    ) -> None:
        self._dialect = dialect
        self._sample = sample
        self._report = report
        self._speed = speed
        self._connect = connect
        self._local = is_loopback(urlsplit(dialect.address()).hostname or "")
        self._talk = Conversation()
        self._began = math.inf
        self._news = trio.Event()

    async def speak(self) -> None:
        """The whole recording, silence, and a regular end."""
        asked = trio.current_time()
        async with self._connected(self._dialect) as connection:
            took = trio.current_time() - asked
            request = f", dg-request-id {self._talk.request_id}" if self._talk.request_id else ""
            if not request and self._talk.strict:
                self._report(differs("connect", f"open after {took:.2f} s, but without the header dg-request-id"))
            else:
                self._report(ok("connect", f"open after {took:.2f} s{request}", after=took))
            with suppress(ConnectionClosed, LocalProtocolError):  # then the checks below have something to say
                self._report(await self._ping(connection))
                await self._play(connection, len(self._sample.pcm) / self._byte_rate + _SILENCE)
                await self._close(connection)
        own = DEEPGRAM_CHECKS if isinstance(self._dialect, Deepgram) else TURN_CHECKS
        switch = diarization_of(self._dialect)
        labelled = SPEAKER_CHECKS if switch is not None and getattr(self._dialect, switch) else ()
        for check in (*SPEECH_CHECKS, *own, *labelled):
            self._report(check(self._talk))

    async def finalize(self) -> None:
        """Finalize in the middle of speech, and once more when there is nothing left."""
        dialect = self._dialect
        if isinstance(dialect, Flux):  # which asks for the end of its turn only where the turns are ours
            dialect = replace(dialect, own_turns=True, eot_threshold=1.0)
        request = dialect.finalize()
        if request is None:
            self._report(lacks("Finalize", "the dialect knows no such request; words become final when they do"))
            return
        name = _kind(request, "Finalize")
        async with self._connected(dialect) as connection:
            await self._play(connection, self._sample.cut, least_silence(dialect))
            with suppress(ConnectionClosed, LocalProtocolError):
                took, answer = await self._finalized(connection, request, _PATIENCE)
                self._report(self._judged(name, took, answer))
                if isinstance(answer, Transcript):
                    if silence := least_frames(dialect, self._sample.sample_rate, "segment"):  # as the link does
                        await connection.send(dialect.audio(bytes(silence * self._sample.frame_bytes)))
                    took, answer = await self._finalized(connection, request, _NO_ANSWER / self._speed)
                    self._report(self._judged_again(f"second {name}", took, answer))
                await self._close(connection)

    def _judged(self, name: str, took: float, answer: Transcript | ProviderFailed | None) -> Finding:
        timeout = Policy().finalize_timeout
        if isinstance(answer, Transcript):
            detail = f"answered after {took:.2f} s; hearout waits for {timeout:g} s"
            return (has if took <= timeout else differs)(name, detail, after=took)
        if isinstance(answer, ProviderFailed):
            return lacks(name, f"refused: {answer.detail}")
        if self._talk.ended is None:
            return lacks(name, f"not answered within {_PATIENCE:g} s; hearout waits for {timeout:g} s at each pause")
        # Where hearout does not ask unless told to, nothing is broken.
        verdict = differs if self._dialect.finalize() else lacks
        return verdict(name, f"refused: the server hung up, {self.goodbye()}".rstrip(" ,"))

    @staticmethod
    def _judged_again(name: str, took: float, answer: Transcript | ProviderFailed | None) -> Finding:
        if answer is None:
            return ok(name, "not answered, as there was no more audio")
        if isinstance(answer, ProviderFailed):
            return differs(name, f"answered with a failure, as there was no more audio: {answer.detail}")
        if answer.words:
            return differs(name, "answered with words, though there was no more audio")
        return ok(name, "answered empty, as there was no more audio", after=took)

    async def stay_idle(self) -> None:
        """Nothing but the keep-alive for a while, after a little audio."""
        dialect, name = self._dialect, "KeepAlive"
        if dialect.keepalive_after is None:
            self._report(skipped(name, _NO_KEEPALIVE))
            return
        async with self._connected(dialect) as connection:
            await self._play(connection, self._sample.cut)
            until = trio.current_time() + _IDLE
            with suppress(ConnectionClosed, LocalProtocolError):
                while (left := until - trio.current_time()) > 0:
                    if (message := dialect.keepalive()) is not None:
                        await connection.send(message)
                    await trio.sleep(min(dialect.keepalive_after, left))
                await self._close(connection)
        if self._talk.code == 1000 or (self._talk.ended is None and not self._talk.strict):
            self._report(ok(name, f"keeps a connection open for {_IDLE:g} s without audio"))
        else:
            self._report(differs(name, "does not keep a connection open: " + self.goodbye()))

    async def wrong_key(self, stranger: Dialect) -> Finding:
        """A wrong key is refused in a way that hearout knows for final."""
        name = "wrong key"
        answer = await ask(stranger, stranger.address(), self._connect, _LIMITS.handshake)
        if answer.status != 101:
            return refused(name, (401,) if self._talk.strict else (401, 403), answer, stranger)
        if self._local:
            return skipped(name, "this server on your own machine takes any")
        if isinstance(stranger, Deepgram):
            return refused(name, (401,), answer, stranger)
        with suppress(ConnectionClosed, LocalProtocolError):
            async with self._connected(stranger) as connection:
                await self._play(connection, _MESSAGE)
                with trio.move_on_after(_PATIENCE):
                    while not any(True for _ in self._failures()) and self._talk.ended is None:
                        await self._something()
        for failure in self._failures():
            return (ok if failure.permanent else differs)(name, f"refused in the stream: {failure.detail}")
        return differs(name, "accepted" if self._talk.ended is None else f"hung up without a word: {self.goodbye()}")

    async def bad_query(self) -> Finding:
        """A parameter that cannot be is refused in a way that hearout knows for final."""
        address = self._dialect.address().replace("encoding=linear16", "encoding=no-such-thing")
        answer = await ask(self._dialect, address, self._connect, _LIMITS.handshake)
        return refused("bad query", (400,), answer, self._dialect)

    def goodbye(self) -> str:
        """How the last connection ended."""
        return f"{self._talk.code} {self._talk.reason}".rstrip()

    # What these are made of

    @asynccontextmanager
    async def _connected(self, dialect: Dialect) -> AsyncIterator[WebSocket]:
        async with open_websocket(dialect, self._connect, _LIMITS.handshake) as connection:
            gap: int | None = getattr(dialect, "utterance_end_ms", None)
            self._talk = Conversation(
                endpoint=_ENDPOINTS.get(dialect.name, "endpoint"),
                closer=_closer(dialect),
                strict=isinstance(dialect, Deepgram),
                tells_progress=tells_progress(dialect),
                request_id=dict(named(connection.headers, dialect)).get("dg-request-id", ""),
                channels=dialect.channels,
                utterance_end=None if gap is None else gap / 1000,
                speech_started=getattr(dialect, "vad_events", False),
            )
            self._began = trio.current_time()
            async with open_background() as nursery:
                for message in dialect.opening():
                    await connection.send(message)
                nursery.start_soon(self._receive, connection, dialect)
                yield connection

    async def _receive(self, connection: WebSocket, dialect: Dialect) -> None:
        talk = self._talk

        def hear(message: WireMessage) -> None:
            talk.arrivals.append(self._understand(message, dialect))
            self._news.set()

        try:
            await connection.receive(hear)
        except ConnectionClosed:
            pass
        finally:
            # Also when the sender has noticed first, and this is cancelled.
            if (closed := connection.closed) is not None:
                talk.ended = self._now()
                talk.code, talk.reason = closed.code, redact(closed.reason or "", dialect)
            self._news.set()

    def _understand(self, message: WireMessage, dialect: Dialect) -> Arrival:
        at, trouble = self._now(), ""
        message = masked_message(message, dialect)
        known = getattr(dialect, "ignored", 0)
        try:
            news = dialect.decode(message, at, 0.0)
        except ValueError as error:
            news, trouble = (), str(error)
        try:
            data = json.loads(message)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            data = {}
        if getattr(dialect, "ignored", 0) > known:
            trouble = f"unknown type {str(data.get('type'))[:40]}"
        return Arrival(at, data, news, redact(trouble, dialect))

    async def _play(self, connection: WebSocket, end: float, silence: float = 0.0) -> None:
        """The first ``end`` seconds, in messages that go out when a microphone would have heard them; then silence."""
        rate, frame = self._sample.sample_rate, self._sample.frame_bytes
        pcm = self._sample.piece(end) + bytes(round(silence * rate) * frame)
        size = round(_MESSAGE * rate) * frame
        least = least_frames(self._dialect, rate, "message") * frame  # the link fills up what is shorter, too
        self._began = trio.current_time()
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size].ljust(least, b"\0")
            heard = (start + len(piece)) / self._byte_rate
            await trio.sleep_until(self._began + heard / self._speed)
            await connection.send(self._dialect.audio(piece))
            self._talk.audio = heard

    async def _ping(self, connection: WebSocket) -> Finding:
        asked = trio.current_time()
        with trio.move_on_after(_LIMITS.ping_timeout) as patience:
            await connection.ping()
        if patience.cancelled_caught:
            return differs("ping", f"not answered within {_LIMITS.ping_timeout:g} s; hearout would hang up")
        took = trio.current_time() - asked
        return ok("ping", f"answered after {took:.3f} s", after=took)

    async def _finalized(
        self, connection: WebSocket, request: WireMessage, patience: float
    ) -> tuple[float, Transcript | ProviderFailed | None]:
        """Ask for final results; how long the answer took, and the answer."""
        asked, seen = self._now(), len(self._talk.arrivals)
        await connection.send(request)
        with trio.move_on_after(patience):
            while self._talk.ended is None:
                for arrival in self._talk.arrivals[seen:]:
                    for item in arrival.news:
                        match item:
                            case Heard(_, Transcript(finalized=True) as answer) | (ProviderFailed() as answer):
                                return arrival.at - asked, answer
                await self._something()
        return 0.0, None

    def _failures(self) -> Iterator[ProviderFailed]:
        for arrival in self._talk.arrivals:
            yield from (item for item in arrival.news if isinstance(item, ProviderFailed))

    async def _close(self, connection: WebSocket) -> None:
        if self._talk.ended is not None:
            return
        self._talk.closing = self._now()
        await connection.send(self._dialect.closing())
        patience = trio.CancelScope()
        while self._talk.ended is None and not patience.cancelled_caught:
            with trio.move_on_after(_LIMITS.tail) as patience:
                await self._something()

    async def _something(self) -> None:
        """Wait for a message, or the end."""
        self._news = trio.Event()
        await self._news.wait()

    @property
    def _byte_rate(self) -> int:
        return self._sample.sample_rate * self._sample.frame_bytes

    def _now(self) -> float:
        return trio.current_time() - self._began


def _kind(message: WireMessage, otherwise: str) -> str:
    """What its makers call a request: the type in it, if it has one."""
    try:
        kind = json.loads(message).get("type")
    except (ValueError, AttributeError):
        kind = None
    return kind if isinstance(kind, str) else otherwise


def _closer(dialect: Dialect) -> str:
    """What its makers call the request for the end, where they have one."""
    kind = _kind(dialect.closing(), "close")
    return "close" if kind == _kind(dialect.finalize() or "", "") else kind
