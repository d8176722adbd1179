"""Compare what a replay gave with what its trace expects."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from hearout.fields import is_number
from hearout.traces.records import Expected, Trace
from hearout.traces.replayer import Replayed
from hearout_policies import events

__all__ = ["check"]


def check(trace: Trace, replayed: Replayed) -> list[str]:
    """What differs between a replay and the trace's ``expect``, ``expect_commands`` and ``forbid``.

    Turns completed must be those expected, all of them and in order. Events of other types must occur in the
    order in which they are expected; others of their type may come between.

    Returns:
        one line a difference; nothing when all holds.
    """
    out = []
    if replayed.unended is not None:
        out.append(replayed.unended)
    out += _check_all_ended(replayed)
    if trace.expect is not None:
        out += _check_completed(trace.expect, replayed)
        for kind in dict.fromkeys(entry.type for entry in trace.expect):
            if kind != "turn_completed":
                out += _check_others(kind, trace.expect, replayed)
    for name, bounds in trace.commands.items():
        given = [o for o in replayed.outputs if isinstance(o, events.Finalize) and o.command == name]
        times = " at " + ", ".join(f"{o.at:.2f}" for o in given) if given else ""
        if len(given) < bounds.least:
            out.append(f"{name} commanded {len(given)} times{times}, at least {bounds.least} expected")
        if bounds.most is not None and len(given) > bounds.most:
            out.append(f"{name} commanded {len(given)} times{times}, at most {bounds.most} expected")
    out += [f"forbidden: {_shown(o)}" for o in replayed.outputs if o.type in trace.forbid]
    return out


def _check_all_ended(replayed: Replayed) -> list[str]:
    """Nobody need expect this: it is promised."""
    ended = {
        (output.channel, output.turn)
        for output in replayed.outputs
        if isinstance(output, (events.TurnCompleted, events.TurnAbandoned))
    }
    return [
        f"turn {output.turn} of channel {output.channel} never ended"
        for output in replayed.outputs
        if isinstance(output, events.TurnStarted) and (output.channel, output.turn) not in ended
    ]


def _check_completed(expect: Sequence[Expected], replayed: Replayed) -> list[str]:
    wanted = [entry for entry in expect if entry.type == "turn_completed"]
    given = replayed.of_type("turn_completed")
    out = []
    for number, (entry, event) in enumerate(zip(wanted, given, strict=False), 1):
        out += [f"turn {number}: {difference}" for difference in _differences(entry, event)]
    out += [f"missing: {_wanted(entry)}" for entry in wanted[len(given) :]]
    out += [f"not expected: {_shown(event)}" for event in given[len(wanted) :]]
    return out


def _check_others(kind: str, expect: Sequence[Expected], replayed: Replayed) -> list[str]:
    given = replayed.of_type(kind)
    for entry in expect:
        if entry.type != kind:
            continue
        tried = [_differences(entry, event) for event in given]
        position = next((n for n, differences in enumerate(tried) if not differences), None)
        if position is None:
            # Name what is wrong with the candidate that comes nearest; later entries have no sure start.
            nearest = min(tried, key=len, default=None)
            return [f"missing: {_wanted(entry)}"] if nearest is None else [f"{kind}: {d}" for d in nearest]
        given = given[position + 1 :]
    return []


def _differences(entry: Expected, event: events.Output) -> list[str]:
    out = []
    if entry.after is not None and event.at < entry.after - 1e-6:
        out.append(f"at {event.at:.3f}, before {entry.after:g}")
    if entry.before is not None and event.at > entry.before + 1e-6:
        out.append(f"at {event.at:.3f}, after {entry.before:g}")
    given = events.as_dict(event)
    for key, value in entry.values.items():
        if not _same(value, given.get(key), key):
            out.append(f"{key} is {_json(given.get(key))}, expected {_json(value)}")
    return out


def _same(wanted: Any, given: Any, key: str = "") -> bool:
    """Numbers within 5 ms, objects by the keys that are wanted, texts as `_plain_text`."""
    if isinstance(wanted, Mapping):
        return isinstance(given, Mapping) and all(_same(v, given.get(k), k) for k, v in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(given, list)
            and len(wanted) == len(given)
            and all(_same(a, b) for a, b in zip(wanted, given, strict=True))
        )
    if is_number(wanted):
        return is_number(given) and abs(wanted - given) <= 0.005
    if key == "text" and isinstance(wanted, str) and isinstance(given, str):
        return _plain_text(wanted) == _plain_text(given)
    return bool(wanted == given)


def _plain_text(text: str) -> str:
    """Without case and punctuation; a dash parts words, other punctuation does not."""
    chars = []
    for char in unicodedata.normalize("NFC", text).casefold():
        category = unicodedata.category(char)
        chars.append(" " if category == "Pd" else "" if category.startswith("P") else char)
    return " ".join("".join(chars).split())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _wanted(entry: Expected) -> str:
    bounds = [
        f"{name} {bound:g}" for name, bound in (("after", entry.after), ("before", entry.before)) if bound is not None
    ]
    values = [f"{key} {_json(value)}" for key, value in entry.values.items()]
    return " ".join([entry.type, *values, *bounds])


def _shown(event: events.Output) -> str:
    text = getattr(event, "text", None)
    return f"{event.type}{'' if text is None else ' ' + _json(text)} at {event.at:.3f}"
