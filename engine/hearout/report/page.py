"""The report as one page that needs nothing else: no script, no address; no text of a call is taken for HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from hearout.extras import needs_extra
from hearout.report import charts
from hearout.report.changes import Learned
from hearout.report.parts import CUT_IN
from hearout.report.scene import Scene
from hearout.report.sums import DEAD_AIR, Share, Sums
from hearout.report.totals import Totals
from hearout.tune.few import FEWEST
from hearout.version import __version__
from hearout.writing import printable
from hearout_policies.policy import Policy

__all__ = ["check_page", "page"]

_NAMES = {"bot": "the bot", "ours": "hearout"}
_MEANINGS = {
    "cut-ins": f"of the turns handed on: the user went on within {CUT_IN:g} s",
    "too early": f"of the turns handed on: the user went on, also later than {CUT_IN:g} s",
    "dead air": f"of the ends: more than {DEAD_AIR:g} s until the turn was taken for over, or never",
    "splits": "of the users' turns: handed on in pieces",
    "lost words": "of the words said: never handed on",
    "late words": "of the words said: with a later turn, or as a correction",
    "backchannels that interrupted": 'of the "uh-huh"s said over the agent: taken for an interruption',
}
_GROUPS = {
    "hour": "By the hour of the day",
    "policy": "By the policy in force",
    "asked": "By what had been asked for",
    "caller": "By caller",
}
_ROWS = 24  # of a group; more are in the JSON
_UNCLEAR = {
    "cut in": "the user spoke again as the agent began, which is no end, and a cut-in of whoever had ended the turn",
    "over the agent": "said over the agent's speech, nobody waits for an answer to that",
    "disturbed": "the connection was down, or the application took a hand",
    "cut short": "the recording ends too soon",
}
_SKIPPED = {
    "cannot be read": "not a trace, or of another version",
    "no agent": "it does not say when the agent spoke",
    "no words": "no words in it",
    "no commit": "the bot never ended a turn in it",
    "no such channel": "it does not have that channel",
    "named twice": "named twice",
    "no turn of the bot": "it does not tell of the bot, though others do",
}
_CHANGES = {
    "price": "Another price of a cut-in, in seconds of waiting.",
    "question": "The application says before such a turn what it has asked for. Expected is what it gives where each "
    "number is asked for with its right length.",
    "language": "The words of another language are heard: its lists tell what ends a turn.",
    "vad": "The voice detection went on for long behind the last word. Expected is what one gives that notices each "
    "end of speech in time: no replay knows what it would make of the noise itself.",
}


def check_page() -> None:
    """Find out whether `page` can work before there is anything to show.

    Raises:
        UsageError: jinja2 or matplotlib is missing.
    """
    with needs_extra("report", "a report"):
        import jinja2
        import matplotlib  # noqa: F401
    assert jinja2


def page(totals: Totals, learned: Learned | None, policy: Policy | None, title: str) -> str:
    """The page.

    Args:
        policy: that ours was replayed under; None: ours is what it decided.

    Raises:
        UsageError: as `check_page`.
    """
    check_page()
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("hearout.report") / "page.html").read_text("utf-8"))
    return template.render(**_content(totals, learned, policy, title))


def _content(totals: Totals, learned: Learned | None, policy: Policy | None, title: str) -> dict[str, Any]:
    from markupsafe import Markup

    sides, told = totals.sides, totals.told
    by_hour = {
        side: {hour: getattr(pair, side).shares["cut-ins"] for hour, pair in sorted(told.groups["hour"].items())}
        for side in sides
    }
    curve = learned.curve if learned else ()
    pictures = {
        "delays": charts.delays(sides),
        "tradeoff": charts.tradeoff(sides, curve) if curve else "",
        "hours": charts.hours(by_hour) if told.groups["hour"] else "",
    }
    ours_is = "what its session decided" if policy is None else f"what it would have done under {policy.name}"
    return {
        "title": printable(title),
        "version": __version__,
        "colours": charts.COLOURS,
        "names": _NAMES,
        "calls": told.calls,
        "turns": told.all.ours.turns,
        "has_bot": totals.has_bot,
        "ours_is": printable(ours_is),
        "sides": list(sides),
        "summary": _summary(list(sides.values())),
        "charts": {name: Markup(picture) for name, picture in pictures.items()},
        "learned": learned,
        "fewest": FEWEST,
        "change": _change(learned) if learned and learned.change else None,
        "replayed": _replayed(learned, sides["ours"], policy) if learned else "",
        "groups": _groups(totals),
        "scenes": [
            _scene(scene, number) | {"chart": Markup(charts.timeline(scene, number))}
            for number, scene in enumerate(told.scenes, 1)
        ],
        "unclear": [(_UNCLEAR.get(reason, reason), n) for reason, n in sorted(told.unclear.items())],
        "broken_off": totals.broken_off,
        "skipped": [(_SKIPPED.get(reason, reason), n) for reason, n in totals.as_dict()["skipped"].items()],
    }


def _summary(sides: Sequence[Sums]) -> list[dict[str, Any]]:
    rows = [_row("turns handed on", "", [_cell(f"{sums.commits}", f"of {sums.turns} turns") for sums in sides])]
    delay = "from the end of speech; an end that was not noticed counts 5 s"
    rows.append(_row("mean delay", delay, [_delay(sums) for sums in sides]))
    late = [(sums.delays.quantile(0.5), sums.delays.quantile(0.9)) for sums in sides]
    rows.append(_row("median delay, and p90", "", [_cell(_seconds(p50), f"p90 {_seconds(p90)}") for p50, p90 in late]))
    for name, meaning in _MEANINGS.items():
        rows.append(_row(name, meaning, [_share(sums.shares[name]) for sums in sides]))
    return rows


def _change(learned: Learned) -> dict[str, Any]:
    """The best of those tried, and what it gives where it was not chosen."""
    assert learned.change is not None
    both = (learned.before, learned.after)
    rows = [_row("mean delay", "", [_delay(sums) for sums in both])]
    for name in ("cut-ins", "too early", "dead air", "splits"):
        rows.append(_row(name, "", [_share(sums.shares[name]) for sums in both]))
    low, high = learned.between
    gives = f"{'saves' if learned.saved > 0 else 'costs'} {abs(learned.saved):.2f}"
    sure = "one call does not tell how sure that is" if math.isnan(low) else f"saved, 95 %: {low:+.2f} to {high:+.2f}"
    worth = f"a turn handed on too early is worth {learned.price:g} s of waiting"
    there = f"it {gives} s an end ({sure}), where {worth}"
    found = {"how": str(learned.change), "rows": rows}
    if not learned.helps:
        order = "was the best" if learned.better else "came nearest, and was no better than no change"
        found["what"] = (
            f"Leave things as they are. Of {learned.tried} changes tried, {learned.change} {order} where they were "
            f"compared; on the other calls {there}."
        )
        return found | {"title": "No change would have helped"}
    doubt = "" if low > 0 else " That may be chance: there are few calls, or it matters little."
    found["what"] = (
        f"{_CHANGES[learned.change.kind]} On calls that the choice has not seen {there}; the best of {learned.tried} "
        f"changes tried.{doubt}"
    )
    return found | {"title": f"The one change that {'helps' if low > 0 else 'may help'} most"}


def _replayed(learned: Learned, ours: Sums, policy: Policy | None) -> str:
    """Which of two figures of the same policy is which."""
    if policy is not None or not learned.as_is.delays.count:
        return ""
    replayed, decided = [
        f"{_seconds(sums.delays.mean)} and {sums.shares['too early'].value:.1%}" for sums in (learned.as_is, ours)
    ]
    return (
        f"Mean delay and turns handed on too early as it is: replayed {replayed}; as decided in the "
        f"calls, above, {decided}. A replay takes each turn by itself, without this caller's pauses before it."
    )


def _groups(totals: Totals) -> list[dict[str, Any]]:
    out = []
    for name, title in _GROUPS.items():
        group = totals.told.groups[name]
        if len(group) < 2:
            continue  # the same as all
        # Those of a caller with the most turns; hours as they pass.
        ordered = sorted(group.items(), key=lambda one: (-one[1].ours.turns if name != "hour" else 0, one[0]))
        rows = []
        for value, pair in ordered[:_ROWS]:
            cells = []
            for side in totals.sides:
                sums: Sums = getattr(pair, side)
                cells += [_share(sums.shares["cut-ins"]), _delay(sums)]
            rows.append(_row(printable(value, 60), "", cells))
        out.append({"title": title, "rows": rows, "more": max(0, len(group) - _ROWS)})
    return out


def _scene(scene: Scene, number: int) -> dict[str, Any]:
    turn = scene.turn
    part = turn.bot or turn.ours
    what = []
    if part.cut_ins:
        what.append("cut in" if part.cut_ins == 1 else f"cut in {part.cut_ins} times")
    if part.delay == math.inf:
        what.append("never noticed the end")
    elif part.delay is not None and part.delay > DEAD_AIR:
        what.append(f"{part.delay:.1f} s of dead air")
    elif part.delay is not None:
        what.append(f"{part.delay:.2f} s after the end")
    commits = []
    for side, made in (("bot", scene.bot), ("ours", scene.ours)):
        if side == "bot" and turn.bot is None:
            continue
        said = [f'at {at:.2f} s "{printable(text, 300)}"' for at, text in made]
        commits.append({"side": side, "text": f"{_NAMES[side]}: {'; '.join(said) or 'nothing'}"})
    return {
        "what": ", ".join(what),
        "where": f"{printable(scene.call, 100)}, from {turn.start:.1f} s",
        "text": printable(turn.text, 600),
        "commits": commits,
        "explained": "\n".join(scene.explained),
    }


def _row(name: str, meaning: str, cells: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {"name": name, "meaning": meaning, "cells": cells}


def _cell(value: str, detail: str) -> dict[str, str]:
    return {"value": value, "detail": detail}


def _share(share: Share) -> dict[str, str]:
    if not share.count:
        return _cell("-", "n 0")
    low, high = share.between
    return _cell(f"{share.value:.1%}", f"[{low:.1%}, {high:.1%}], {share.hits} of {share.count}")


def _delay(sums: Sums) -> dict[str, str]:
    if not sums.delays.count:
        return _cell("-", "n 0")
    low, high = sums.delay_between
    return _cell(_seconds(sums.delays.mean), f"[{low:.2f}, {high:.2f}], n {sums.delays.count}")


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"
