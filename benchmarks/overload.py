"""Twice the calls that a core carries, at ``hearout serve``: whoever is let in must be heard all the same.

    python -m benchmarks.overload [--calls 800] [--rate 20] [--talk 30] [--busy 0.7]

Three processes: the server, pinned to one core; the transcriber of ``benchmarks.capacity``; and this one, which
calls. A new call comes ``--rate`` times a second until ``--calls`` have come; each sends the recording in real time,
in messages of 0.1 s, and those who were let in stay for ``--talk`` seconds after the last one came. A turn is right
when its text is what was said, and no later than 1.5 s after its end (unloaded 0.6). ``--busy 2`` lets everybody in.
``--slow 0.2`` makes a slow core of the first one, whatever else the machine does: the server is stopped for 16 of each
20 ms. Before everything else (``chrt -r 10 python -m ...``) it gets the other 4.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage

from benchmarks.capacity.script import RATE, Talk, load_talk
from benchmarks.served import served

_MESSAGE = 0.1  # seconds
_LATE = 1.5  # seconds after the end of a turn
_SLICE = 0.02  # seconds, of which a slow core has its share
_EARLY = 0.3  # seconds before it: this side's clock and the server's are not one


def frames_of(talk: Talk) -> list[bytes]:
    """The recording as frames of a websocket, ready to be written: this side must not be what is overloaded."""
    size = 2 * round(RATE * _MESSAGE)
    head = struct.pack(">BBH", 0x82, 0xFE, size) + bytes(4)  # masked with zeros
    return [head + talk.pcm[at : at + size] for at in range(0, len(talk.pcm) // size * size, size)]


class Call(asyncio.Protocol):
    """One call."""

    def __init__(self, talk: Talk, frames: list[bytes]) -> None:
        self.outcome = "unanswered"
        self.turns: list[tuple[str, float]] = []  # text, seconds of the recording at which it was told
        self._talk, self._frames = talk, frames
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._loop = asyncio.get_running_loop()
        self._began = 0.0
        self._sent = 0
        self.ended = 0.0  # when it was closed, `time.perf_counter`
        self.late = 0.0  # seconds by which a message was sent late: then the machine has no time for this side, either

    @property
    def heard(self) -> float:
        """Seconds of audio sent."""
        return self._sent * _MESSAGE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send(Request(host="overload", target="/"))

    def data_received(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            match event:
                case AcceptConnection():
                    self.outcome = "accepted"
                    self._send(TextMessage(data=json.dumps({"sample_rate": RATE})))
                    self._began = self._loop.time()
                    self._talk_on()
                case RejectConnection(status_code=status):
                    self.outcome = f"refused with {status}"
                case TextMessage(data=text):
                    told = json.loads(text)
                    if told["type"] == "turn_completed":
                        self.turns.append((told["text"], self._loop.time() - self._began))
                case Ping():
                    self._send(event.response())
                case CloseConnection():
                    self.outcome = f"closed with {event.code}"
                    self.ended = time.perf_counter()
                    self._send(event.response())
                    self._transport.close()

    def hang_up(self) -> None:
        self._transport.abort()

    def _talk_on(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._frames[self._sent % len(self._frames)])
        if self._sent:
            self.late = max(self.late, self._loop.time() - self._began - (self._sent + 1) * _MESSAGE)
        self._sent += 1
        self._loop.call_at(self._began + (self._sent + 1) * _MESSAGE, self._talk_on)

    def _send(self, event: Any) -> None:
        self._transport.write(self._websocket.send(event))


def _judge(call: Call, talk: Talk, length: float) -> tuple[int, list[float]]:
    """How many turns were due, and how late those were told that were right."""
    due = [
        (text.split(), end + number * length)
        for number in range(int(call.heard / length) + 1)
        for end, text in talk.turns
        if end + number * length + _LATE <= call.heard
    ]
    late = [
        next((at - end for told, at in call.turns if told.split() == text and -_EARLY <= at - end <= _LATE), None)
        for text, end in due
    ]
    return len(due), [seconds for seconds in late if seconds is not None]


async def _offer(port: int, calls: int, rate: float, seconds: float) -> None:
    talk = load_talk()
    frames = frames_of(talk)
    length = len(frames) * _MESSAGE
    loop = asyncio.get_running_loop()
    began, offered = loop.time(), []
    for number in range(calls):
        await asyncio.sleep(began + number / rate - loop.time())
        _, call = await loop.create_connection(lambda: Call(talk, frames), "127.0.0.1", port)
        offered.append(call)
    await asyncio.sleep(seconds)
    outcomes = Counter(call.outcome for call in offered)
    judged = [_judge(call, talk, length) for call in offered if call.turns or call.outcome == "accepted"]
    for call in offered:
        call.hang_up()
    due = sum(turns for turns, _ in judged)
    late = sorted(seconds for _, right in judged for seconds in right)
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    print(f"turns: {due}, of which {due - len(late)} wrong, later than {_LATE} s, or not told at all")
    if late:
        print(f"the others after {statistics.median(late):.2f} s (median), {late[int(0.99 * len(late))]:.2f} s (p99)")
    print(f"the callers themselves were late by {max(call.late for call in offered):.2f} s at most")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


@contextmanager
def _slowed(pid: int, share: float) -> Iterator[None]:
    """Leave a process only a share of its time, for the length of a block."""
    over = threading.Event()

    def slow() -> None:
        while not over.wait(share * _SLICE):
            os.kill(pid, signal.SIGSTOP)
            over.wait((1 - share) * _SLICE)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=slow)
    if share < 1:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if share < 1:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=800)
    parser.add_argument("--rate", type=float, default=20.0, help="new calls a second")
    parser.add_argument("--talk", type=float, default=30.0, help="seconds after the last one came")
    parser.add_argument("--slow", type=float, default=1.0, help="the share of its core that the server gets")
    parser.add_argument("--busy", type=float, default=0.7, help="what the server is told")
    args = parser.parse_args()
    with served("--busy", str(args.busy)) as (server, port), _slowed(server.pid, args.slow):
        asyncio.run(_offer(port, args.calls, args.rate, args.talk))


if __name__ == "__main__":
    main()
