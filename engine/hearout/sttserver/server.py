"""The server's connections: for each a handshake, a protocol stream, its recognisers."""

from __future__ import annotations

import hmac
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from hearout.errors import UsageError
from hearout.sttserver.protocols import PROTOCOLS, REFUSALS, Handshake, Protocol
from hearout.sttserver.recogniser.pool import Recogniser, RecogniserFailed, RecogniserPool
from hearout.sttserver.script import Script
from hearout.sttserver.steps import Ask, Close, Decode, Drop, Refused, Send, Step, Stream

__all__ = ["SttServer"]

_HANDSHAKE_TIMEOUT = 10.0  # seconds
_CLOSE_TIMEOUT = 5.0
# No more than this much of a message goes to a recogniser at a time, so that the results of a long one come as they
# fall due: half a second of linear16 at 16 kHz.
_PIECE = 16_000


class SttServer:
    """Serves `PROTOCOLS` on any trio stream.

    Args:
        pool: where the recognisers come from.
        protocols: serve these only; None: all, or the one of the script.
        token: the one key to accept; None: any that is not empty.
        script: answer with this trace; no recogniser is needed then.
        refuse: an HTTP status with which every handshake is refused.
        idle_timeout: seconds after which a quiet client is sent away; None: as the provider does.

    Raises:
        UsageError: the script is of none of the protocols.
    """

    def __init__(
        self,
        pool: RecogniserPool,
        *,
        protocols: Mapping[str, Protocol] | None = None,
        token: str | None = None,
        script: Script | None = None,
        refuse: int | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        protocols = PROTOCOLS if protocols is None else protocols
        if script is not None:
            if script.stt not in protocols:
                raise UsageError(f"{script.name}: the script is of {script.stt}, served is {', '.join(protocols)}")
            protocols = {script.stt: protocols[script.stt]}
        self._pool = pool
        self._protocols = {protocol.path: protocol for protocol in protocols.values()}
        self._token = token
        self._script = script
        self._refuse = refuse
        self._idle_timeout = idle_timeout

    @property
    def paths(self) -> list[str]:
        """Where it serves."""
        return list(self._protocols)

    async def serve(self, transport: trio.abc.Stream) -> None:
        """Serve one connection to its end. What goes wrong in it is its own affair, not the server's."""
        try:
            async with transport, trio.open_nursery() as nursery:
                with trio.fail_after(_HANDSHAKE_TIMEOUT):
                    # A client that hears the answer to a ping must know that the audio before it was taken, so
                    # nothing may queue up here.
                    line = _Line(transport)
                    stream = trio.StapledStream(transport, line)
                    request = await wrap_server_stream(nursery, stream, message_queue_size=0)
                await self._answer(request, line)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, trio.BrokenResourceError, trio.TooSlowError):
            pass  # the client went away
        except* Exception as group:
            print(f"hearout stt-server: connection failed: {group.exceptions[0]!r}", file=sys.stderr, flush=True)

    async def _answer(self, request: WebSocketRequest, line: _Line) -> None:
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        path, _, query = request.path.partition("?")
        handshake = Handshake(query, str(uuid.uuid4()), created, _key(request), self._accepts, self._idle_timeout)
        protocol = self._protocols.get(path)
        try:
            if self._refuse is not None:
                raise Refused(self._refuse, *REFUSALS[self._refuse])
            if protocol is None:
                raise Refused(404, "NOT_FOUND", f"there is no {path} here, only {', '.join(self._protocols)}")
            stream = protocol.open(handshake, self._script)
            async with self._pool.lend(stream.channels) as recognisers:
                headers = [(b"dg-request-id", handshake.request_id.encode())]
                websocket = await request.accept(extra_headers=headers)
                await _Conversation(websocket, line, stream, recognisers).run()
        except Refused as refused:
            await _reject(request, refused, protocol or PROTOCOLS["deepgram"], handshake.request_id)
        except (UsageError, RecogniserFailed) as error:  # something is not installed, or does not start any more
            assert protocol is not None
            unavailable = Refused(503, "SERVICE_UNAVAILABLE", str(error))
            await _reject(request, unavailable, protocol, handshake.request_id)

    def _accepts(self, key: str) -> bool:
        return bool(key) and (self._token is None or hmac.compare_digest(key.encode(), self._token.encode()))


def _key(request: WebSocketRequest) -> str | None:
    # WebSocketRequest gives header names in lower case.
    value = next((value for name, value in request.headers if name == b"authorization"), b"")
    scheme, _, key = value.decode("latin-1").partition(" ")
    return key.strip() or None if scheme.lower() in ("token", "bearer") else None


async def _reject(request: WebSocketRequest, refused: Refused, protocol: Protocol, request_id: str) -> None:
    await request.reject(
        refused.status,
        extra_headers=[
            (b"dg-request-id", request_id.encode()),
            (b"dg-error", refused.detail.encode("ascii", "backslashreplace")),
            (b"content-type", b"application/json"),
        ],
        body=json.dumps(protocol.refusal(refused, request_id)).encode(),
    )


class _Line(trio.abc.ReceiveStream):
    """What comes from a client. trio-websocket answers pings by itself and tells nobody; here they are seen.

    Attributes:
        heard_at: when the last of it came, on trio's clock.
    """

    def __init__(self, transport: trio.abc.ReceiveStream) -> None:
        self.heard_at = trio.current_time()
        self._transport = transport

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._transport.receive_some(max_bytes)
        self.heard_at = trio.current_time()
        return data

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Conversation:
    """Carries out the steps of one stream. Strictly in order: the next message is read when the last is done."""

    def __init__(
        self, websocket: WebSocketConnection, line: _Line, stream: Stream, recognisers: Sequence[Recogniser]
    ) -> None:
        self._websocket = websocket
        self._line = line
        self._stream = stream
        self._recognisers = recognisers

    async def run(self) -> None:
        open_ = await self._perform(self._stream.opening())
        while open_:
            message: str | bytes | None = None
            began = trio.current_time()
            with trio.move_on_after(self._stream.idle_timeout):
                message = await self._websocket.get_message()
            if (heard := self._line.heard_at) >= began:
                open_ = await self._perform(self._stream.wait(heard - began))
                self._stream.alive()
                began = heard
            open_ = open_ and await self._perform(self._stream.wait(trio.current_time() - began))
            for part in _parts(message):
                if open_:
                    open_ = await self._perform(self._stream.receive(part))

    async def _perform(self, steps: Sequence[Step]) -> bool:
        """Returns False when the connection is closed."""
        lanes: dict[int, list[Decode | Ask | Send]] = {}
        last: list[Send] = []
        end: Close | Drop | None = None
        for step in steps:
            match step:
                case Close() | Drop():
                    end = step
                case Send(channel=None):
                    last.append(step)
                case Decode(channel=channel) | Ask(channel=channel) | Send(channel=int(channel)):
                    lanes.setdefault(channel, []).append(step)
        outboxes: dict[int, list[str]] = {channel: [] for channel in lanes}
        try:
            # Channels decode side by side, but their messages leave in the order of channels: the same audio
            # always makes the same conversation.
            async with trio.open_nursery() as nursery:
                for channel, lane in lanes.items():
                    nursery.start_soon(self._work, channel, lane, outboxes[channel])
        except* RecogniserFailed:
            end, last, outboxes = self._stream.failed(), [], {}
        for text in [text for outbox in outboxes.values() for text in outbox] + [send.text for send in last]:
            await self._websocket.send_message(text)
        if isinstance(end, Close):
            with trio.move_on_after(_CLOSE_TIMEOUT):
                await self._websocket.aclose(end.code, end.reason)
        return end is None

    async def _work(self, channel: int, lane: Sequence[Decode | Ask | Send], outbox: list[str]) -> None:
        recogniser = self._recognisers[channel]
        for step in lane:
            match step:
                case Decode():
                    await recogniser.decode(step.pcm)
                case Ask():
                    words = [] if step.utterance is None else await recogniser.words(ends=step.ends)
                    outbox.extend(self._stream.report(step, words))
                case Send():
                    outbox.append(step.text)


def _parts(message: str | bytes | None) -> Sequence[str | bytes]:
    """A long binary message in pieces."""
    if message is None:
        return ()
    if isinstance(message, str) or not message:
        return (message,)
    return [message[at : at + _PIECE] for at in range(0, len(message), _PIECE)]
