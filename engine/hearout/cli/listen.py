"""``hearout listen``: a session on the command line."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from hearout.audio import AudioFormat
from hearout.cli.models import add_ear_argument, chosen_ear
from hearout.cli.output import complain, say
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.report import JsonReport, Report, TextReport, live
from hearout.cli.shutdown import Shutdown, run_until_signal
from hearout.cli.tokens import Tee, TokenListing
from hearout.cli.transcribers import add_stt_arguments, chosen, open_transcribers
from hearout.cli.voice import add_vad_argument, chosen_vad
from hearout.ear.base import Ear
from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.plot.picture import check_picture, plot
from hearout.plot.waveform import Waveform
from hearout.session.recording import TraceWriter
from hearout.session.session import open_session
from hearout.sources import AudioSource, paced, stdin_source
from hearout.sources.address import is_web_address, without_secrets
from hearout.sources.encoded import audio_file
from hearout.sources.microphone import Microphone, device_list
from hearout.sources.mono import LISTENS, Likeness, Mono, Peeked
from hearout.sources.side_by_side import SideBySide
from hearout.sources.tapped import Tapped
from hearout.traces.reader import read_trace
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header
from hearout.traces.replayer import replay
from hearout.vad import SpeechGate
from hearout_policies.policy import Policy

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["register"]

#: A source that is open, or will be, for the length of a block.
OpenSource = AbstractAsyncContextManager[AudioSource]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "listen",
        help="listen to audio and print its turns",
        description="Listen to audio and print one line a completed turn: its text, the rule that decided, and how "
        "long after the end of speech.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="an audio file, or two of one channel each, the speakers of one call; an http or https address of a file "
        "or a broadcast; mic, mic:NAME or mic:NUMBER; or - for raw PCM on standard input",
    )
    parser.add_argument(
        "--mono",
        action=argparse.BooleanOptionalAction,
        help="mix the channels of the source (of two files: of each) to one; --no-mono: hear each by itself. By "
        "default a stereo file is heard as one when both channels say the same",
    )
    parser.add_argument("--list-devices", action=_ListDevices, nargs=0, help="list the microphones, and exit")
    add_stt_arguments(parser)
    add_policy_arguments(parser)
    add_vad_argument(parser)
    add_ear_argument(parser)
    parser.add_argument("--json", action="store_true", help="print every event as one line of JSON")
    parser.add_argument(
        "--show-tokens", action="store_true", help="print after each result what is final, and what is not yet"
    )
    parser.add_argument("--record", metavar="TRACE", help="write a trace of the session, for hearout replay")
    parser.add_argument("--redact", action="store_true", help="--record: mask all words")
    parser.add_argument("--plot", metavar="PNG", help="draw the session when it is over, its first 50 minutes")
    parser.add_argument(
        "--speed",
        choices=["1.0", "max"],
        default="1.0",
        help="real time (default), or as fast as the transcriber hears",
    )
    raw = parser.add_argument_group("raw PCM (SOURCE -)")
    raw.add_argument("--encoding", default="linear16", help="linear16 (default), mulaw or alaw")
    raw.add_argument("--sample-rate", type=int, default=16000, metavar="HZ", help="default 16000")
    raw.add_argument("--channels", type=int, default=1, metavar="N", help="interleaved; default 1")
    parser.set_defaults(run=_run)


class _ListDevices(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say(*device_list().split("\n"))
        parser.exit()


def _run(args: argparse.Namespace) -> int:
    if args.redact and not args.record:
        raise UsageError("--redact masks the words of a trace: name the trace with --record")
    if args.json and args.show_tokens:
        raise UsageError("--show-tokens prints lines of its own, which are no JSON: leave out --json")
    policy = chosen_policy(args)
    vad = chosen_vad(args)
    ear = chosen_ear(args)
    if len(args.source) > 2:
        raise UsageError(f"{len(args.source)} sources: there is one, or two files of one channel each")
    source = _source(args)
    _check_outputs(args)
    with _trace_path(args) as trace:
        waveforms: list[Waveform] = []
        status = trio.run(run_until_signal, partial(_listen, args, source, policy, vad, ear, trace, waveforms))
        if args.plot and not status:
            assert trace is not None
            recorded = read_trace(trace, None if args.stt == "local" else chosen(args.stt).dialect)
            for picture in plot(recorded, replay(recorded), args.plot, waveform=waveforms[0], cut=True):
                complain(f"wrote {picture}")
    return status


def _check_outputs(args: argparse.Namespace) -> None:
    """Before the session and not after it: could the files be written, and would they overwrite the audio?"""
    overwrites = [
        name
        for name in args.source
        if args.record and os.path.exists(name) and os.path.exists(args.record) and os.path.samefile(args.record, name)
    ]
    if overwrites:
        raise UsageError(f"--record {args.record}: that is the audio; name another file for the trace")
    if args.plot:
        check_picture(args.plot)
        folder = os.path.dirname(args.plot) or "."
        if not os.path.isdir(folder):
            raise UsageError(f"--plot {args.plot}: there is no directory {folder}")
        if not os.access(args.plot if os.path.exists(args.plot) else folder, os.W_OK) or os.path.isdir(args.plot):
            raise UsageError(f"--plot {args.plot}: cannot be written; name another file for the picture")


async def _listen(
    args: argparse.Namespace,
    opened: OpenSource,
    policy: Policy,
    vad: Callable[[int], SpeechGate],
    ear: Ear | None,
    trace: Path | None,
    waveforms: list[Waveform],
    shutdown: Shutdown,
) -> int:
    """One session; its exit status. A trace that broke off is a failure, but only of the trace: the turns are told.

    ``waveforms`` gets what `plot` is to draw of the audio.
    """
    realtime = args.speed != "max"
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(opened)
        transcribers = await stack.enter_async_context(open_transcribers(args))
        transcriber = transcribers(source)
        writers: list[TraceWriter] = []
        recorder: Recorder | None = None
        if trace is not None:
            header = Header(
                transcriber.name, source.channels, True, policy.to_dict(), f"hearout listen {_named(args.source)}"
            )
            recorder = stack.enter_context(Recorder(trace, header, redact=args.redact))
            writers.append(recorder)
        if args.show_tokens:
            writers.append(TokenListing(transcribers(source)))
        console = _console(args)
        report: Report = (
            JsonReport() if args.json else TextReport(source.channels, console if sys.stdout.isatty() else None)
        )
        # A microphone sets the pace itself.
        audio = source if _is_microphone(args.source[0]) or not realtime else paced(source)
        if args.plot:
            waveforms.append(Waveform(source.sample_rate, source.channels))
            audio = Tapped(audio, waveforms[0].feed)
        session = await stack.enter_async_context(
            open_session(
                shutdown.of(audio),
                transcriber,
                policy=policy,
                vad=vad,
                ear=ear,
                recorder=Tee(writers) if writers else None,
                realtime=realtime,
            )
        )
        shutdown.force_end = session.force_end
        with live(session, report, console, source.duration) if console else nullcontext():
            async for event in session:
                report.show(event)
        if not shutdown.applied:
            report.finish()
        return 1 if recorder is not None and recorder.failed else 0


def _source(args: argparse.Namespace) -> OpenSource:
    """Files and devices are opened at once, so that what is wrong with them shows before anything else happens."""
    if len(args.source) > 1:
        return nullcontext(SideBySide([_recording(name, args.mono) for name in args.source]))
    (source,) = args.source
    if source == "-":
        stdin = stdin_source(AudioFormat(args.encoding, args.sample_rate, args.channels))
        return nullcontext(Mono(stdin) if args.mono else stdin)
    if _is_microphone(source):
        if args.speed == "max":
            raise UsageError("--speed max: a microphone is heard as it is spoken to")
        device = source.removeprefix("mic").removeprefix(":")
        return aclosing(Microphone(int(device) if device.isdecimal() else device or None))
    if is_web_address(source):
        with needs_extra("http", "listening to the web"):
            from hearout.sources.http import http_source
        return _mixed(http_source(source)) if args.mono else http_source(source)
    file = audio_file(source)
    if file.channels == 2 and args.mono is not False:
        return _once(source, file, told=bool(args.mono))
    return nullcontext(Mono(file) if args.mono else file)


@asynccontextmanager
async def _once(name: str, file: AudioSource, *, told: bool) -> AsyncIterator[AudioSource]:
    """A stereo file; one voice on both channels becomes one, as all do when that was ``told``.

    Of one voice one channel is heard: in the mean a channel that is late or upside down takes away from the other.
    """
    peeked = Peeked(file)
    alike = Likeness.of(await peeked.peek(LISTENS), file.sample_rate)
    if alike.same and not told:
        same = f"{name}: both channels say the same (correlation {alike.correlation:.2f})"
        if alike.one_voice:
            complain(f"{same} and are heard as one; --no-mono hears each")
        else:
            complain(f"{same}, {alike.apart:.1f} dB apart, and are heard as two; --mono hears one")
    yield Mono(peeked, 0) if alike.one_voice else Mono(peeked) if told else peeked


@asynccontextmanager
async def _mixed(opened: OpenSource) -> AsyncIterator[AudioSource]:
    async with opened as source:
        yield Mono(source)


def _recording(name: str, mono: bool | None) -> AudioSource:
    """One of several: a file of one channel, or made one."""
    if name == "-" or _is_microphone(name) or is_web_address(name):
        raise UsageError(f"{without_secrets(name)}: two sources are two files, the speakers of one call; give it alone")
    file = audio_file(name)
    if file.channels != 1 and not mono:
        raise UsageError(
            f"{name}: it has {file.channels} channels; of two files each has one; give it alone, or mix it with --mono"
        )
    return Mono(file) if mono else file


def _is_microphone(source: str) -> bool:
    return source == "mic" or source.startswith("mic:")


def _named(sources: Sequence[str]) -> str:
    return " ".join(without_secrets(source) if is_web_address(source) else source for source in sources)


@contextmanager
def _trace_path(args: argparse.Namespace) -> Iterator[Path | None]:
    with ExitStack() as stack:
        if args.record:
            yield Path(args.record)
        elif args.plot:
            yield Path(stack.enter_context(tempfile.TemporaryDirectory())) / "trace.jsonl"
        else:
            yield None


def _console(args: argparse.Namespace) -> Console | None:
    """The terminal that a live line can be shown on, if there is one."""
    if args.show_tokens:  # shows the same, at length
        return None
    stream = sys.stdout if sys.stdout.isatty() else sys.stderr
    if not stream.isatty() or (args.json and stream is sys.stdout):  # JSON lines move fast enough by themselves
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None  # turns are printed all the same
    return Console(file=stream)
