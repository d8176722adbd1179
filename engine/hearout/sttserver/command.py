"""``hearout stt-server``: its arguments, and the server from start to stop."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import trio

from hearout.errors import UsageError
from hearout.serving import address_of, is_loopback
from hearout.serving.listening import listen
from hearout.serving.signals import ending_signals
from hearout.sttserver.local import TOKEN_VARIABLE
from hearout.sttserver.protocols import PROTOCOLS, REFUSALS
from hearout.sttserver.recogniser.pool import RecogniserPool, well_served
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.traces.reader import read_trace

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = (
    "A speech recogniser on this machine that speaks the live protocols of Deepgram (versions 1 and 2, Flux), Soniox, "
    "OpenAI, AssemblyAI and ElevenLabs, each at its path."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hearout stt-server``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="0: one that is free (default: %(default)s)")
    parser.add_argument(
        "--token",
        help=f"the key clients must send; required when HOST is not this machine alone. Better put it into "
        f"{TOKEN_VARIABLE}: a command line is seen by every user of the machine",
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=well_served(),
        metavar="N",
        help="at the same time, the rest is refused; each channel of its own counts (default: 6 for each core of the "
        "machine, here %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="another Whisper for CTranslate2, a path or the name of a folder beside whisper-tiny-en (the default), "
        "where hearout models list shows it",
    )
    parser.add_argument(
        "--language", default="en", help="that a model of several languages hears (default: %(default)s)"
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="serve this one only (default: that of the script, or each at its path: "
        f"{', '.join(f'{name} {protocol.path}' for name, protocol in PROTOCOLS.items())})",
    )
    parser.add_argument("--script", type=Path, metavar="TRACE", help="answer with this trace, not with a recogniser")
    parser.add_argument(
        "--refuse", type=int, metavar="STATUS", choices=REFUSALS, help="refuse every handshake with this HTTP status"
    )
    parser.add_argument(
        "--idle-timeout", type=_seconds, metavar="SECONDS", help="send quiet clients away (default: as the provider)"
    )
    # For a parent process: its pipe to our stdin closes however it dies.
    parser.add_argument("--until-eof", action="store_true", help=argparse.SUPPRESS)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, more than 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; returns the exit status."""
    args.token = args.token or os.environ.get(TOKEN_VARIABLE) or None
    try:
        error = trio.run(_main, args)
    except KeyboardInterrupt:  # before or after the time in which we listen for signals
        error = None
    if error is None:
        return 0
    print(f"hearout stt-server: {error}", file=sys.stderr, flush=True)
    return 2 if isinstance(error, UsageError) else 1


async def _main(args: argparse.Namespace) -> Exception | None:
    """Serve until told to stop; returns what made that impossible."""
    if args.connections < 1:
        return UsageError(f"--connections {args.connections}: there must be at least 1")
    if not is_loopback(args.host) and not args.token:
        return UsageError(f"--host {args.host} can be reached from other machines: set {TOKEN_VARIABLE} or --token")
    async with trio.open_nursery() as nursery:
        pool = RecogniserPool.of_whisper(args.model, language=args.language)
        listeners: list[trio.SocketListener] = []
        try:
            script = None if args.script is None else Script(read_trace(args.script))
            server = SttServer(
                pool,
                protocols={args.protocol: PROTOCOLS[args.protocol]} if args.protocol else None,
                token=args.token,
                script=script,
                refuse=args.refuse,
                idle_timeout=args.idle_timeout,
                connections=args.connections,
            )
            listeners = await listen(args.port, args.host)
            if script is None and args.refuse is None:
                await pool.warm_up()
        except UsageError as error:
            for listener in listeners:
                await listener.aclose()
            nursery.cancel_scope.cancel()
            return error
        with trio.open_signal_receiver(*ending_signals()) as signals:
            nursery.start_soon(trio.serve_listeners, server.serve, listeners)
            if args.until_eof:
                nursery.start_soon(_cancel_at_eof, nursery.cancel_scope)
            if len(server.paths) > 1:
                print(f"other protocols at {', '.join(server.paths[1:])}", file=sys.stderr, flush=True)
            print(f"listening on ws://{address_of(listeners[0])}{server.paths[0]}", flush=True)
            async for _ in signals:
                # Who looks after services sends a signal to each process. Our parent has last words to ask for.
                if not args.until_eof:
                    nursery.cancel_scope.cancel()
    return None


async def _cancel_at_eof(scope: trio.CancelScope) -> None:
    # Not through sys.stdin: its lock, held by the thread that is abandoned here, would abort the interpreter's exit.
    while await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 4096, abandon_on_cancel=True):
        pass
    scope.cancel()
