"""Two reports compared, and the sums they come from."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from hearout.errors import UsageError
from hearout.fields import finite
from hearout.report.against import Calls, compare, read_sums, table
from hearout.report.judge import JudgedCall
from hearout.report.paired import _student
from hearout.report.parts import Part, UserTurn
from hearout.report.sums import Delays, Sums
from hearout.report.totals import Totals
from hearout.tune.figures import wilson

NO_SIDE = '{"hearout_report": 1}'
NEWER = '{"hearout_report": 2, "ours": {}}'


def sums(cut_ins: int, commits: int, *delays: float) -> Sums:
    out = Sums()
    for number in range(commits):
        cut = int(number < cut_ins)
        out.add(Part((1.0,), 1, cut, cut, delays[number % len(delays)], 3, 1, 0))
    return out


def test_the_same_is_not_worse_and_a_little_is_allowed() -> None:
    before = {"ours": sums(20, 1000, 0.5, 0.7)}
    assert not any(row.worse for row in compare(before, before))
    rows = compare(before, {"ours": sums(24, 1000, 0.52, 0.72)})
    assert not any(row.worse for row in rows)


def test_worse_needs_to_be_more_than_is_allowed_and_sure() -> None:
    before = {"ours": sums(20, 1000, 0.5, 0.7)}
    cut_ins, early, delay = compare(before, {"ours": sums(80, 1000, 0.8, 1.0)})
    assert cut_ins.worse
    assert early.worse
    assert delay.worse
    assert (cut_ins.now - cut_ins.before) == pytest.approx(0.06)
    # Newcombe's interval, worked by hand from Wilson's at z = 1.645: 0.06 - hypot(0.0089, 0.0130).
    assert cut_ins.at_least == pytest.approx(0.0442, abs=0.0005)
    assert delay.at_least == pytest.approx(0.3, abs=0.01)
    assert not any(row.worse for row in compare(before, {"ours": sums(80, 1000, 0.8)}, cut_ins=0.06, delay=0.5))
    # The same shares of few turns prove nothing.
    few = compare({"ours": sums(1, 50, 0.6)}, {"ours": sums(4, 50, 0.6)})
    assert not any(row.worse for row in few)
    assert "ok" in table(few, 0.95)


def test_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="before there are figures of the bot, and now no trace tells of its turns"):
        compare({"bot": Sums(), "ours": Sums()}, {"ours": Sums()})
    assert {row.side for row in compare({"ours": Sums()}, {"bot": Sums(), "ours": Sums()})} == {"ours"}
    rows = compare({"ours": Sums()}, {"ours": sums(1, 5, 0.5)})
    assert all(math.isnan(row.at_least) and not row.worse for row in rows)
    assert "too few" in table(rows, 0.95)


def test_the_table_is_markdown() -> None:
    text = table(compare({"ours": sums(20, 1000, 0.5)}, {"ours": sums(80, 1000, 0.5)}), 0.95)
    head, rule, cut_ins, early, delay = text.split("\n")
    assert {line.count("|") for line in (head, rule, cut_ins, early, delay)} == {8}
    assert cut_ins == "| ours | cut-ins | 2.0 % (n 1000) | 8.0 % (n 1000) | +4.4 % | +1.0 % | **worse** |"
    assert early == "| ours | too early | 2.0 % (n 1000) | 8.0 % (n 1000) | +4.4 % | +1.0 % | **worse** |"
    assert delay == "| ours | mean delay | 0.50 s (n 1000) | 0.50 s (n 1000) | +0.00 s | +0.10 s | ok |"


def test_sums_survive_json(tmp_path: Path) -> None:
    one = sums(3, 40, 0.5, 0.8, math.inf)
    file = tmp_path / "week.json"
    file.write_text(json.dumps(finite({"hearout_report": 1, "ours": one.as_dict()})))
    assert read_sums(str(file)) == {"ours": one}
    for text in (
        "[]",
        '{"ours": {}}',
        '{"hearout_report": 1, "ours": {"sums": {"turns": "many"}}}',
        "\xff",
        NO_SIDE,
        NEWER,
    ):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(UsageError, match=r"week.json: not a report"):
            read_sums(str(file))
    with pytest.raises(UsageError, match=r"cannot read the report"):
        read_sums(str(tmp_path / "none.json"))


def test_sums_add_up_in_any_portions() -> None:
    whole, merged = sums(2, 6, 0.5, 1.0, 3.0), Sums()
    for part in (sums(1, 3, 0.5, 1.0, 3.0), sums(1, 3, 0.5, 1.0, 3.0)):
        merged.merge(part)
    assert merged == whole
    assert whole.shares["dead air"].hits == 2
    assert whole.shares["lost words"].value == pytest.approx(1 / 3)
    assert whole.cost(2.0) == pytest.approx(1.5 + 2 * 2 / 6)


def test_delays() -> None:
    delays = Delays()
    for seconds in (0.5, 0.5, 1.0, math.inf):
        delays.add(seconds)
    assert delays.mean == pytest.approx(1.75)
    assert (delays.quantile(0.5), delays.quantile(0.75), delays.quantile(0.9)) == (0.5, 1.0, None)
    low, high = delays.between()
    assert 0.5 <= low < 1.75 < high <= 5.0
    assert math.isnan(Delays().mean)
    assert math.isnan(Delays().between()[0])


def test_the_turns_of_a_call_are_alike() -> None:
    """Two sorts of callers: what ten turns of each say of the next caller is no more than one would."""
    whole, alone = Sums(), Sums()
    for call in range(20):
        slow = call % 2
        one = Sums()
        for _ in range(10):
            part = Part((1.0,), 1, slow, slow, 0.5 + slow, 3, 0, 0)
            one.add(part)
            alone.add(part)
        whole.add_call(one)
    # (20 / 19) * 20 * (10 * 0.5)^2 over 200 * 0.5 * 0.5
    assert whole.alike("cut-ins") == pytest.approx(10 * 20 / 19)
    assert whole.alike("delay") == pytest.approx(10 * 20 / 19)
    assert whole.shares["lost words"].alike == 1.0
    share = whole.shares["cut-ins"]
    assert share.between == pytest.approx(wilson(9.5, 19))
    assert whole.delay_between[1] - 1.0 == pytest.approx(0.22, abs=0.03)  # 1.96 * 0.5 / sqrt(19)
    assert alone.delay_between[1] - 1.0 == pytest.approx(0.07, abs=0.01)
    # Added up in portions, and read from JSON, it is the same.
    halves = Sums()
    halves.merge(whole)
    assert halves == whole
    assert Sums.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole


def test_the_same_policy_on_other_callers_is_seldom_worse() -> None:
    """Callers who differ, 200 times in two halves at random: 5 % of the times at most, though nothing may grow."""
    rng = random.Random(1)
    calls = []
    for _ in range(100):
        one, slow = Sums(), rng.random()
        for _ in range(rng.randint(2, 12)):
            cut = int(rng.random() < 0.4 * slow)
            one.add(Part((1.0,), 1, cut, cut, 0.4 + slow + 0.1 * rng.random(), 3, 0, 0))
        calls.append(one)
    worse: Counter[str] = Counter()
    for _ in range(200):
        rng.shuffle(calls)
        before, now = Sums(), Sums()
        for number, one in enumerate(calls):
            (before if number % 2 else now).add_call(one)
        worse.update(row.name for row in compare({"ours": before}, {"ours": now}, cut_ins=0, delay=0) if row.worse)
    assert 0 < worse["cut-ins"] <= 16
    assert 0 < worse["delay"] <= 16


def drawn(rng: random.Random, grown: float, later: float) -> tuple[list[JudgedCall], list[JudgedCall]]:
    """Sixty calls that differ much from each other, and the same under a policy that differs a little."""
    out: tuple[list[JudgedCall], list[JudgedCall]] = ([], [])
    for _ in range(60):
        slow, turns = rng.random(), rng.randint(2, 12)
        for calls, more, late in ((out[0], 0.0, 0.0), (out[1], grown, later)):
            parts = [
                Part((1.0,), 1, cut, cut, 0.3 + 2 * slow + late + rng.gauss(0, 0.05))
                for cut in (int(rng.random() < 0.1 + more) for _ in range(turns))
            ]
            turns_of = [UserTurn(0, 0.0, 1.0, "", "", "", "", None, part) for part in parts]
            calls.append(JudgedCall("", "", tuple(turns_of), Counter(), ()))
    return out


def compared(was: list[JudgedCall], now: list[JudgedCall], *, paired: bool) -> dict[str, bool]:
    """What is worse, by any amount."""
    sides, calls = [], (Calls(), Calls())
    for judged, of in zip((was, now), calls, strict=True):
        totals = Totals()
        for call in judged:
            totals.add(call)
            of.add(call)
        sides.append(totals.sides)
    rows = compare(sides[0], sides[1], calls=calls if paired else None, cut_ins=0, delay=0)
    return {row.name: row.worse for row in rows}


def test_on_the_same_calls_a_small_difference_shows() -> None:
    """How much callers differ from each other is of no account there."""
    was, now = drawn(random.Random(2), 0.0, 0.05)
    assert not compared(was, now, paired=False)["delay"]
    assert compared(was, now, paired=True)["delay"]
    assert not compared(now, was, paired=True)["delay"]
    assert not any(compared(was, was, paired=True).values())


def test_on_the_same_calls_the_same_policy_is_seldom_worse() -> None:
    rng = random.Random(3)
    worse: Counter[str] = Counter()
    for _ in range(100):
        worse.update(name for name, is_ in compared(*drawn(rng, 0.0, 0.0), paired=True).items() if is_)
    assert 0 < worse["cut-ins"] <= 10
    assert 0 < worse["delay"] <= 10


def test_one_pair_of_calls_proves_nothing() -> None:
    was, now = drawn(random.Random(4), 0.5, 1.0)
    assert compared(was[:1], now[:1], paired=True) == dict.fromkeys(("cut-ins", "too early", "delay"), False)
    # Student's t, 95 %, of 5 and 59 degrees of freedom (tables: 2.015, 1.671).
    assert [_student(0.95, freedom) for freedom in (5, 59)] == pytest.approx([2.015, 1.671], abs=0.005)
