"""The transcriber of the load test: speaks Deepgram's protocol, knows what is said, and is cheap.

It runs in a process of its own, on another core than what is measured. A result comes whenever the audio has gone
on by ``every`` seconds, Finalize is answered after 0.25 s (the median of Pipecat's stt-benchmark). Its websocket is
wsproto on an asyncio protocol without flow control: just enough for clients that are known.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage

from benchmarks.capacity.script import FRAME, RATE, Talk, load_talk

ANSWER = 0.25  # seconds from Finalize to its answer
DECODE = 0.1  # seconds of audio by which the recogniser lags behind
ENDPOINTING = 0.3  # seconds of silence before speech_final
_METADATA = {
    "request_id": "0f2f4a5e-0000-4000-8000-000000000000",
    "model_info": {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"},
    "model_uuid": "40bd3654-0000-4000-8000-000000000000",
}


class Call(asyncio.Protocol):
    """One connection."""

    def __init__(self, talk: Talk, every: float) -> None:
        self._talk = talk
        self._every = every
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._phase = 0.0  # where in the recording the call begins, seconds
        self._heard = 0.0  # seconds of audio
        self._told = 0.0  # until when results were given
        self._final = 0.0  # until when they are final

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            match event:
                case Request(target=target):
                    self._phase = int(parse_qs(urlsplit(target).query).get("first", ["0"])[0]) * FRAME
                    self._send(AcceptConnection())
                case BytesMessage(data=pcm):
                    self._hear(len(pcm) / 2 / RATE)
                case Ping():
                    self._send(event.response())
                case CloseConnection():
                    self._send(event.response())
                    self._transport.close()
                case TextMessage(data=text) if "Finalize" in text:
                    loop = asyncio.get_running_loop()
                    loop.call_later(ANSWER, self._result, self._heard, {"is_final": True, "from_finalize": True})
                case TextMessage(data=text) if "CloseStream" in text:
                    self._result(self._heard, {"is_final": True})
                    self._say({"type": "Metadata", "request_id": "x", "duration": self._heard, "channels": 1})

    def _hear(self, seconds: float) -> None:
        self._heard += seconds
        if self._heard < self._told + self._every:
            return
        self._told += self._every
        until = self._told - DECODE
        words = self._words(until)
        if words and words[-1][2] + ENDPOINTING <= until and self._boundary(until) == until:
            self._result(until, {"is_final": True, "speech_final": True})
        else:
            self._result(until, {})

    def _boundary(self, until: float) -> float:
        """``until``, or the start of the word that is being said then."""
        zero = (until + self._phase) // self._talk.length * self._talk.length - self._phase
        return next((s + zero for _, s, e in self._talk.words if s + zero < until < e + zero), until)

    def _words(self, until: float) -> list[tuple[str, float, float]]:
        """The words that are not final yet and end before ``until``; not one in whose middle the call began."""
        talk, words = self._talk, []
        round_start = (self._final + self._phase) // talk.length * talk.length - self._phase
        while round_start < until:
            words += [
                (text, start + round_start, end + round_start)
                for text, start, end in talk.words
                if end + round_start <= until
                and (start + end) / 2 + round_start >= self._final
                and start + round_start >= 0
            ]
            round_start += talk.length
        return words

    def _result(self, until: float, flags: dict[str, bool]) -> None:
        if flags:
            until = self._boundary(until)
        until = max(until, self._final)
        words = self._words(until)
        text = " ".join(word for word, _, _ in words)
        items = [
            {"word": word, "start": start, "end": end, "confidence": 0.98, "punctuated_word": word}
            for word, start, end in words
        ]
        self._say(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "duration": round(until - self._final, 3),
                "start": round(self._final, 3),
                "is_final": False,
                "speech_final": False,
                "channel": {"alternatives": [{"transcript": text, "confidence": 0.99, "words": items}]},
                "metadata": _METADATA,
                "from_finalize": False,
            }
            | flags
        )
        if flags:
            self._final = until

    def _say(self, message: dict[str, Any]) -> None:
        self._send(TextMessage(data=json.dumps(message)))

    def _send(self, event: Any) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._websocket.send(event))


async def serve(every: float, certificate: str | None) -> None:
    talk = load_talk()
    loop = asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await loop.create_server(lambda: Call(talk, every), "127.0.0.1", 0, backlog=2000, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=float, default=0.2)
    parser.add_argument("--certificate", help="file with a certificate and its key: serve with TLS")
    args = parser.parse_args()
    asyncio.run(serve(args.every, args.certificate))
