"""``hearout serve``: audio in and turn events out over a websocket, for programs in any language."""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import trio

from hearout.cli.conversation import converse
from hearout.cli.models import add_ear_argument, chosen_ear
from hearout.cli.output import complain, say
from hearout.cli.page import page_settings
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.transcribers import add_stt_arguments, open_transcribers
from hearout.cli.voice import add_vad_argument, chosen_vad
from hearout.errors import UsageError
from hearout.nursery import open_background
from hearout.page.files import pages
from hearout.serving import Authorise, Limits, Pages, address_of, bearer_token, is_loopback, serve_websockets
from hearout.sources.websocket import websocket_server

__all__ = ["register"]

#: The environment variable for what ``--token`` says.
TOKEN_VARIABLE = "HEAROUT_TOKEN"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "serve",
        help="take audio and give turns over a websocket",
        description="A websocket server, for programs in any language: a JSON header and PCM in, every event out as "
        "one JSON message. A session for each connection.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8766, help="0: one that is free (default: %(default)s)")
    parser.add_argument(
        "--token",
        help=f"what clients must send as Authorization: Bearer TOKEN; required when HOST is not this machine. Better "
        f"put it into {TOKEN_VARIABLE}: a command line is seen by every user of the machine",
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=20,
        metavar="N",
        help="at the same time, the rest is refused (default: %(default)s)",
    )
    parser.add_argument(
        "--page", action="store_true", help="serve a page to speak into, too; open the address that is printed"
    )
    add_stt_arguments(parser)
    add_policy_arguments(parser)
    add_vad_argument(parser)
    add_ear_argument(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.connections < 1:
        raise UsageError(f"--connections {args.connections}: there must be at least 1")
    token = args.token or os.environ.get(TOKEN_VARIABLE)
    if not token and not is_loopback(args.host):
        raise UsageError(
            f"--host {args.host} can be reached from other machines: set {TOKEN_VARIABLE}, or give --token"
        )
    policy = chosen_policy(args)
    files = pages(page_settings(args.stt, policy, args.vad, token=bool(token))) if args.page else None
    gc.set_threshold(20_000)  # at Python's 700 it takes an eighth of all time where there are hundreds of calls
    sessions = partial(converse, policy=policy, ear=chosen_ear(args), vad=chosen_vad(args))
    trio.run(_serve, args, sessions, bearer_token(token) if token else None, files)
    return 0


async def _serve(
    args: argparse.Namespace,
    sessions: Callable[..., Awaitable[None]],
    authorise: Authorise | None,
    files: Pages | None,
) -> None:
    """Until SIGINT or SIGTERM."""
    async with AsyncExitStack() as stack:
        transcribers = await stack.enter_async_context(open_transcribers(args))
        server = websocket_server(
            partial(sessions, transcribers=transcribers),
            authorise=authorise,
            limits=Limits(connections=args.connections),
            pages=files,
        )
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            nursery = await stack.enter_async_context(open_background())
            serve = partial(serve_websockets, host=args.host)
            (listener, *_) = await nursery.start(serve, server, args.port)
            address = address_of(listener)
            say(f"listening on ws://{address}")
            if files is not None:
                here = re.sub(r"^(0\.0\.0\.0|\[::\])", "localhost", address)  # a microphone is given to no other name
                token = ", and give it the token" if authorise else ""
                say(f"open http://{here}/ in a browser{token}")
            await anext(signals)
    complain("hearout: terminated")
