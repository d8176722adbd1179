"""``hearout tune``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hearout.cli.output import complain, print_table, say
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.transcribers import add_own_argument, chosen_own
from hearout.errors import UsageError
from hearout.fields import finite
from hearout.plot.picture import check_picture
from hearout.traces.reader import read_trace
from hearout.tune.fit import Compared, Tuned, policy_toml, tune
from hearout.writing import counted

__all__ = ["register"]

_TEXT = """Search the parameters of a policy on recorded sessions: the fastest with no more than a share of the pauses
cut off. What happened after each pause tells whether it was the end. See docs/tuning.md."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its parser's ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser("tune", help="fit a policy to recorded sessions", description=_TEXT)
    parser.add_argument("traces", nargs="+", metavar="TRACE", help="a trace (JSON Lines)")
    parser.add_argument(
        "--target-cutoff",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of the pauses in mid-turn, that may be cut off (default 0.05)",
    )
    add_own_argument(parser)
    add_policy_arguments(parser)
    parser.add_argument(
        "--parameters", default="", metavar="KEYS", help="what to vary: keys with commas between, * for any"
    )
    parser.add_argument("--trials", type=int, default=240, metavar="N", help="policies to try (default 240)")
    parser.add_argument("--jobs", type=int, default=-1, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="work on a Dask cluster, such as tcp://10.0.0.1:8786")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another search (default 0)")
    parser.add_argument("--plot", metavar="PNG", help="draw what was tried, and the front")
    parser.add_argument("-o", "--output", metavar="FILE.toml", help="write the policy found, for --policy")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    policy = chosen_policy(args)
    _check_options(args)
    own = chosen_own(args)
    traces = [read_trace(name, own) for name in args.traces]
    with _cluster(args.dask), _progress() as progress:
        tuned = tune(
            traces,
            policy,
            target=args.target_cutoff,
            parameters=[key.strip() for key in args.parameters.split(",") if key.strip()],
            trials=args.trials,
            seed=args.seed,
            jobs=args.jobs,
            progress=progress,
        )
    if args.json:
        print(json.dumps(finite(tuned.as_dict())))
    else:
        _report(tuned)
    if args.output:
        _write(args.output, policy_toml(tuned).encode())
    if args.plot:
        from hearout.tune.picture import picture

        _write(args.plot, picture(tuned, Path(args.plot).suffix[1:]))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """What would be a pity to find out in the end."""
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: a seed is 0 or more")
    if args.jobs == 0 or args.jobs < -1:
        raise UsageError(f"--jobs {args.jobs}: a number of processes, or -1 for one a core")
    if args.output and not args.output.endswith(".toml"):
        raise UsageError(f"{args.output}: the name of a policy file must end in .toml")
    if args.plot:
        check_picture(args.plot)
    for name in filter(None, (args.output, args.plot)):
        _write(name, None)


def _write(name: str, data: bytes | None) -> None:
    """Write a file whole or not at all; without ``data`` only see whether that would be possible.

    Raises:
        UsageError: it is not.
    """
    path = Path(name)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data or b"")
            if data is not None:
                os.chmod(temporary, 0o666 & ~_umask())
                os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
    except OSError as error:
        raise UsageError(f"{name}: cannot write: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on a terminal, if rich is there; nothing elsewhere."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("searching"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("policies"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Let joblib work on a Dask cluster."""
    if address is None:
        yield
        return
    try:
        import joblib
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs Dask: pip install distributed joblib") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UsageError(f"--dask {address}: no scheduler answers there: {str(error).splitlines()[0]}") from None
    with client, joblib.parallel_config(backend="dask"):
        yield


def _report(tuned: Tuned) -> None:
    for notice in tuned.notices:
        complain(f"note: {notice}")
    searched, held = tuned.base.searched, tuned.base.held_out
    out = f", {held.holds} and {held.ends} in {tuned.held_out} held out" if held.ends else ""
    say(
        f"{counted(tuned.traces, 'trace')}: {counted(searched.holds, 'hold')} and {counted(searched.ends, 'end')} to "
        f"search on{out}; {counted(tuned.unclear, 'pause')} show{'s' * (tuned.unclear == 1)} nothing"
    )
    say("", "front, where it was searched | held out")
    names = _short_names(tuned.searched)
    titles = ["cutoffs", "mean", "p50", "p90", "|", "cutoffs", "mean", "changed"]
    rows = [[*_cells(p), "* " + _changes(p, names) if p == tuned.chosen else _changes(p, names)] for p in tuned.front]
    print_table([titles, *rows])
    say("", f"at most {tuned.target:.1%} cut off{_how_far(tuned)}")
    named = [("start", tuned.base), ("price alone", tuned.factor), ("tuned (*)", tuned.chosen)]
    print_table([[*titles[:-1], "policy"], *([*_cells(point), name] for name, point in named)])
    if held.ends:
        _report_held_out(tuned)
    if tuned.expected is not None:
        if not tuned.reached:
            say("note: none of the prices tried keeps to that; record more, or begin at --policy patient")
    elif not tuned.reached:
        say("note: no policy within a quarter to four times the numbers does; begin at --policy patient, or --set ...")
    elif tuned.chosen.held_out.cutoffs_between[0] > tuned.target:
        say("note: the held-out pauses are cut off more often than allowed: too few traces, or too lucky a search")


def _how_far(tuned: Tuned) -> str:
    if tuned.expected is None:
        return "" if tuned.reached else ": not reached; the fewest"
    return f": {'' if tuned.reached else 'not reached; '}{tuned.expected:.1%} expected, with what is known beforehand"


def _report_held_out(tuned: Tuned) -> None:
    low, high = tuned.chosen.held_out.cutoffs_between
    gain, (least, most) = tuned.gain
    faster = "faster" if gain >= 0 else "slower"
    say(
        "",
        f"held out: {tuned.chosen.held_out.cutoffs:.1%} of holds cut off (95 %: {low:.1%} to {high:.1%}), "
        f"{abs(gain):.2f} s {faster} than the price alone on average (95 %: {least:+.2f} to {most:+.2f})",
    )


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """``odds.stop`` is ``stop`` where that says enough."""
    short = {key: key.rpartition(".")[2] for key in keys}
    return {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}


def _changes(point: Compared, names: dict[str, str]) -> str:
    return ", ".join(f"{names[key]} {value:g}" for key, value in point.settings.items()) or "nothing"


def _cells(point: Compared) -> list[str]:
    f, other = point.searched, point.held_out
    late = [f"{value:.2f}" if value is not None else "never" for value in (f.mean, f.p50, f.p90)]
    unseen = [f"{other.cutoffs:.1%}", f"{other.mean:.2f}"] if other.ends else ["-", "-"]
    return [f"{f.cutoffs:.1%}" if f.holds else "-", *late, "|", *unseen]
