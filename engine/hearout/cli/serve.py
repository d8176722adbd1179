"""``hearout serve``: audio in and turn events out over a websocket, for programs in any language."""

from __future__ import annotations

import argparse
import gc
import math
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import trio

from hearout.cli.conversation import converse
from hearout.cli.counting import Counting
from hearout.cli.logs import add_log_arguments, begin_logging
from hearout.cli.models import add_ear_argument, chosen_ear
from hearout.cli.output import complain, say
from hearout.cli.page import page_settings
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.transcribers import add_stt_arguments, open_transcribers
from hearout.cli.voice import add_vad_argument, chosen_vad
from hearout.cli.workers import Workers, end_of_supervisor
from hearout.errors import UsageError
from hearout.nursery import open_background
from hearout.page.files import pages
from hearout.serving import (
    GRACE,
    Authorise,
    Limits,
    Pages,
    WebSocketServer,
    address_of,
    bearer_token,
    is_loopback,
    serve_websockets,
)
from hearout.serving.listening import listen
from hearout.sources.websocket import websocket_server

__all__ = ["register"]

#: What the environment variables of all options begin with.
VARIABLES = "HEAROUT_SERVE"

#: The environment variable for what ``--token`` says.
TOKEN_VARIABLE = "HEAROUT_TOKEN"

#: Sessions of the built-in recogniser: six a core are well served (docs/stt-server.md), on a machine with two.
LOCAL_CALLS = 12

#: More than one has no use, and memory for few: so that a slip of the hand does not end the machine.
WORKERS_A_CORE = 4

_USUAL = Limits()


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "serve",
        variables=VARIABLES,
        help="take audio and give turns over a websocket",
        description="A websocket server, for programs in any language: a JSON header and PCM in, every event out as "
        "one JSON message. A session for each connection.",
        epilog=f"Every option may come from the environment instead: --port is {VARIABLES}_PORT, and so on.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8766, help="0: one that is free (default: %(default)s)")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes, one for each core that calls may have (default: %(default)s)",
    )
    parser.add_argument(
        "--fd",
        type=int,
        metavar="NUMBER",
        help="listen on this file descriptor, which --workers or systemd has opened on HOST, and not on a port",
    )
    parser.add_argument(
        "--token",
        help=f"what clients must send as Authorization: Bearer TOKEN; required when HOST is not this machine. Better "
        f"put it into {TOKEN_VARIABLE}: a command line is seen by every user of the machine",
    )
    parser.add_argument(
        "--calls",
        type=int,
        metavar="N",
        help="most sessions at the same time, the rest is refused with 503 (default: as many as there is time for, see "
        f"--busy; with --stt local {LOCAL_CALLS})",
    )
    parser.add_argument(
        "--busy",
        type=float,
        default=_USUAL.busy,
        metavar="SHARE",
        help="that the process may take of the time that the machine gives it: whose session would make it more is "
        "refused with 503 (default: %(default)s; 2: nobody is)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=GRACE,
        metavar="S",
        help="seconds for the last words of open sessions after SIGTERM, SIGINT or SIGHUP; a second one ends at once "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--page", action="store_true", help="serve a page to speak into, too; open the address that is printed"
    )
    add_stt_arguments(parser)
    add_policy_arguments(parser)
    add_vad_argument(parser)
    add_ear_argument(parser)
    add_log_arguments(parser)
    parser.add_argument("--until-eof", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    begin_logging(args)
    if args.calls is not None and args.calls < 1:
        raise UsageError(f"--calls {args.calls}: there must be at least 1")
    most = WORKERS_A_CORE * (os.cpu_count() or 1)
    if not 1 <= args.workers <= most:
        raise UsageError(f"--workers {args.workers}: give 1 to {most}, {WORKERS_A_CORE} for each core of this machine")
    if not 0 < args.busy < float("inf"):
        raise UsageError(f"--busy {args.busy:g}: give a share, such as {_USUAL.busy}")
    if not 0 < args.grace < float("inf"):
        raise UsageError(f"--grace {args.grace:g}: give seconds, more than 0")
    token = args.token or os.environ.get(TOKEN_VARIABLE)
    if not token and not is_loopback(args.host):
        raise UsageError(
            f"--host {args.host} can be reached from other machines: set {TOKEN_VARIABLE}, or give --token"
        )
    if args.workers > 1:
        return trio.run(_serve_with_workers, args, bool(token))
    policy = chosen_policy(args)
    files = pages(page_settings(args.stt, policy, args.vad, token=bool(token))) if args.page else {}
    gc.set_threshold(20_000)  # at Python's 700 it takes an eighth of all time where there are hundreds of calls
    sessions = partial(converse, policy=policy, ear=chosen_ear(args), vad=chosen_vad(args))
    trio.run(_serve, args, sessions, bearer_token(token) if token else None, files)
    return 0


def _limits(args: argparse.Namespace) -> Limits:
    calls = args.calls or (LOCAL_CALLS if args.stt == "local" else sys.maxsize)
    if args.busy > 1:
        return Limits(connections=calls, busy=math.inf, lag=math.inf)
    return Limits(connections=calls, busy=args.busy)


async def _serve_with_workers(args: argparse.Namespace, token: bool) -> int:
    if os.name == "nt":
        raise UsageError(f"--workers {args.workers}: Windows hands on no sockets; start {args.workers} servers")
    if args.fd is not None:
        raise UsageError(f"--fd {args.fd}: a process that has workers opens the socket itself; leave out one of them")
    (listener, *_) = await listen(args.port, args.host)
    async with listener:
        command = [sys.executable, "-m", "hearout", "serve", *args.arguments, "--workers", "1", "--until-eof"]
        announce = partial(_announce, args, address_of(listener), token=token)
        status = await Workers(command, args.workers, listener.socket.fileno(), announce).run()
    if status == 0:
        complain("hearout: stopped", "info")
    return status


def _inherited(number: int) -> socket.socket:
    try:
        inherited = socket.socket(fileno=number)
        if inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            inherited.setblocking(False)
            return inherited
    except (OSError, ValueError, OverflowError):  # the last two: no number that one could be
        pass
    raise UsageError(f"--fd {number}: that is no socket that listens")


async def _serve(
    args: argparse.Namespace,
    sessions: Callable[..., Awaitable[None]],
    authorise: Authorise | None,
    files: Pages,
) -> None:
    """Until it is told to end."""
    async with AsyncExitStack() as stack:
        transcribers = await stack.enter_async_context(open_transcribers(args))
        counting = Counting(authorise)
        server = websocket_server(
            partial(sessions, transcribers=transcribers, metrics=counting.sessions),
            authorise=authorise,
            limits=_limits(args),
            pages={"/metrics": counting.page, **files},
        )
        async with open_background() as background, trio.open_nursery() as nursery:
            serve = partial(serve_websockets, host=args.host, grace=args.grace)
            port = args.port if args.fd is None else _inherited(args.fd)
            (listener, *_) = await nursery.start(serve, server, port)
            if args.until_eof:
                background.start_soon(_drain_with_supervisor, server, args.grace, nursery.cancel_scope)
            background.start_soon(counting.watch, server)
            _announce(args, address_of(listener), token=authorise is not None)
    if not args.until_eof:  # a worker's end is told by who looks after it
        complain("hearout: stopped", "info")


async def _drain_with_supervisor(server: WebSocketServer, grace: float, scope: trio.CancelScope) -> None:
    await end_of_supervisor()
    await server.drain(grace)
    scope.cancel()


def _announce(args: argparse.Namespace, address: str, *, token: bool) -> None:
    say(f"listening on ws://{address}" + (f" with {args.workers} workers" if args.workers > 1 else ""))
    if args.page:
        here = re.sub(r"^(0\.0\.0\.0|\[::\])", "localhost", address)  # a microphone is given to no other name
        say(f"open http://{here}/ in a browser{', and give it the token' if token else ''}")
