"""``turnwise doctor``: does the transcriber's service behave as turnwise assumes? One line a check."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import trio

from turnwise.doctor_checks import Finding
from turnwise.doctor_examine import Recording, examine, on_this_machine, read_recording
from turnwise.errors import UsageError
from turnwise.transcribers.deepgram import Deepgram

__all__ = ["register"]

_SAMPLE = Path(__file__).parents[2] / "samples" / "order.flac"  # in a checkout, not in the wheel


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "doctor",
        help="check that a transcriber behaves as turnwise assumes",
        description="Play a short recording to the transcriber and report, one line a check, what differs from what "
        "turnwise assumes of it. Takes some ten seconds longer than the recording; the service may charge for it. "
        "Exit status: 0 all as assumed, 1 something differs, 2 bad usage.",
    )
    parser.add_argument("--stt", choices=["deepgram"], default="deepgram", help="key in DEEPGRAM_API_KEY")
    parser.add_argument("--url", help="the endpoint, if not the usual one (ws://127.0.0.1:8765/v1/listen)")
    parser.add_argument("--sample", metavar="FILE", help="speech, a sentence or more; the first 30 s are played")
    parser.add_argument("--slow", action="store_true", help="also wait 15 s for KeepAlive to keep a connection open")
    parser.add_argument("--json", action="store_true", help="print every finding as one line of JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.sample is None and not _SAMPLE.exists():
        raise UsageError("doctor: name a short recording of speech with --sample")
    return trio.run(_examine_all, args)


async def _examine_all(args: argparse.Namespace) -> int:
    recording = await read_recording(args.sample or _SAMPLE)
    different: list[Finding] = []

    def report(finding: Finding) -> None:
        if finding.verdict == "differs":
            different.append(finding)
        if args.json:
            line = {"check": finding.check, "verdict": finding.verdict, "detail": finding.detail}
            print(json.dumps(line | {k: round(v, 3) for k, v in finding.figures.items()}), flush=True)
        else:
            print(f"{finding.verdict:8} {finding.check:16} {finding.detail}", flush=True)

    await examine(_dialect(args.url, recording), recording, report, slow=args.slow)
    return 1 if different else 0


def _dialect(url: str | None, recording: Recording) -> Deepgram:
    # The key is in no variable, so that no traceback with locals shows it.
    dialect = Deepgram(
        os.environ.get("DEEPGRAM_API_KEY") or "any-key",
        sample_rate=recording.sample_rate,
        channels=recording.channels,
    )
    if url is not None:
        dialect = replace(dialect, url=url)
    if not os.environ.get("DEEPGRAM_API_KEY") and not on_this_machine(dialect):
        raise UsageError("no key for Deepgram: put it into the environment variable DEEPGRAM_API_KEY")
    return dialect
