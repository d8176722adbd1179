"""Many traces, in processes: read one after the other, judged a few at a time, added up in their order.

Nobody holds more than a few traces at once, and what comes out does not depend on how many processes there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any, TypeVar

from hearout.errors import UsageError
from hearout.report.judge import JudgedCall, NotJudged, judge
from hearout.report.totals import Totals
from hearout.traces.broken import whole_lines
from hearout.traces.reader import parse_trace
from hearout.traces.records import Trace
from hearout.transcribers.base import Dialect
from hearout.tune.pool import pool
from hearout_policies.policy import Policy

__all__ = ["Options", "Skipped", "in_processes", "read", "survey"]

_BATCH = 4  # traces a task
_LARGEST = 200_000_000  # characters of a trace; an hour has some 2 million

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        policy: what ours would have done under it; None: what it did.
        channel: the user's; None: all.
        transcriber: a class of one's own whose messages are in the traces.
    """

    policy: Policy | None = None
    channel: int | None = None
    transcriber: type[Dialect] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A trace of which nothing can be said, and why in one line."""

    kind: str
    message: str


def survey(
    names: Sequence[str],
    options: Options | None = None,
    *,
    jobs: int = 1,
    each: Callable[[JudgedCall], object] = lambda call: None,
    skipped: Callable[[str], object] = lambda message: None,
    broken_off: Callable[[str], object] = lambda message: None,
    progress: Callable[[int], object] = lambda done: None,
) -> Totals:
    """Judge the traces in these files.

    Args:
        jobs: processes, as in `hearout.tune.tune`.
        each: is given every call, in order.
        skipped: is told about every trace that was skipped, and why.
        broken_off: is told about every trace whose last line is not whole, and left out.
        progress: is told how many traces are done.

    Raises:
        UsageError: joblib is missing.
    """
    totals = Totals()

    def broken(message: str) -> None:
        totals.broken_off += 1
        broken_off(message)

    for number, found in enumerate(in_processes(_judged, names, options or Options(), jobs, broken), 1):
        if isinstance(found, Skipped):
            totals.skipped[found.kind] += 1
            skipped(found.message)
        else:
            totals.add(found)
            each(found)
        progress(number)
    return totals


def _judged(trace: Trace, options: Options) -> JudgedCall:
    return judge(trace, options.policy, options.channel)


def in_processes(
    work: Callable[[Trace, Any], T],
    names: Sequence[str],
    options: Any,
    jobs: int,
    broken_off: Callable[[str], object] = lambda message: None,
) -> Iterator[T | Skipped]:
    """What ``work`` makes of each trace, in order.

    Args:
        options: are given to it; their ``transcriber`` is that of `read_trace`.
        broken_off: as in `survey`.
    """
    parallel = pool(jobs, "report", "a report")
    from joblib import delayed

    task = delayed(_batch)
    texts = _texts(names, broken_off)
    batches = iter(lambda: list(islice(texts, _BATCH)), [])
    for results in parallel(task(work, batch, options) for batch in batches):
        yield from results


def _texts(names: Sequence[str], broken_off: Callable[[str], object]) -> Iterator[tuple[str, str | Skipped]]:
    seen = set()
    for name in names:
        path = os.path.realpath(name)
        if path in seen:
            yield name, Skipped("named twice", f"{name}: named twice; it counts once")
            continue
        seen.add(path)
        _, text = read(name)
        if isinstance(text, str) and not text.endswith("\n"):
            text = "".join(whole_lines(StringIO(text, newline="\n"), name, broken_off))
        yield name, text


def read(name: str) -> tuple[str, str | Skipped]:
    """A trace's name and its text, or why it has none."""
    try:
        with open(name, encoding="utf-8-sig", newline="\n") as file:
            text = file.read(_LARGEST)
    except OSError as error:
        return name, Skipped("cannot be read", f"{name}: cannot read the trace: {error.strerror or error}")
    except UnicodeDecodeError:
        return name, Skipped("cannot be read", f"{name}: not a trace: a trace is JSON Lines in UTF-8")
    if len(text) >= _LARGEST:
        return name, Skipped("cannot be read", f"{name}: more than {_LARGEST} characters; no trace is so long")
    return name, text


def _batch(
    work: Callable[[Trace, Any], T], batch: Iterable[tuple[str, str | Skipped]], options: Any
) -> list[T | Skipped]:
    return [text if isinstance(text, Skipped) else _done(work, name, text, options) for name, text in batch]


def _done(work: Callable[[Trace, Any], T], name: str, text: str, options: Any) -> T | Skipped:
    try:
        return work(parse_trace(text.split("\n"), name, options.transcriber), options)
    except NotJudged as error:
        return Skipped(error.kind, str(error))
    except UsageError as error:
        return Skipped("cannot be read", str(error))
