"""The server's connections: for each a handshake, a protocol stream, its recognisers."""

from __future__ import annotations

import hmac
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import trio
from trio_websocket import WebSocketConnection

from hearout.errors import UsageError
from hearout.nursery import sole_error
from hearout.serving import Limits, Upgrade, own_pages_only
from hearout.serving.authorise import token_bytes
from hearout.serving.line import Line
from hearout.serving.reception import Applicant, Reception
from hearout.sttserver.protocols import PROTOCOLS, REFUSALS, Handshake, Protocol
from hearout.sttserver.recogniser.pool import Recogniser, RecogniserFailed, RecogniserPool
from hearout.sttserver.script import Script
from hearout.sttserver.steps import Ask, Close, Decode, Drop, Refused, Send, Step, Stream

__all__ = ["SttServer"]

_CLOSE_TIMEOUT = 5.0  # seconds
_SEND_TIMEOUT = 10.0
_MOST_MESSAGE = 2**20  # bytes
# No more than this much of a message goes to a recogniser at a time, so that the results of a long one come as they
# fall due: half a second of linear16 at 16 kHz.
_PIECE = 16_000


class SttServer:
    """Serves `PROTOCOLS` on any trio stream.

    Args:
        pool: where the recognisers come from.
        protocols: serve these only; None: all, or the one of the script.
        token: the one key to accept; None: any that is not empty, but not from pages of other sites.
        script: answer with this trace; no recogniser is needed then.
        refuse: an HTTP status with which every handshake is refused.
        idle_timeout: seconds after which a quiet client is sent away; None: as the provider does.
        connections: at the same time; one of which several channels are transcribed apart counts as that many. Who
            comes later gets 429.

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
        connections: int = 100,
    ) -> None:
        protocols = PROTOCOLS if protocols is None else protocols
        if script is not None:
            if script.stt not in protocols:
                raise UsageError(f"{script.name}: the script is of {script.stt}, served is {', '.join(protocols)}")
            protocols = {script.stt: protocols[script.stt]}
        self._pool = pool
        self._named = protocols
        self._protocols = {protocol.path: protocol for protocol in protocols.values()}
        self._token = None if token is None else token_bytes(token)
        self._script = script
        self._refuse = refuse
        self._idle_timeout = idle_timeout
        # A client that hears the answer to a ping must know that the audio before it was taken: nothing may queue up.
        limits = Limits(connections=connections, message=_MOST_MESSAGE, queue=0)
        self._reception = Reception(self._answer, limits, "stt-server")

    @property
    def paths(self) -> list[str]:
        """Where it serves."""
        return list(self._protocols)

    async def serve(self, transport: trio.abc.Stream) -> None:
        """Serve one connection to its end. What goes wrong in it is its own affair, not the server's."""
        await self._reception.serve(transport)

    async def _answer(self, arrival: Applicant) -> None:
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        path, _, query = arrival.upgrade.path.partition("?")
        key = _key(arrival.upgrade)
        handshake = Handshake(query, str(uuid.uuid4()), created, key, self._accepts, self._idle_timeout)
        protocol = self._protocols.get(path)
        try:
            if self._refuse is not None:
                raise Refused(self._refuse, *REFUSALS[self._refuse])
            if protocol is None:
                raise Refused(404, "NOT_FOUND", f"there is no {path} here, only {', '.join(self._protocols)}")
            if self._token is None and not own_pages_only(arrival.upgrade):
                raise Refused(403, "INSUFFICIENT_PERMISSIONS", "pages of other sites may not connect without a token")
            stream = self._opened(protocol, handshake)
            headers = [(b"dg-request-id", handshake.request_id.encode())]
            if not stream.authorised:
                return await self._introduce(arrival, stream, headers)
            recognisers = await self._recognisers(arrival, stream)
            websocket = await arrival.accept(headers)
            return await _Conversation(websocket, arrival.line, stream, self._reception.complain).run(recognisers)
        except Refused as refused:
            return await _reject(arrival, refused, protocol or PROTOCOLS["deepgram"], handshake.request_id)

    def _opened(self, protocol: Protocol, handshake: Handshake) -> Stream:
        """The stream of a connection; a query that is wrong here may be right at another path, so they are named."""
        try:
            return protocol.open(handshake, self._script)
        except Refused as refused:
            if refused.status != 400 or len(self._named) == 1:
                raise
            others = ", ".join(f"{other.path} ({name})" for name, other in self._named.items() if other is not protocol)
            raise Refused(400, refused.code, f"{refused.detail}; this is {protocol.path}, others: {others}") from None

    async def _introduce(self, arrival: Applicant, stream: Stream, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """The key comes with the first message. Until then it is a stranger, and has no recogniser."""
        conversation = _Conversation(await arrival.accept(headers), arrival.line, stream, self._reception.complain)
        arrival.visitor.scope.deadline = math.inf  # the stream has a patience of its own
        if not await conversation.begin():
            return
        try:
            await conversation.run(await self._recognisers(arrival, stream))
        except Refused as refused:
            await conversation.end(stream.refuse(refused))

    async def _recognisers(self, arrival: Applicant, stream: Stream) -> Sequence[Recogniser]:
        """The places of a connection, and its recognisers."""
        if not arrival.admit(max(1, stream.channels)):
            raise Refused(429, *REFUSALS[429])
        try:
            return await self._pool.lend(stream.channels)
        except UsageError as error:  # something is not installed, or not there any more
            raise Refused(503, "SERVICE_UNAVAILABLE", str(error)) from None

    def _accepts(self, key: str) -> bool:
        return bool(key) and (self._token is None or hmac.compare_digest(key.encode(), self._token))


def _key(upgrade: Upgrade) -> str | None:
    if key := upgrade.headers.get("xi-api-key", "").strip():
        return key
    first, _, second = upgrade.headers.get("authorization", "").partition(" ")
    if first.lower() in ("token", "bearer"):
        return second.strip() or None
    return None if second else first or None  # AssemblyAI's stands alone


async def _reject(arrival: Applicant, refused: Refused, protocol: Protocol, request_id: str) -> None:
    await arrival.reject(
        refused.status,
        [
            (b"dg-request-id", request_id.encode()),
            (b"dg-error", refused.detail.encode("ascii", "backslashreplace")),
            (b"content-type", b"application/json"),
        ],
        json.dumps(protocol.refusal(refused, request_id)).encode(),
    )


class _Conversation:
    """Carries out the steps of one stream. Strictly in order: the next message is read when the last is done."""

    def __init__(
        self, websocket: WebSocketConnection, line: Line, stream: Stream, complain: Callable[[str], None]
    ) -> None:
        self._websocket = websocket
        self._line = line
        self._stream = stream
        self._complain = complain
        self._recognisers: Sequence[Recogniser] = ()

    async def begin(self) -> bool:
        """Listen until it is known who the client is; False when it is gone."""
        open_ = True
        while open_ and not self._stream.authorised:
            open_ = await self._listen()
        return open_

    async def run(self, recognisers: Sequence[Recogniser]) -> None:
        """From here to the end."""
        self._recognisers = recognisers
        open_ = await self._perform(self._stream.opening())
        while open_:
            open_ = await self._listen()

    async def end(self, steps: Sequence[Step]) -> None:
        """The last steps."""
        await self._perform(steps)

    async def _listen(self) -> bool:
        """One message, or so long a quiet that something is due; False when the connection is closed."""
        message: str | bytes | None = None
        began = trio.current_time()
        with trio.move_on_after(self._stream.idle_timeout):
            message = await self._websocket.get_message()
        open_ = True
        if (heard := self._line.heard_at) >= began:
            open_ = await self._perform(self._stream.wait(heard - began))
            self._stream.alive()
            began = heard
        open_ = open_ and await self._perform(self._stream.wait(trio.current_time() - began))
        for part in _parts(message):
            if open_:
                open_ = await self._perform(self._stream.receive(part))
        return open_

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
            # Channels decode side by side, but their messages leave in the order of channels.
            async with trio.open_nursery() as nursery:
                for channel, lane in lanes.items():
                    nursery.start_soon(self._work, channel, lane, outboxes[channel])
        except* RecogniserFailed as group:
            self._complain(f"the recogniser failed: {sole_error(group)}")
            end, last, outboxes = self._stream.failed(), [], {}
        for text in [text for outbox in outboxes.values() for text in outbox] + [send.text for send in last]:
            with trio.fail_after(_SEND_TIMEOUT):  # who does not read for so long is gone
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
                    recogniser.decode(step.pcm)
                case Ask():
                    words = [] if step.utterance is None else await recogniser.words(ends=step.ends, pauses=step.pauses)
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
