"""Audio over a plain websocket, so that a program in any language can send some: JSON first, then PCM.

The protocol (docs/telephony.md): a text message that says what the audio is, then binary messages of PCM, and in
between text messages that take a hand in the turns.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import trio

from hearout.audio import AudioFormat, Decoder, Encoding, Resampler, working_rate
from hearout.errors import HearoutError, UsageError
from hearout.fields import Fields, object_in
from hearout.nursery import sole_error
from hearout.serving import Authorise, Limits, Pages, Peer, ProtocolError, WebSocketServer
from hearout.sources.peer_source import PeerSource
from hearout.writing import printable, shown
from hearout_policies.expect import Expectation, expectation
from hearout_policies.policy import Policy, preset
from hearout_policies.signals import KEYS

__all__ = ["VERSION", "AudioStream", "Command", "Control", "SocketCall", "websocket_server"]

VERSION = 1

Command = Literal[
    "agent_started", "agent_stopped", "agent_said", "expect", "use", "key", "force_end", "hold", "release", "clear"
]


@dataclass(frozen=True, slots=True)
class Control:
    """The client takes a hand, as with the methods of `hearout.Session` of the same names.

    Attributes:
        channel: None: all of them.
        said: the text of ``agent_said``.
        expected: what ``expect`` expects; ``keep``: until that is changed.
        policy: of ``use``.
        key: of ``key``.
    """

    command: Command
    channel: int | None = None
    said: str = ""
    expected: tuple[Expectation, ...] = ()
    keep: bool = False
    policy: Policy | None = None
    key: str = ""


class AudioStream:
    """The messages of one client, without a socket.

    Args:
        header: the first message.

    Attributes:
        vad, trace: as in `SocketCall`.

    Raises:
        ProtocolError: it is no header, or of audio that nobody can use.
    """

    def __init__(self, header: str | bytes) -> None:
        self.ended = False
        self.format, self.vad, self.trace = _read(header)
        self.sample_rate = working_rate(self.format.sample_rate)
        self._decoder = Decoder(self.format)
        try:
            self._resampler = Resampler(self.format.sample_rate, self.sample_rate, self.format.channels)
        except UsageError as error:  # soxr is missing: ours to repair, but this client must be told
            raise ProtocolError(str(error), 1011) from None

    def receive(self, message: str | bytes) -> list[bytes | Control]:
        """Audio (linear16 at `sample_rate`, channels interleaved) and controls; nothing after the end.

        Raises:
            ProtocolError: not what was announced, or not known.
        """
        if self.ended:
            return []
        if isinstance(message, bytes):
            return self._hear(message)
        data = _parsed(message)
        if data.get("type") == "end":
            self.ended = True
            return []
        return [self._control(data)]

    def finish(self) -> list[bytes | Control]:
        """What the resampler still held."""
        samples = self._resampler.feed(self._decoder.feed(b""), last=True)
        return [samples.tobytes()] if samples.size else []

    def _hear(self, message: bytes) -> list[bytes | Control]:
        f = self.format
        if len(message) % f.frame_bytes:
            raise ProtocolError(
                f"an audio message of {len(message)} bytes: {f.encoding} with {f.channels} channel(s) comes in whole "
                f"frames of {f.frame_bytes} bytes"
            )
        samples = self._resampler.feed(self._decoder.feed(message))
        return [samples.tobytes()] if samples.size else []

    def _control(self, data: dict[str, Any]) -> Control:
        command, channel = data.get("type"), data.get("channel")
        if command not in get_args(Command):
            known = ", ".join(("end", *get_args(Command)))
            raise ProtocolError(f"a message of type {shown(command)}: there are {known}")
        if channel is not None and (type(channel) is not int or channel not in range(self.format.channels)):
            raise ProtocolError(f"channel {shown(channel)}: the audio has 0 to {self.format.channels - 1}")
        fields = Fields({name: value for name, value in data.items() if value is not None or name != "channel"})
        try:
            fields.string("type")
            fields.whole("channel", None)
            more = _more(fields, cast(Command, command))
            fields.done("the message")
            return Control(cast(Command, command), channel, **more)
        except ValueError as error:
            raise ProtocolError(f"{command}: {error}") from None


def _more(fields: Fields, command: Command) -> dict[str, Any]:
    """What a command says besides its channel."""
    match command:
        case "agent_said":
            return {"said": fields.string("text")}
        case "expect":
            expected = tuple(expectation(one) for one in fields.sequence("expectations"))
            return {"expected": expected, "keep": fields.boolean("keep", False)}
        case "use":
            policy = fields.either("policy", "the name of a preset, or an object with settings", str, dict)
            return {"policy": preset(policy) if isinstance(policy, str) else Policy.from_dict(policy)}
        case "key":
            return {"key": fields.word("key", *sorted(KEYS))}
    return {}


def _read(header: str | bytes) -> tuple[AudioFormat, str | None, bool]:
    if isinstance(header, bytes):
        raise ProtocolError('audio before the header: send {"encoding": ..., "sample_rate": ...} as text first', 1002)
    fields = Fields({name: value for name, value in _parsed(header).items() if name != "type"})
    try:
        version = fields.whole("version", VERSION)
        encoding = fields.string("encoding", "linear16")
        rate, channels = fields.whole("sample_rate"), fields.whole("channels", 1)
        vad, trace = fields.string("vad", None), fields.boolean("trace", False)
        fields.done("the header")
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    if version != VERSION:
        raise ProtocolError(f"version {shown(version)} of the protocol: there is {VERSION}", 1002)
    try:
        return AudioFormat(cast(Encoding, encoding), rate, channels), vad, trace
    except UsageError as error:
        raise ProtocolError(printable(str(error), 300), 1003) from None


def _parsed(message: str) -> dict[str, Any]:
    try:
        return object_in(message, "a client")
    except ValueError as error:
        raise ProtocolError(str(error)) from None


class SocketCall(PeerSource[Control]):
    """A client's audio: an `AudioSource`, and the way back.

    Ends with ``{"type": "end"}`` or when the client closes the connection in good order; when that breaks, or the
    client breaks the rules, the error comes after the last audio.

    Attributes:
        format: what the client sends; the source itself is linear16 at 8 or 16 kHz.
        vad: name of the voice detection that it asks for; None: whichever.
        trace: it asks for the trace, record by record. Both are for the handler to heed.
        on_control: called with each `Control`, in step with the audio. It must not block.
    """

    def __init__(self, peer: Peer, stream: AudioStream) -> None:
        super().__init__(peer, stream, stream.sample_rate, stream.format.channels)
        self.format = stream.format
        self.vad, self.trace = stream.vad, stream.trace
        self.on_control: Callable[[Control], object] | None = None

    async def send(self, message: dict[str, Any]) -> bool:
        """Send an object as JSON; False when the client is gone. A cancellation does not break it off half-way."""
        return await self._peer.send(json.dumps(message))

    def _notice(self, event: Control) -> None:
        if self.on_control is not None:
            self.on_control(event)


def websocket_server(
    handler: Callable[[SocketCall], Awaitable[None]],
    *,
    authorise: Authorise | None = None,
    limits: Limits | None = None,
    pages: Pages | None = None,
) -> WebSocketServer:
    """A server, for `hearout.serving.serve_websockets`, that runs ``handler`` for each client.

    What goes wrong with a client it is told as ``{"type": "error", "detail": ...}`` before the connection is closed.
    ``pages`` is what plain requests get.
    """

    async def answer(peer: Peer) -> None:
        header: str | bytes | None = None
        try:
            with trio.move_on_after(peer.limits.start) as timeout:
                header = await peer.receive()
            if timeout.cancelled_caught:
                raise ProtocolError(f"no header within {peer.limits.start:g} s", 1008)
            if header is not None:
                await handler(SocketCall(peer, AudioStream(header)))
        except Exception as exc:
            error = sole_error(exc)
            detail = printable(str(error), 300) if isinstance(error, HearoutError) else "internal error"
            await peer.send(json.dumps({"type": "error", "detail": detail}))
            raise

    return WebSocketServer(answer, authorise=authorise, limits=limits, name="websocket", pages=pages)
