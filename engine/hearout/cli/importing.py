"""``hearout import``: recordings and logs of others as traces."""

from __future__ import annotations

import argparse
import codecs
import os
import tempfile
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from hearout.cli.output import complain
from hearout.cli.shutdown import Shutdown, run_until_signal
from hearout.errors import UsageError
from hearout.session.session import open_session
from hearout.sources.encoded import audio_file
from hearout.sttserver.local import local_server
from hearout.traces.logs import deepgram_log
from hearout.traces.reader import read_trace
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header
from hearout.traces.sides import caller_side
from hearout.transcribers.deepgram import Deepgram
from hearout.vad import webrtc_gate
from hearout_policies.policy import preset

__all__ = ["register"]


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
    parser.add_argument("-o", "--output", required=True, metavar="TRACE", help="the trace to write")
    parser.add_argument(
        "--agent", type=int, choices=[0, 1], default=1, help="the channel on which the agent speaks (default 1, right)"
    )
    parser.add_argument(
        "--replies",
        action="store_true",
        help="take the agent's beginning to speak for the end of the caller's turn, of which a recording does not "
        "tell; delays then have in them what the agent took to answer",
    )
    parser.add_argument("--redact", action="store_true", help="mask all words")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if os.path.exists(args.output) and os.path.exists(args.source) and os.path.samefile(args.output, args.source):
        raise UsageError(f"--output {args.output}: that is the source; name another file")
    header, lines = _lines(args)
    with Recorder(args.output, header, redact=args.redact) as recorder:
        for line in lines:
            recorder.write(line)
    complain(f"wrote {args.output}: {len(lines)} lines")
    return 0


def _lines(args: argparse.Namespace) -> tuple[Header, list[dict[str, Any]]]:
    kind = _kind(args.source)
    if kind == "trace":
        return caller_side(read_trace(args.source), args.agent, replies=args.replies)
    if kind == "audio":
        return _heard(args)
    with ExitStack() as stack:
        file = stack.enter_context(open(args.source, encoding="utf-8-sig", newline="\n"))
        try:
            header, lines = deepgram_log(file, args.source)
        except UnicodeDecodeError:
            raise UsageError(f"{args.source}: not a log: a log is JSON Lines in UTF-8") from None
    return header, lines


def _kind(source: str) -> str:
    try:
        with open(source, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror or error}") from None
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(b"{"):
        if _is_text(head):
            wanted = "it is text, and in a trace or a log of Deepgram's messages each line is a JSON object"
            raise UsageError(f"{source}: neither a recording nor a log: {wanted}")
        return "audio"
    return "trace" if b'"hearout_trace"' in head.split(b"\n")[0] else "log"


def _is_text(head: bytes) -> bool:
    """No audio file is: each has bytes in its head that no text has."""
    return bool(head) and not any(byte < 32 and byte not in b"\t\n\f\r" for byte in head) and _decodes(head)


def _decodes(head: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return True
    return False


def _heard(args: argparse.Namespace) -> tuple[Header, list[dict[str, Any]]]:
    """What the built-in recogniser hears on both channels."""
    source = audio_file(args.source)
    if source.channels != 2:
        raise UsageError(f"{args.source}: it has {source.channels} channel(s): caller and agent need one each")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.jsonl"
        trio.run(run_until_signal, partial(_listen, source, path, f"hearout import {args.source}"))
        return caller_side(read_trace(path), args.agent, replies=args.replies)


async def _listen(source: Any, path: Path, named: str, shutdown: Shutdown) -> int:
    policy = preset("balanced")
    async with local_server() as url:
        transcriber = Deepgram("local", url, source.sample_rate, source.channels)
        header = Header(transcriber.name, source.channels, True, policy.to_dict(), named)
        with Recorder(path, header) as recorder:
            async with open_session(
                shutdown.of(source), transcriber, policy=policy, vad=webrtc_gate, recorder=recorder, realtime=False
            ) as session:
                shutdown.force_end = session.force_end
                async for _ in session:
                    pass
    return 0
