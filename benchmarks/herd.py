"""How long does the loop stand still when many calls connect at once?

    python -m benchmarks.herd [--calls N ...] [--plain]

One process carries N calls on one core. They are opened together, and some seconds later the transcriber, a process of
its own, drops all of them together, so that they connect again. All the while a task sleeps 2 ms at a time: what it
sleeps longer, no call got its audio or its deadlines. The transcriber has a certificate of its own authority, which is
added to all those that this machine trusts: the length of that list is part of the price. ``--plain``: without TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
import trustme

from benchmarks.capacity.load import Pushed, tick
from benchmarks.capacity.meter import Meter
from benchmarks.capacity.script import FRAME, RATE, Talk, load_talk
from benchmarks.capacity.server import Call
from hearout import Deepgram, LinkSettings, Session, open_session

_PULSE = 0.002  # seconds
_QUIET = 3.0  # seconds in which all calls are up
_PATIENCE = 60.0  # seconds after which a call is given up
_OFFSETS = 10  # moments of the 20 ms at which frames come


class Pulse:
    """The longest time that the loop was busy with something else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            due = trio.current_time() + _PULSE
            await trio.sleep_until(due)
            self.longest = max(self.longest, trio.current_time() - due)

    def take(self) -> float:
        """The longest since the last time it was asked."""
        longest, self.longest = self.longest, 0.0
        return longest


async def call(line: Pushed, url: str, sessions: list[Session]) -> None:
    settings = LinkSettings(first_budget=_PATIENCE)
    async with open_session(line.source, Deepgram("key", url, RATE), link=settings) as session:
        sessions.append(session)
        async for _ in session:
            pass


async def until_up(sessions: list[Session], count: int, connections: int) -> float:
    """Wait until ``count`` sessions have had so many connections; how long that took."""
    began = trio.current_time()
    while sum(session.link_stats.connections >= connections for session in sessions) < count:  # noqa: ASYNC110 - a first connection is no event
        await trio.sleep(0.02)
    return trio.current_time() - began


async def herd(url: str, calls: int, server: subprocess.Popen[str]) -> None:
    talk, meter, pulse = load_talk(), Meter(calls), Pulse()
    sessions: list[Session] = []
    assert server.stdin is not None
    async with trio.open_nursery() as nursery:
        lines = [Pushed(talk, number) for number in range(calls)]
        nursery.start_soon(pulse.run)
        for line in lines:
            nursery.start_soon(call, line, url, sessions)
        for number in range(_OFFSETS):
            nursery.start_soon(tick, lines[number::_OFFSETS], number * FRAME / _OFFSETS, meter)
        with trio.fail_after(_PATIENCE):
            connected = await until_up(sessions, calls, 1)
        first = pulse.take()
        await trio.sleep(_QUIET)
        usual = pulse.take()
        server.stdin.write("drop\n")
        server.stdin.flush()
        with trio.fail_after(_PATIENCE):
            reconnected = await until_up(sessions, calls, 2)
        again = pulse.take()
        tries = sum(session.link_stats.connections for session in sessions)
        print(
            f"| {calls} | {first * 1000:.0f} | {connected:.1f} | {usual * 1000:.0f} | {again * 1000:.0f} "
            f"| {reconnected:.1f} | {tries} |",
            flush=True,
        )
        nursery.cancel_scope.cancel()


# The transcriber


class Droppable(Call):
    """A connection that is listed while it is there."""

    def __init__(self, talk: Talk, there: set[asyncio.Transport]) -> None:
        super().__init__(talk, every=0.2)
        self._there = there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._there.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._there.discard(self._transport)


async def serve(certificate: str | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    there: set[asyncio.Transport] = set()
    talk, loop = load_talk(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Droppable(talk, there), "127.0.0.1", 0, ssl=context, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)

    def drop() -> None:
        for transport in list(there):
            transport.abort()

    def obey() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(drop)
        loop.call_soon_threadsafe(done.set)

    done = asyncio.Event()
    threading.Thread(target=obey, daemon=True).start()
    await done.wait()


@contextmanager
def serving(tls: bool, usual: bytes) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "benchmarks.herd", "--serve"]
    with tempfile.TemporaryDirectory() as folder:
        if tls:
            authority, trusted = trustme.CA(), Path(folder, "trusted.pem")
            trusted.write_bytes(usual)
            authority.cert_pem.write_to_path(str(trusted), append=True)
            os.environ["SSL_CERT_FILE"] = str(trusted)
            certificate = str(Path(folder, "server.pem"))
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
            command += ["--certificate", certificate]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield f"{'wss' if tls else 'ws'}://127.0.0.1:{int(process.stdout.readline())}/v1/listen", process
            finally:
                process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="How long does the loop stand still when many calls connect at once?")
    parser.add_argument("--calls", type=int, nargs="+", default=[60, 150])
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.certificate))
        return
    print("Longest standstill in ms, seconds until all calls are up, and connections in all:\n")
    print("| calls | connecting | up after | between | connecting again | up after | connections |")
    print("|---|---|---|---|---|---|---|")
    authorities = ssl.get_default_verify_paths().cafile
    usual = Path(authorities).read_bytes() if authorities else b""
    for calls in args.calls:
        with serving(not args.plain, usual) as (url, server):
            trio.run(herd, url, calls, server)


if __name__ == "__main__":
    main()
