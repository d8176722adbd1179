"""``hearout replay`` and ``hearout plot``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from hearout.cli.output import complain, print_table, say
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.transcribers import add_own_argument, chosen_own
from hearout.errors import UsageError
from hearout.plot.picture import plot
from hearout.traces.checker import check
from hearout.traces.explainer import explain
from hearout.traces.reader import read_trace
from hearout.traces.records import Trace
from hearout.traces.replayer import Replayed, recorded_policy, replay
from hearout.writing import counted, printable
from hearout_policies.events import TurnCompleted, as_dict
from hearout_policies.policy import Policy

__all__ = ["register"]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands; each parser's ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "replay", help="run recorded sessions again, in virtual time", description=_REPLAY_TEXT
    )
    parser.add_argument("traces", nargs="+", metavar="TRACE", help="a trace (JSON Lines)")
    add_own_argument(parser)
    add_policy_arguments(parser, default=None)
    parser.add_argument("--check", action="store_true", help="compare with what each trace expects")
    parser.add_argument("--json", action="store_true", help="one JSON object an event (--check: a trace)")
    parser.add_argument("--explain", action="store_true", help="say why and when each turn was completed")
    parser.set_defaults(run=_run_replay)

    parser = subparsers.add_parser("plot", help="draw a recorded session", description=_PLOT_TEXT)
    parser.add_argument("trace", metavar="TRACE", help="a trace (JSON Lines)")
    parser.add_argument("-o", "--output", required=True, metavar="PNG", help="the picture to write")
    parser.add_argument("--from", dest="start", type=_seconds, metavar="S", help="begin at S seconds")
    parser.add_argument("--to", dest="stop", type=_seconds, metavar="S", help="end at S seconds")
    add_own_argument(parser)
    add_policy_arguments(parser, default=None)
    parser.set_defaults(run=_run_plot)


_REPLAY_TEXT = """Replay traces without clock or network. With --check: exit status 0 when each trace comes out
as it expects, 1 when one does not."""
_PLOT_TEXT = """Draw a session: voice activity, words, what the transcriber said and when, turns and their latency.
Sessions longer than a page become PNG-1, PNG-2 ..."""


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def _policy(args: argparse.Namespace, trace: Trace) -> Policy:
    return chosen_policy(args, None if args.policy else recorded_policy(trace))


def _run_replay(args: argparse.Namespace) -> int:
    if args.check:
        return _run_check(args)
    status = 0
    own = chosen_own(args)
    for name in args.traces:
        trace = read_trace(name, own)
        policy = _policy(args, trace)
        replayed = replay(trace, policy)
        if len(args.traces) > 1 and not args.json:
            say(f"{name}:")
        for output in replayed.outputs:
            if args.json:
                record = as_dict(output)
                print(json.dumps({"trace": name, **record} if len(args.traces) > 1 else record))
            elif isinstance(output, TurnCompleted):
                say(*(explain(output, policy).split("\n") if args.explain else [_one_line(output)]))
        status = max(status, _complain(replayed, name))
    return status


def _one_line(event: TurnCompleted) -> str:
    latency = event.timings.latency
    after = "" if latency is None else f", {latency * 1000:.0f} ms after the end of speech"
    doubt = "" if event.confirmed else ", not confirmed"
    return f"{event.at:9.3f}  turn {event.turn}  {event.text}  ({event.reason}{after}{doubt})"


def _complain(replayed: Replayed, name: str) -> int:
    for warning in replayed.warnings:
        complain(f"warning: {warning}")
    if replayed.unended is None:
        return 0
    complain(f"error: {name}: {replayed.unended}")
    return 1


@dataclass(frozen=True, slots=True)
class _Row:
    """One trace of the summary. ``differs`` None: the trace could not be read, and why is said elsewhere."""

    trace: str
    turns: int
    result: str
    differs: Sequence[str]

    @property
    def status(self) -> int:
        return {"bad input": 2, "differs": 1}.get(self.result, 0)


def _run_check(args: argparse.Namespace) -> int:
    rows = []
    own = chosen_own(args)
    for name in args.traces:
        try:
            trace = read_trace(name, own)
            policy = _policy(args, trace)
            replayed = replay(trace, policy)
        except UsageError as error:
            if len(args.traces) == 1:
                raise
            rows.append(_Row(name, 0, "bad input", [str(error)]))
            continue
        differs = check(trace, replayed)
        if args.explain and differs:
            completed = (event for event in replayed.outputs if isinstance(event, TurnCompleted))
            differs += [line for event in completed for line in explain(event, policy).split("\n")]
        asks = trace.expect is not None or trace.commands or trace.forbid
        result = "differs" if differs else "holds" if asks else "expects nothing"
        rows.append(_Row(name, len(replayed.of_type("turn_completed")), result, differs))
    if args.json:
        for row in rows:
            fields = {"trace": row.trace, "turns": row.turns, "result": row.result, "differs": row.differs}
            print(json.dumps(fields))
    else:
        _print_rows(rows)
    return max(row.status for row in rows)


def _summary(rows: Sequence[_Row]) -> str:
    """How many hold; those with nothing to hold do not count as such."""
    bad = sum(row.status > 0 for row in rows)
    nothing = sum(row.result == "expects nothing" for row in rows)
    held = len(rows) - nothing - bad
    out = f"{bad} do not hold" if bad else "nothing to check" if not held else "all hold"
    if nothing and (bad or held):
        out += f"; nothing to check in {nothing}"
    hint = '; an "expect" line in a trace says what must come of it' if nothing == len(rows) else ""
    return f"{counted(len(rows), 'trace')}, {out}{hint}"


def _print_rows(rows: Sequence[_Row]) -> None:
    titles = ("trace", "turns", "result", "what differs")
    summary = _summary(rows)
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            pass
        else:
            colours = {"holds": "green", "differs": "red", "bad input": "red", "expects nothing": "yellow"}
            table = Table(*titles, title_justify="left")
            for row in rows:
                result = Text(row.result, style=colours[row.result])
                differs = Text("\n".join(map(printable, row.differs)))
                table.add_row(Text(printable(row.trace)), str(row.turns), result, differs)
            console = Console()
            console.print(table)
            console.print(summary)
            return
    print_table([[row.trace, str(row.turns), row.result, "\n".join(row.differs)] for row in rows], left=(0, 2))
    say(summary)


def _run_plot(args: argparse.Namespace) -> int:
    trace = read_trace(args.trace, chosen_own(args))
    replayed = replay(trace, _policy(args, trace))
    for path in plot(trace, replayed, args.output, start=args.start, stop=args.stop):
        say(str(path))
    return _complain(replayed, args.trace)
