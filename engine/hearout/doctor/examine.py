"""The conversations of ``hearout doctor``: play a recording to the service, and ask it for all hearout asks for.

Connections are those of the link, and messages go through the dialect, so that both are examined as well.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from hearout.audio import deinterleave
from hearout.doctor.checks import SPEECH_CHECKS, Arrival, Conversation, Finding, differs, ok, punctuation, skipped
from hearout.errors import UsageError
from hearout.link.refusal import LinkFailure
from hearout.link.secrets import masked_message, redact
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.link.websocket import WebSocket, open_websocket
from hearout.nursery import open_background
from hearout.serving import is_loopback
from hearout.session.session import webrtc_gate
from hearout.sources import FileSource
from hearout.transcribers.base import WireMessage
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.policy import Policy

__all__ = ["Sample", "examine", "read_sample"]

_LONGEST = 30.0  # seconds played of the recording
_SILENCE = 3.0  # seconds played after it: enough for UtteranceEnd
_CUT = 1.2  # seconds of voice after which the middle of speech is asked for by Finalize
_MESSAGE = 0.1  # seconds of audio
_NO_ANSWER = 1.5  # seconds after which there is none
_IDLE = 15.0  # seconds; the service hangs up after 10 to 12 without any message
_LIMITS = LinkSettings()
_STUCK = 120.0  # seconds that no part takes
_WRONG_KEY = "0" * 40


@dataclass(frozen=True, slots=True)
class Sample:
    """Speech as linear16, interleaved.

    Attributes:
        cut: seconds from its beginning to the middle of the first longer speech.
    """

    pcm: bytes
    sample_rate: int
    channels: int
    cut: float

    @property
    def frame_bytes(self) -> int:
        return 2 * self.channels

    def piece(self, end: float) -> bytes:
        """The first ``end`` seconds, with silence where there is no more."""
        size = round(end * self.sample_rate) * self.frame_bytes
        return self.pcm[:size].ljust(size, b"\0")


async def read_sample(path: str | os.PathLike[str]) -> Sample:
    """The beginning of an audio file.

    Raises:
        UsageError: it cannot be read, or there is too little speech in it.
    """
    source = FileSource(path)
    frame = 2 * source.channels
    limit = round(_LONGEST * source.sample_rate) * frame
    pcm = b""
    async for chunk in source:
        pcm += chunk
        if len(pcm) >= limit:
            break
    pcm = pcm[:limit]
    gates = [webrtc_gate(source.sample_rate) for _ in range(source.channels)]
    step = source.sample_rate // 50
    voiced = 0
    for start in range(0, len(pcm), step * frame):
        for gate, mono in zip(gates, deinterleave(pcm[start : start + step * frame], source.channels), strict=True):
            gate.feed(mono)
        speaking = any(gate.speaking for gate in gates)
        voiced += step if speaking else 0
        if speaking and voiced >= _CUT * source.sample_rate:
            return Sample(pcm, source.sample_rate, source.channels, (start / frame + step) / source.sample_rate)
    raise UsageError(f"{os.fspath(path)}: less than {_CUT:g} s of speech in it; name another recording with --sample")


async def examine(
    dialect: Deepgram,
    sample: Sample,
    report: Callable[[Finding], None],
    *,
    slow: bool = False,
    speed: float = 1.0,
    connect: Connector = open_stream,
) -> None:
    """Run all checks against the service that ``dialect`` names, one connection after the other.

    Args:
        report: gets the outcome of each check at once.
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
        report(skipped("KeepAlive", f"takes {_IDLE:g} s: add --slow"))
    report(await patient.wrong_key())
    report(await patient.bad_query())


class _Patient:
    """The service under examination."""

    def __init__(
        self,
        dialect: Deepgram,
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
        self._local = is_loopback(urlsplit(dialect.url).hostname or "")
        self._talk = Conversation()
        self._began = math.inf
        self._news = trio.Event()

    async def speak(self) -> None:
        """The whole recording, silence, and a regular end."""
        asked = trio.current_time()
        async with self._connected() as connection:
            took = trio.current_time() - asked
            if self._talk.request_id:
                detail = f"open after {took:.2f} s, dg-request-id {self._talk.request_id}"
                self._report(ok("connect", detail, after=took))
            else:
                self._report(differs("connect", f"open after {took:.2f} s, but without the header dg-request-id"))
            with suppress(ConnectionClosed, LocalProtocolError):  # then the checks below have something to say
                self._report(await self._ping(connection))
                await self._play(connection, len(self._sample.pcm) / self._byte_rate + _SILENCE)
                await self._close(connection)
        for check in SPEECH_CHECKS:
            finding = check(self._talk)
            if check is punctuation and finding.verdict == "differs" and self._local:
                finding = skipped(finding.check, "the local recogniser writes none")
            self._report(finding)

    async def finalize(self) -> None:
        """Finalize in the middle of speech, and once more when there is nothing left."""
        async with self._connected() as connection:
            await self._play(connection, self._sample.cut)
            took, answer = await self._finalized(connection, 5.0)
            timeout = Policy().finalize_timeout
            if answer is None:
                self._report(differs("Finalize", "no result with from_finalize within 5 s"))
            else:
                detail = f"answered after {took:.2f} s; hearout waits for {timeout:g} s"
                self._report((ok if took <= timeout else differs)("Finalize", detail, after=took))
            took, answer = await self._finalized(connection, _NO_ANSWER / self._speed)
            if answer is None:
                self._report(ok("second Finalize", "not answered, as there was no more audio"))
            elif _text(answer):
                self._report(differs("second Finalize", "answered with words, though there was no more audio"))
            else:
                self._report(ok("second Finalize", "answered empty, as there was no more audio", after=took))
            await self._close(connection)

    async def stay_idle(self) -> None:
        """Nothing but KeepAlive for a while, after a little audio."""
        async with self._connected() as connection:
            await self._play(connection, self._sample.cut)
            until = trio.current_time() + _IDLE
            with suppress(ConnectionClosed, LocalProtocolError):
                while (left := until - trio.current_time()) > 0:
                    await connection.send(self._dialect.keepalive())
                    await trio.sleep(min(self._dialect.keepalive_after or _IDLE, left))
                await self._close(connection)
        if self._talk.code == 1000:
            self._report(ok("KeepAlive", f"keeps a connection open for {_IDLE:g} s without audio"))
        else:
            self._report(differs("KeepAlive", "does not keep a connection open: " + self.goodbye()))

    async def wrong_key(self) -> Finding:
        """A wrong key is refused in a way that hearout knows for final."""
        name = "wrong key"
        stranger = replace(self._dialect, key=_WRONG_KEY)
        status, headers = await self._handshake(stranger, stranger.address())
        if status == 101 and self._local:
            return skipped(name, "this server on your own machine takes any")
        return _refused(name, 401, status, headers)

    async def bad_query(self) -> Finding:
        """A parameter that cannot be is refused in a way that hearout knows for final."""
        address = self._dialect.address().replace("encoding=linear16", "encoding=no-such-thing")
        return _refused("bad query", 400, *await self._handshake(self._dialect, address))

    def goodbye(self) -> str:
        """How the last connection ended."""
        return f"{self._talk.code} {self._talk.reason}".rstrip()

    # What these are made of

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[WebSocket]:
        dialect = self._dialect
        async with open_websocket(dialect, self._connect, _LIMITS.handshake) as connection:
            headers = self._named(connection.headers)
            self._talk = Conversation(
                request_id=headers.get("dg-request-id", ""),
                channels=dialect.channels,
                utterance_end=(dialect.utterance_end_ms or 0) / 1000,
            )
            self._began = trio.current_time()
            async with open_background() as nursery:
                nursery.start_soon(self._receive, connection)
                yield connection

    async def _receive(self, connection: WebSocket) -> None:
        talk = self._talk
        try:
            await connection.receive(self._hear)
        except ConnectionClosed:
            pass
        finally:
            # Also when the sender has noticed first, and this is cancelled.
            if (closed := connection.closed) is not None:
                talk.ended = self._now()
                talk.code, talk.reason = closed.code, redact(closed.reason or "", self._dialect)
            self._news.set()

    def _hear(self, message: WireMessage) -> None:
        self._talk.arrivals.append(self._understand(message))
        self._news.set()

    def _understand(self, message: WireMessage) -> Arrival:
        at, dialect, trouble = self._now(), self._dialect, ""
        message = masked_message(message, dialect)
        known = dialect.ignored
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
        if dialect.ignored > known:
            trouble = f"unknown type {str(data.get('type'))[:40]}"
        return Arrival(at, data, news, redact(trouble, dialect))

    async def _play(self, connection: WebSocket, end: float) -> None:
        """The first ``end`` seconds, in messages that go out when a microphone would have heard them."""
        pcm = self._sample.piece(end)
        size = round(_MESSAGE * self._sample.sample_rate) * self._sample.frame_bytes
        self._began = trio.current_time()
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
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

    async def _finalized(self, connection: WebSocket, patience: float) -> tuple[float, Arrival | None]:
        """Send Finalize; how long its answer took, and the answer."""
        asked, seen = self._now(), len(self._talk.arrivals)
        await connection.send(self._dialect.finalize())
        with trio.move_on_after(patience):
            while self._talk.ended is None:
                for arrival in self._talk.arrivals[seen:]:
                    if arrival.data.get("from_finalize") is True:
                        return arrival.at - asked, arrival
                await self._something()
        return 0.0, None

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

    async def _handshake(self, dialect: Deepgram, address: str) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer; trio-websocket would wait for a body, too. Status 0: none."""
        parts = urlsplit(address)
        tls = parts.scheme == "wss"
        connection = WSConnection(ConnectionType.CLIENT)
        with trio.move_on_after(_LIMITS.handshake):
            try:
                port = parts.port or (443 if tls else 80)
                async with await self._connect(parts.hostname or "", port, tls) as stream:
                    request = Request(
                        host=parts.netloc,
                        target=f"{parts.path or '/'}?{parts.query}",
                        extra_headers=[(name.encode(), value.encode()) for name, value in dialect.headers()],
                    )
                    await stream.send_all(connection.send(request))
                    while data := await stream.receive_some():
                        connection.receive_data(bytes(data))
                        for event in connection.events():
                            if isinstance(event, AcceptConnection):
                                return 101, self._named(event.extra_headers)
                            if isinstance(event, RejectConnection):
                                return event.status_code, self._named(event.headers)
            except (OSError, trio.BrokenResourceError, RemoteProtocolError):
                pass
        return 0, {}

    def _named(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        return {k.decode("latin-1").lower(): redact(v.decode("latin-1"), self._dialect) for k, v in headers}

    @property
    def _byte_rate(self) -> int:
        return self._sample.sample_rate * self._sample.frame_bytes

    def _now(self) -> float:
        return trio.current_time() - self._began


def _refused(check: str, expected: int, status: int, headers: dict[str, str]) -> Finding:
    said = headers.get("dg-error", "")
    if not status:
        return differs(check, "no answer to the handshake")
    detail = f"HTTP {status}" if status != 101 else "accepted (HTTP 101)"
    detail += f", dg-error: {said[:120]}" if said else ", no dg-error"
    detail += "" if headers.get("dg-request-id") else ", no dg-request-id"
    good = status == expected and said and "dg-request-id" in headers
    return ok(check, detail) if good else differs(check, f"{detail}; HTTP {expected} with a dg-error was expected")


def _text(arrival: Arrival) -> str:
    signals = (getattr(item, "signal", None) for item in arrival.news)
    return " ".join(word.text for signal in signals for word in getattr(signal, "words", ()))
