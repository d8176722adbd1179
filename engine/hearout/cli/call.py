"""``hearout call``: a recording as a telephone call, to any bot that takes Twilio's."""

from __future__ import annotations

import argparse
import os
import wave
from functools import partial

import trio

from hearout.caller.line import Call
from hearout.cli.output import complain, say
from hearout.errors import UsageError
from hearout.sources.encoded import audio_file
from hearout.sources.twilio_messages import SAMPLE_RATE

__all__ = ["register"]

#: The environment variable for the token that requests are signed with.
TOKEN_VARIABLE = "TWILIO_AUTH_TOKEN"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "call",
        help="play a recording to a bot, as a Twilio call",
        description="Play a recording as the caller of a Twilio Media Streams call, in real time, to any bot that "
        f"takes such calls, and print when it speaks. With {TOKEN_VARIABLE} set the request is signed as Twilio's are.",
    )
    parser.add_argument("file", metavar="FILE", help="an audio file of one channel: what the caller says")
    parser.add_argument("--url", required=True, help="of the bot, ws://HOST:PORT/... or wss://...")
    parser.add_argument("-o", "--output", metavar="WAV", help="write what the caller hears of the bot")
    parser.add_argument(
        "--wait", type=float, default=5.0, metavar="S", help="hang up after so much silence of both (default 5.0)"
    )
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="as the TwiML's <Parameter>; repeatable"
    )
    parser.add_argument(
        "--stream-url", default="", help="sign for this address, as in the TwiML (default: that of --url)"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if not 0 <= args.wait <= 3600:
        raise UsageError(f"--wait {args.wait:g}: it must be 0 to 3600 seconds")
    if args.output and not os.path.isdir(folder := os.path.dirname(args.output) or "."):
        raise UsageError(f"-o {args.output}: there is no directory {folder}")
    parameters = dict(_pair(one) for one in args.parameter)
    token = os.environ.get(TOKEN_VARIABLE, "")
    call = Call(args.url, _tell, parameters=parameters, token=token, signed_url=args.stream_url)
    source = audio_file(args.file)
    if source.channels != 1:
        raise UsageError(f"{args.file}: it has {source.channels} channels, and a caller is one")
    try:
        trio.run(partial(call.play, source, args.wait))
    finally:
        if args.output and call.lasted:
            _write(args.output, call)
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--parameter {text}: it must be NAME=VALUE")
    return name, value


def _tell(at: float, what: str) -> None:
    say(f"{at:7.2f} s  {what}")


def _write(path: str, call: Call) -> None:
    try:
        with open(path, "wb") as file, wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(SAMPLE_RATE)
            wav.writeframes(call.playback.heard(call.lasted))
    except OSError as error:
        raise UsageError(f"-o {path}: {error.strerror}") from None
    complain(f"wrote {path}")
