"""``hearout import``: recordings and logs of others as traces."""

from __future__ import annotations

import argparse
import codecs
import gzip
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any

import trio

from hearout.cli.output import complain
from hearout.cli.shutdown import Shutdown, run_until_signal
from hearout.errors import UsageError
from hearout.session.session import open_session
from hearout.sources.base import AudioSource
from hearout.sources.encoded import audio_file
from hearout.sttserver.local import local_server
from hearout.traces.logs import Log, deepgram_log
from hearout.traces.reader import read_trace
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header, Trace
from hearout.traces.sides import caller_side
from hearout.transcribers.deepgram import Deepgram
from hearout.vad import webrtc_gate
from hearout.writing import counted
from hearout_policies.policy import preset

__all__ = ["register"]

_LATE = 1.0  # seconds; no transcriber becomes so slow by itself
_MUCH = 0.05  # of the words on the caller's channel: more of the agent's are worth a line


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "import",
        help="make a trace of a recording of two channels, or of a log of Deepgram's messages",
        description="Make a trace of a call: of a recording with the caller on one channel and the agent on the other, "
        "which the built-in recogniser transcribes; of a trace of such a recording; or of a log of what Deepgram has "
        "sent, one JSON object a line with a time each.",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="an audio file, a trace of two channels, or a log (JSON Lines)"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="TRACE", help="the trace to write, or a folder: for the calls of a log"
    )
    parser.add_argument(
        "--agent",
        type=int,
        choices=[0, 1],
        help="the channel of a recording on which the agent speaks (default 1, right)",
    )
    parser.add_argument(
        "--replies",
        action="store_true",
        help="take the agent's beginning to speak for the end of the caller's turn, of which a recording does not "
        "tell; delays then have in them what the agent took to answer",
    )
    parser.add_argument("--caller", default="", metavar="NAME", help="who called, for the report; no telephone number")
    parser.add_argument("--redact", action="store_true", help="mask all words")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    kind = _kind(args.source)
    if kind == "log":
        if args.replies or args.agent is not None:
            raise UsageError(f"{args.source} is a log: --agent and --replies are for recordings")
        return _import_log(args)
    target = _target(args, "")
    trace = read_trace(args.source) if kind == "trace" else _heard(args)
    agent = 1 if args.agent is None else args.agent
    side = caller_side(trace, agent, replies=args.replies)
    _write(args, target, replace(side.header, caller=args.caller or side.header.caller), side.lines)
    if not any("agent" in line for line in side.lines):
        complain(f"{args.source}: no voice on channel {agent}, the agent's: --agent {1 - agent} if it is the other one")
    elif not side.words:
        complain(f"{args.source}: no word on channel {1 - agent}, the caller's: --agent {1 - agent} if it is the other")
    elif side.echo > _MUCH * side.words:
        spoilt = f"{side.echo} of the {side.words} words on the caller's channel are the agent's"
        complain(f"{args.source}: {spoilt}: what is said of turns in it is not to be relied on")
    return 0


def _import_log(args: argparse.Namespace) -> int:
    log = _log(args.source)
    if len(log.calls) > 1 and not _is_folder(args.output):
        wanted = f"name a folder for their traces, -o {Path(args.output).stem}/"
        raise UsageError(f"{args.source}: {len(log.calls)} calls are in it: {wanted}")
    for number, call in enumerate(log.calls, 1):
        target = _target(args, f"-{number:0{len(str(len(log.calls)))}}" if len(log.calls) > 1 else "")
        header = call.header(f"a log, {args.source}", args.caller)
        again = f"; its connection was made again: {call.again}" if call.again else ""
        _write(args, target, header, call.records(), again)
        if call.held_back > _LATE:
            why = "audio was held back (a caller muted?), or the connection was slow"
            complain(
                f"{target}: the last results come {call.held_back:.1f} s later than others: {why}: delays are too long"
            )
    if silent := sum(not call.tells_of_agent for call in log.calls):
        where = "in it" if silent == len(log.calls) else f"in {silent} of {len(log.calls)} calls"
        remedy = 'add lines {"ts": ..., "agent": "started"} and "stopped", or have the agent in a second channel'
        complain(f"{args.source}: nothing {where} tells when the agent spoke, and `hearout report` needs it: {remedy}")
    for left_out in log.skipped:
        complain(f"skipped: {args.source}: {left_out}")
    return 0


def _write(
    args: argparse.Namespace, target: str, header: Header, lines: Iterable[dict[str, Any]], more: str = ""
) -> None:
    written = 0
    with Recorder(target, header, redact=args.redact) as recorder:
        for line in lines:
            recorder.write(line)
            written += 1
    complain(f"wrote {target}: {written} lines{more}")


def _is_folder(output: str) -> bool:
    return output.endswith(os.sep) or os.path.isdir(output)


def _target(args: argparse.Namespace, number: str) -> str:
    """The file to write."""
    target: str = args.output
    if _is_folder(target):
        try:
            if not os.path.isdir(target):
                os.mkdir(target, 0o700)
        except OSError as error:
            raise UsageError(f"-o {target}: cannot be made: {error.strerror or error}") from None
        stem = Path(args.source).name.removesuffix(".gz").rpartition(".")
        target = os.path.join(target, f"{stem[0] or stem[2]}{number}.jsonl")
    if os.path.exists(target) and os.path.samefile(target, args.source):
        raise UsageError(f"--output {args.output}: that is the source; name another file")
    return target


def _log(source: str) -> Log:
    try:
        # What is no UTF-8 is no JSON either: a line that cannot be read.
        with _opened(source) as file, TextIOWrapper(file, "utf-8-sig", "replace", newline="\n") as lines:
            return deepgram_log(lines, source)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{source}: it cannot be unpacked: {error}") from None


def _opened(source: str) -> gzip.GzipFile | BufferedReader:
    """A file, unpacked if it is packed (gzip)."""
    with open(source, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(source) if packed else open(source, "rb")


def _kind(source: str) -> str:
    if os.path.exists(source) and not os.path.isdir(source) and not os.path.isfile(source):
        raise UsageError(f"{source}: not a regular file: write it to one first")
    try:
        with _opened(source) as file:
            head = file.read(4096)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not (head.startswith(b"{") or _is_text(head)):
        return "audio"
    return "trace" if head.startswith(b"{") and b'"hearout_trace"' in head.split(b"\n")[0] else "log"


def _is_text(head: bytes) -> bool:
    """No audio file is: each has bytes in its head that no text has."""
    return bool(head) and not any(byte < 32 and byte not in b"\t\n\f\r" for byte in head) and _decodes(head)


def _decodes(head: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return True
    return False


def _heard(args: argparse.Namespace) -> Trace:
    """What the built-in recogniser hears on both channels."""
    source = audio_file(args.source)
    if source.channels != 2:
        raise UsageError(f"{args.source}: {counted(source.channels, 'channel')}: caller and agent need one each")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.jsonl"
        if status := trio.run(run_until_signal, partial(_listen, source, path, f"hearout import {args.source}")):
            sys.exit(status)  # half a call would look like a whole one
        return replace(read_trace(path), name=args.source)


async def _listen(source: AudioSource, path: Path, named: str, _shutdown: Shutdown) -> int:
    policy = preset("balanced")
    async with local_server() as url:
        transcriber = Deepgram("local", url, source.sample_rate, source.channels)
        header = Header(transcriber.name, source.channels, True, policy.to_dict(), named)
        with Recorder(path, header) as recorder:
            async with open_session(
                source, transcriber, policy=policy, vad=webrtc_gate, recorder=recorder, realtime=False
            ) as session:
                async for _ in session:
                    pass
    return 0
