"""Telephone calls from Twilio Media Streams: Twilio connects here, each call becomes a source of audio."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from hearout.errors import UsageError
from hearout.serving import (
    Authorise,
    Limits,
    Peer,
    ProtocolError,
    Upgrade,
    WebSocketServer,
    call_id,
    serve_websockets,
)
from hearout.sources.peer_source import MessageLine, PeerSource
from hearout.sources.twilio_messages import (
    SAMPLE_RATE,
    Dtmf,
    Mark,
    Start,
    TwilioEvent,
    TwilioStream,
    clear_message,
    mark_message,
    media_message,
    to_mulaw,
)
from hearout_policies.signals import KEYS

__all__ = ["TwilioCall", "serve_twilio", "signed_by_twilio", "to_mulaw", "twilio_server"]


class TwilioCall(PeerSource[TwilioEvent]):
    """One call: an `AudioSource` of linear16 at 8 kHz, and the way back to the caller.

    One channel for each track: the caller (``inbound``), then what he hears (``outbound``), if the TwiML asked for
    both. Audio time is Twilio's ``timestamp``. The source ends with Twilio's ``stop``, or when Twilio closes the
    connection; when the connection breaks, the iteration raises a `SessionError` after the last audio.

    Attributes:
        stream_sid, call_sid, account_sid: Twilio's names for it.
        tracks: in the order of the channels.
        parameters: what the TwiML gave in ``<Parameter>``.
        on_dtmf: called with each key that the caller presses (``0`` to ``9``, ``*``, ``#``), which a session
            hears by itself. Like ``on_mark``, called in step with the audio, while somebody iterates: it must not
            block.
        on_mark: called with the name of each mark that has been reached, or cleared.
    """

    def __init__(self, peer: MessageLine, stream: TwilioStream, start: Start) -> None:
        super().__init__(peer, stream, SAMPLE_RATE, len(start.tracks))
        self.stream_sid = start.stream_sid
        self.call_sid = start.call_sid
        self.account_sid = start.account_sid
        self.tracks = start.tracks
        self.parameters: Mapping[str, str] = start.parameters
        self.on_dtmf: Callable[[str], object] | None = None
        self.on_mark: Callable[[str], object] | None = None
        self._take_key: Callable[[int | None, str], None] | None = None
        self._stream = stream

    @property
    def filled(self) -> float:
        """Seconds of silence put in for audio that did not come."""
        return self._stream.filled

    @property
    def dropped(self) -> int:
        """Messages that came twice, or too late."""
        return self._stream.dropped

    async def send_audio(self, mulaw: bytes) -> bool:
        """Play audio to the caller, behind what was sent before: mulaw at 8 kHz, see `to_mulaw`.

        This and the next two need a stream of ``<Connect>``. They return False when the call is over. A cancellation
        does not break them off half-way.
        """
        return await self._peer.send(media_message(self.stream_sid, mulaw))

    async def send_mark(self, name: str) -> bool:
        """Ask to be told (``on_mark``) when the audio so far has been played."""
        return await self._peer.send(mark_message(self.stream_sid, name))

    async def clear(self) -> bool:
        """Stop playing: drop all audio sent and not yet played. For barge-in."""
        return await self._peer.send(clear_message(self.stream_sid))

    def keys_to(self, take: Callable[[int | None, str], None]) -> None:
        """For a session: keys are words of the caller's turn."""
        self._take_key = take

    @property
    def _caller(self) -> int:
        """The channel of who presses keys."""
        return self.tracks.index("inbound") if "inbound" in self.tracks else 0

    def _notice(self, event: TwilioEvent) -> None:
        match event:
            case Dtmf(digit):
                if self._take_key is not None and digit in KEYS:
                    self._take_key(self._caller, digit)
                if self.on_dtmf is not None:
                    self.on_dtmf(digit)
            case Mark(name) if self.on_mark is not None:
                self.on_mark(name)


TwilioHandler = Callable[[TwilioCall], Awaitable[None]]


def twilio_server(
    handler: TwilioHandler, *, authorise: Authorise | None = None, limits: Limits | None = None
) -> WebSocketServer:
    """The server without its sockets; see `serve_twilio`."""

    async def answer(peer: Peer) -> None:
        if (call := await _begin(peer)) is not None:
            await handler(call)

    return WebSocketServer(answer, authorise=authorise, limits=limits, name="twilio")


async def serve_twilio(
    handler: TwilioHandler,
    port: int,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    authorise: Authorise | None = None,
    limits: Limits | None = None,
    grace: float | None = None,
    task_status: trio.TaskStatus[Sequence[trio.abc.Listener[Any]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer calls until cancelled, or a signal: ``handler`` runs for each, and the stream ends when it returns.

    Args:
        port: 0: one that is free; ``nursery.start`` gives the listeners.
        host: the address to listen on; by default this machine alone.
        tls: a server context. Twilio connects by ``wss://`` only: give one, or have a proxy or tunnel do TLS.
        authorise: who may connect: `signed_by_twilio`. Required unless ``host`` is this machine.
        limits: of time, size and number.
        grace: seconds for the last words after SIGTERM, SIGINT or SIGHUP; None: signals are the application's affair.
            See `hearout.serving.serve_websockets`.

    Raises:
        UsageError: the address cannot be used, or could be reached by anybody.
    """
    server = twilio_server(handler, authorise=authorise, limits=limits)
    await serve_websockets(server, port, host=host, tls=tls, grace=grace, task_status=task_status)


async def _begin(peer: Peer) -> TwilioCall | None:
    """The call, once Twilio has said what it is; None when it hung up before."""
    stream = TwilioStream()
    events: list[bytes | TwilioEvent] = []
    with trio.move_on_after(peer.limits.start):
        while True:
            message = await peer.receive()
            if message is None:
                return None
            events += stream.receive(message)
            if stream.start is not None:
                call = TwilioCall(peer, stream, stream.start)
                call_id.set(call.call_sid)
                call._items += events  # also a key that came before the start
                return call
            if stream.ended:
                return None
    raise ProtocolError(f"no start message within {peer.limits.start:g} s", 1008)


def signed_by_twilio(auth_token: str, url: str) -> Authorise:
    """Lets in who can sign as Twilio does: ``X-Twilio-Signature``, HMAC-SHA1 with the account's auth token.

    https://www.twilio.com/docs/usage/security#validating-requests. Twilio signs the address that it connects to: of
    a request without a form, that is all. Query strings do not reach a stream's server.

    Args:
        auth_token: of the account.
        url: exactly as in ``<Stream url="...">``, ``wss://`` and the public name: a proxy does not change what was
            signed. With or without a slash at its end is the same.

    Raises:
        UsageError: no token, or no ``wss://`` address.
    """
    if not auth_token:
        raise UsageError("the auth token of the Twilio account is empty")
    if not url.startswith("wss://"):
        raise UsageError(f"{url}: give the address as in <Stream url>: wss://...")
    urls = (url.rstrip("/"), url.rstrip("/") + "/")
    expected = [base64.b64encode(hmac.digest(auth_token.encode(), u.encode(), hashlib.sha1)) for u in urls]

    def authorise(upgrade: Upgrade) -> bool:
        given = upgrade.headers.get("x-twilio-signature", "").encode()
        return any(hmac.compare_digest(given, signature) for signature in expected)

    return authorise
