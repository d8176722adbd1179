"""All calls of a report, added up one after the other: what is kept does not grow with their number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hearout.report.judge import JudgedCall
from hearout.report.parts import UserTurn
from hearout.report.scene import WORST, Scene
from hearout.report.sums import Sums

__all__ = ["DIMENSIONS", "Pair", "Tally", "Totals"]

DIMENSIONS = ("hour", "policy", "asked", "caller")
_MOST = 1000  # values of a dimension that are told apart
_OTHERS = "(others)"


@dataclass
class Pair:
    """The bot's own turn detection, and ours, on the same turns."""

    bot: Sums = field(default_factory=Sums)
    ours: Sums = field(default_factory=Sums)

    def add(self, turn: UserTurn) -> None:
        """One more."""
        self.ours.add(turn.ours)
        if turn.bot is not None:
            self.bot.add(turn.bot)
        for one in turn.backchannels:
            for sums, interrupted in ((self.bot, one.bot), (self.ours, one.ours)):
                sums.backchannels += interrupted is not None
                sums.interrupted += interrupted is True


@dataclass
class Tally:
    """Calls that can be compared with each other.

    Attributes:
        groups: by dimension and value.
        unclear: pauses that could not be judged, by reason.
        scenes: the worst turns, the worst first.
    """

    calls: int = 0
    all: Pair = field(default_factory=Pair)
    groups: dict[str, dict[str, Pair]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    unclear: Counter[str] = field(default_factory=Counter)
    scenes: list[Scene] = field(default_factory=list)

    def add(self, call: JudgedCall) -> None:
        """One more."""
        self.calls += 1
        self.unclear.update(call.unclear)
        whole = Pair()
        groups: dict[tuple[str, str], Pair] = {}
        for turn in call.turns:
            keys = {"hour": turn.hour, "policy": turn.policy, "asked": turn.asked, "caller": call.caller}
            for pair in (whole, *(groups.setdefault(key, Pair()) for key in keys.items() if key[1])):
                pair.add(turn)
        for to, pair in ((self.all, whole), *((self._group(*key), pair) for key, pair in groups.items())):
            to.bot.add_call(pair.bot)
            to.ours.add_call(pair.ours)
        # Stable: of equal ones the first stays.
        self.scenes = sorted([*self.scenes, *call.scenes], key=lambda scene: -scene.cost)[:WORST]

    def _group(self, name: str, value: str) -> Pair:
        group = self.groups[name]
        if value not in group and len(group) >= _MOST:
            value = _OTHERS
        return group.setdefault(value, Pair())


@dataclass
class Totals:
    """Everything that was given.

    Attributes:
        with_bot, without: the calls that tell what the bot's turn detection did, and those that do not.
        without_names: theirs.
        skipped: traces of which nothing could be said, by reason.
        broken_off: traces whose last line was left out.
    """

    with_bot: Tally = field(default_factory=Tally)
    without: Tally = field(default_factory=Tally)
    without_names: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    broken_off: int = 0

    def add(self, call: JudgedCall) -> None:
        """One more."""
        if call.has_bot:
            self.with_bot.add(call)
        else:
            self.without.add(call)
            self.without_names.append(call.name)

    @property
    def told(self) -> Tally:
        """What the report is on: with a bot to compare with, the calls that have one, as both must be on the same."""
        return self.with_bot if self.with_bot.calls else self.without

    @property
    def has_bot(self) -> bool:
        """There is a bot to compare with."""
        return self.with_bot.calls > 0

    @property
    def sides(self) -> dict[str, Sums]:
        """By name: ``bot``, if there is one, and ``ours``."""
        pair = self.told.all
        return {"bot": pair.bot, "ours": pair.ours} if self.has_bot else {"ours": pair.ours}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        left_out = {"no turn of the bot": len(self.without_names)} if self.has_bot and self.without_names else {}

        def shown(pair: Pair) -> dict[str, Any]:
            return ({"bot": pair.bot.as_dict()} if self.has_bot else {}) | {"ours": pair.ours.as_dict()}

        return {
            "calls": self.told.calls,
            "skipped": dict(sorted((dict(self.skipped) | left_out).items())),
            "broken_off": self.broken_off,
            "unclear": dict(sorted(self.told.unclear.items())),
            **shown(self.told.all),
            "groups": {
                name: {value: shown(pair) for value, pair in sorted(group.items())}
                for name, group in self.told.groups.items()
                if group
            },
            "worst": [
                {
                    "trace": scene.call,
                    "channel": scene.turn.channel,
                    "start": scene.turn.start,
                    "end": scene.turn.end,
                    "seconds": scene.cost,
                }
                for scene in self.told.scenes
            ],
        }
