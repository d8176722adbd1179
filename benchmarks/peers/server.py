"""The transcriber of all systems: it speaks Deepgram's protocol, knows the words, and fails as its script says.

    python -m benchmarks.peers.server SCRIPTS LOG

Each call has a port of its own; the ports are printed as one line of JSON. LOG gets every message but the audio.

Where a connection is in the call is told by the audio itself: it is looked up in the call's file, so that a client
that replays audio after a reconnect is given the words again, and one that has lost some is not. Messages take
their time, log-normal around 0.25 s with 95 % within 0.20 to 0.31 s, and stay in order. The time of a final result is
drawn from the seed, the call and the word it ends with, so it is the same for all clients. (Deepgram's nova-3
answered Finalize in 0.25 to 0.30 s in captured sessions; in pipecat-ai/stt-benchmark its finals come 0.25 s after the
end of speech, 0.33 s at the 99th percentile.)
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from benchmarks.peers.feed import RATE
from benchmarks.peers.scenarios import Script, load_scripts
from hearout.sttserver.deepgram.connection import MODEL_INFO, MODEL_UUID, V1Connection, to_json
from hearout.sttserver.deepgram.options import V1Options, parse_options
from hearout.sttserver.steps import Ask, Close, Drop, HeardWord, Send, Step

__all__ = ["Hearing", "Line"]

_MEDIAN, _SIGMA = 0.25, 0.115  # seconds; of the time a message takes
_TICK = RATE // 50  # sample frames heard at a time
_INTERIM_EVERY = 1.0  # seconds of audio
_PAUSE = 1.0  # without endpointing, segments end after so much silence
_LONG = 4.0  # longer segments are made final without their last word, and no speech_final
_QUIET_SEGMENT = 4.0  # silence is made final, too
_RESUMED = 1.5  # seconds without words after which new ones are new speech


@dataclass(frozen=True)
class Timed(Send):
    """A message, and what it waits for: ``key`` names it for the random delay, ``late`` is on top."""

    key: str = ""
    late: float = 0.0


class Line:
    """What all connections of one call share: its script, its audio, and the breaks still to come."""

    def __init__(self, script: Script, directory: Path) -> None:
        self.script = script
        self.pcm = (directory / script.pcm).read_bytes()
        self.drops = set(script.drops)

    def delay(self, message: Timed) -> float:
        rng = random.Random(f"{self.script.seed} {self.script.name} {message.key}")
        return rng.lognormvariate(math.log(_MEDIAN), _SIGMA) + message.late


class Hearing(V1Connection):
    """One connection. Commands, errors and the end are those of hearout's own server."""

    channels = 1

    def __init__(self, line: Line, options: V1Options, request_id: str) -> None:
        super().__init__(options, request_id, "2026-01-01T00:00:00.000Z", idle_timeout=10.0)
        self._line = line
        self._words = line.script.words
        self._clock = 0  # sample frames received
        self._at: int | None = None  # where the call is, sample frames
        self._missed: list[tuple[float, float]] = []  # spans of the call that were never received
        self._next = 0  # word that the next result begins with
        self._segment = 0.0  # where it begins, on the connection's clock; so do the next two
        self._shown = 0.0  # the latest result
        self._asked = -1.0  # the latest Finalize
        self._last_final: float | None = None  # end of the last final word, until UtteranceEnd told it
        self._voice = False  # SpeechStarted was sent
        self._results = 0

    def _hear(self, audio: bytes) -> list[Step]:
        steps: list[Step] = []
        for begin in range(0, len(audio), 2 * _TICK):
            piece = audio[begin : begin + 2 * _TICK]
            self._clock += len(piece) // 2
            self._locate(piece)
            steps += self._tick()
            if any(isinstance(step, Drop) for step in steps):
                break
        return steps

    def _locate(self, piece: bytes) -> None:
        pcm, frames = self._line.pcm, len(piece) // 2
        if self._at is not None and pcm.startswith(piece, 2 * self._at):
            self._at += frames
            return
        found = pcm.find(piece, 2 * (self._at or 0)) if frames >= 64 else -1
        if found < 0 or found % 2:  # silence that the client made up
            return
        self._missed.append(((self._at or 0) / RATE, found / 2 / RATE))
        self._at = found // 2 + frames

    def _heard(self, word: tuple[str, float, float]) -> bool:
        """Did this connection get at least the middle of the word?"""
        middle = (word[1] + word[2]) / 2
        return not any(start <= middle < end for start, end in self._missed)

    def _pending(self) -> list[tuple[str, float, float]]:
        """The words heard to their end that are not final yet."""
        assert self._at is not None
        now = self._at / RATE
        return [word for word in self._words[self._next :] if word[2] <= now and self._heard(word)]

    def _tick(self) -> list[Step]:
        if self._at is None:
            return []
        now, clock, options = self._at / RATE, self._clock / RATE, self._options
        for number, (_, _, end) in enumerate(self._words):
            if number in self._line.drops and end <= now:
                self._line.drops.remove(number)
                return [Drop()]
        steps: list[Step] = []
        pending = self._pending()
        within = any(start <= now < end for _, start, end in self._words)
        if options.vad_events and not self._voice and within:
            self._voice = True
            steps.append(self._event("SpeechStarted", "timestamp", now))
        silence = 0.0 if within else now - max((end for _, _, end in self._words if end <= now), default=0.0)
        if steps_due := self._final_due(pending, silence, within):
            return [*steps, *steps_due]
        if options.interim_results and round(clock - self._shown, 6) >= _INTERIM_EVERY:
            steps.append(self._result(pending))
            gap = None if self._last_final is None else now - self._last_final
            if options.utterance_end and gap is not None and not pending and gap >= options.utterance_end:
                assert self._last_final is not None
                steps.append(self._event("UtteranceEnd", "last_word_end", self._last_final))
                self._last_final = None
        return steps

    def _final_due(self, pending: list[tuple[str, float, float]], silence: float, within: bool) -> list[Step]:
        clock, endpointing = self._clock / RATE, self._options.endpointing
        if self._line.script.withhold and pending:
            # The words before the latest long silence, once somebody speaks again.
            for number in range(1, len(pending)):
                if pending[number][1] - pending[number - 1][2] >= _RESUMED:
                    return [self._result(pending[:number], final=True)]
            return []
        if pending:
            if endpointing is not None and round(silence, 6) >= endpointing and not within:
                return [self._result(pending, final=True, endpoint=True)]
            if endpointing is None and silence >= _PAUSE:
                return [self._result(pending, final=True)]
            if within and len(pending) > 1 and clock - max(self._segment, self._own(pending[0][1])) >= _LONG:
                return [self._result(pending[:-1], final=True)]
        elif clock - self._segment >= _QUIET_SEGMENT and not within:
            return [self._result([], final=True, endpoint=endpointing is not None)]
        return []

    def _finalize(self, indexes: Sequence[int]) -> list[Step]:
        clock = self._clock / RATE
        if self._line.script.withhold == "always" or clock <= self._asked or self._at is None:
            return []  # without new audio Deepgram does not answer either
        self._asked = clock
        return [self._result(self._pending(), final=True, endpoint=True, finalized=True)]

    def _tail(self) -> list[Step]:
        return [self._result(self._pending(), final=True, endpoint=True)] if self._at is not None else []

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("the words are known; nobody is asked")

    def _own(self, audio: float) -> float:
        """Audio time of the call on the clock of this connection."""
        assert self._at is not None
        return max(0.0, audio - self._at / RATE + self._clock / RATE)

    def _result(
        self,
        words: Sequence[tuple[str, float, float]],
        *,
        final: bool = False,
        endpoint: bool = False,
        finalized: bool = False,
    ) -> Timed:
        clock = self._clock / RATE
        end = self._own(words[-1][2]) if final and not endpoint and words else clock
        listed = [
            {
                "word": text,
                "start": round(self._own(start), 3),
                "end": round(self._own(stop), 3),
                "confidence": 0.99,
                "punctuated_word": text,
            }
            for text, start, stop in words
        ]
        message: dict[str, Any] = {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": round(end - self._segment, 6),
            "start": round(self._segment, 6),
            "is_final": final,
            "speech_final": endpoint,
            "channel": {
                "alternatives": [
                    {
                        "transcript": " ".join(text for text, _, _ in words),
                        "confidence": 0.99 if words else 0.0,
                        "words": listed,
                    }
                ]
            },
            "metadata": {"request_id": self._request_id, "model_info": MODEL_INFO, "model_uuid": MODEL_UUID},
            "from_finalize": finalized,
        }
        if self._options.endpointing is None:
            del message["speech_final"]
        self._shown = clock
        self._results += 1
        if final:
            self._segment = end
            if words:
                self._next = self._words.index(words[-1]) + 1
                self._last_final, self._voice = words[-1][2], False
        # One delay for a word's final, whatever made it final.
        key = f"final {words[-1]}" if final and words else f"result {self._results}"
        return Timed(to_json(message), 0, key, self._line.script.late if final and words else 0.0)

    def _event(self, kind: str, name: str, audio: float) -> Timed:
        message = {"type": kind, "channel": [0, 1], name: round(self._own(audio), 3)}
        return Timed(to_json(message), 0, f"{kind} {audio}", 0.0)


class _Conversation:
    """Carries out the steps of one connection, each message when its time has come."""

    def __init__(self, line: Line, websocket: WebSocketConnection, hearing: Hearing, log: TextIO) -> None:
        self._line, self._websocket, self._hearing, self._log = line, websocket, hearing, log
        self._due = 0.0

    async def run(self) -> None:
        outbox, to_send = trio.open_memory_channel[tuple[float, Step]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, to_send, nursery.cancel_scope)
            while True:
                message: str | bytes | None = None
                with trio.move_on_after(self._hearing.idle_timeout):
                    message = await self._websocket.get_message()
                steps = self._hearing.wait(self._hearing.idle_timeout) if message is None else self._take(message)
                for step in steps:
                    if isinstance(step, Drop):
                        self.note("drop", "")
                        nursery.cancel_scope.cancel()
                        return
                    delay = self._line.delay(step) if isinstance(step, Timed) else 0.0
                    self._due = max(self._due, trio.current_time() + delay)
                    outbox.send_nowait((self._due, step))
                if steps and isinstance(steps[-1], Close):
                    await trio.sleep_forever()

    def _take(self, message: str | bytes) -> list[Step]:
        if isinstance(message, str):
            self.note("received", message)
        return self._hearing.receive(message)

    async def _send(self, to_send: trio.MemoryReceiveChannel[tuple[float, Step]], whole: trio.CancelScope) -> None:
        async for due, step in to_send:
            await trio.sleep_until(due)
            if isinstance(step, Send):
                self.note("sent", step.text)
                await self._websocket.send_message(step.text)
            elif isinstance(step, Close):
                with trio.move_on_after(1.0):
                    await self._websocket.aclose(step.code, step.reason)
                whole.cancel()

    def note(self, what: str, text: str) -> None:
        entry = {"t": round(time.monotonic(), 4), "call": self._line.script.name, "what": what, "text": text}
        print(json.dumps(entry), file=self._log, flush=True)


async def _serve(line: Line, log: TextIO, stream: trio.SocketStream) -> None:
    try:
        async with stream, trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            options = parse_options(request.path.partition("?")[2])
            request_id = str(uuid.uuid4())
            websocket = await request.accept(extra_headers=[(b"dg-request-id", request_id.encode())])
            conversation = _Conversation(line, websocket, Hearing(line, options, request_id), log)
            conversation.note("connected", request.path)
            await conversation.run()
            nursery.cancel_scope.cancel()
    except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client went away


async def main(scripts: Path, log_path: Path) -> None:
    with log_path.open("w") as log:
        async with trio.open_nursery() as nursery:
            ports = {}
            for script in load_scripts(scripts):
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                ports[script.name] = listener.socket.getsockname()[1]
                nursery.start_soon(trio.serve_listeners, partial(_serve, Line(script, scripts.parent), log), [listener])
            print(json.dumps(ports), flush=True)
            # Until the process that started this one closes the pipe, however it ends.
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The scripted transcriber of the side-by-side run.")
    parser.add_argument("scripts", type=Path)
    parser.add_argument("log", type=Path)
    arguments = parser.parse_args()
    trio.run(main, arguments.scripts, arguments.log)
