"""``hearout tune`` with few recordings: what it chooses, and how unsure it says it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.endpointing.conversations import sample
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.simulated import trace
from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.traces.records import Trace
from hearout.tune.few import cautious, missing, weighed
from hearout.tune.figures import Outcome
from hearout.tune.fit import Compared, Tuned, policy_toml, tune
from hearout.tune.search import Trial
from hearout_policies import Policy, load_policy, preset
from tests.tune.test_tune import SEED, cut, hand_made, simulated, spoken

CALL = sample(SCENARIOS["agent"], SEED, 0, turns=11)


def price(tuned: Tuned) -> float:
    return next(p.value for p in tuned.policy.parameters() if p.key == "silence.price")


def call_of(ends: int, holds: int = 0, pause: float = 1.0) -> Trace:
    """Turns a minute apart, with ``holds`` pauses of ``pause`` seconds in each."""
    spans = [(at := 60.0 * n + k * (1 + pause) + 1, at + 1) for n in range(ends) for k in range(holds + 1)]
    return hand_made(*spoken(*spans), {"t": 60.0 * ends + 10, "end": True})


@pytest.fixture(scope="module")
def few() -> list[Trace]:
    return simulated(preset("balanced"), [CALL])


def doubt(tuned: Tuned) -> str:
    (found,) = [notice for notice in tuned.notices if notice.startswith("few pauses")]
    return found


def test_ten_ends_are_enough_for_the_price(few: list[Trace]) -> None:
    tuned = tune(few, target=0.1)
    assert 10 <= tuned.base.searched.ends < 30
    assert tuned.searched == ("silence.price",)
    assert tuned.held_out == "nothing"
    assert set(tuned.chosen.settings) <= {"silence.price"}
    assert len(tuned.tried) == 16
    assert tuned.as_dict()["expected"] == tuned.expected


def test_how_unsure_it_is_stands_in_words(few: list[Trace]) -> None:
    tuned = tune(few, target=0.1)
    found = tuned.chosen.searched
    (low, high), (least, most) = found.cutoffs_between, found.mean_between
    said = doubt(tuned)
    assert f"{found.holds} holds and {found.ends} ends, between {low:.0%} and {high:.0%} of the holds" in said
    assert f"a mean latency of {least:.2f} to {most:.2f} s" in said
    assert f"{tuned.expected:.1%} are expected to be cut off" in said
    assert said in policy_toml(tuned).replace("\n# ", " ")


def test_what_to_record_is_what_a_whole_search_lacks() -> None:
    """A search sees two thirds, so that it needs 45 ends, and of a target of 5 % 90 holds, in all."""
    assert missing(cut([call_of(60, 1)]), 0.05) == (0, 0)
    assert missing(cut([call_of(40, 1)]), 0.05) == (20, 0)
    assert missing(cut([call_of(12, 5)]), 0.05) == (0, 18)
    few_ends = doubt(tune([call_of(15, 8)], target=0.1))
    assert few_ends.endswith("To promise 10.0%, record about 30 more ends")
    no_holds = doubt(tune([call_of(60)], target=0.1))
    assert no_holds.endswith("To promise 10.0%, record about 45 more holds")


def test_without_a_hold_nothing_is_said_of_cutoffs_and_the_usual_pauses_decide() -> None:
    one = call_of(10)
    fast, slow = (tune([one], target=target) for target in (0.3, 0.05))
    assert 0.2 < price(fast) < price(slow) < 20
    assert slow.reached
    assert slow.chosen.searched.cutoffs_between == (0.0, 1.0)
    assert "0 holds and 10 ends, nothing can be said of cutoffs" in doubt(slow)
    assert "no hold to cut off" in policy_toml(slow)


def test_one_is_no_plural() -> None:
    with pytest.raises(UsageError, match=r"^too little to learn from: 1 end of turns, and 10 are the least"):
        tune([call_of(1)])


def test_recordings_move_the_price_the_more_the_more_there_are() -> None:
    """Pauses of 1 s are longer than most: 48 of them ask for more patience than twelve. Short ones ask for less."""
    usual, some, many = (price(tune([call_of(12, n)], target=0.1)) for n in (0, 1, 4))
    assert usual <= some <= many
    assert usual < many
    lucky = price(tune([call_of(12, 4, pause=0.4)], target=0.1))
    assert 0.5 < lucky < usual


def test_where_no_price_is_enough_the_longest_wait_is_not_chosen(few: list[Trace]) -> None:
    """Three pauses of this call outlast every price: to wait longer for them is to wait for nothing."""
    tuned = tune(few, target=0.05)
    assert not tuned.reached
    assert tuned.chosen.searched.cutoffs == min(cutoffs for cutoffs, _ in tuned.tried)
    assert tuned.chosen.searched.mean < max(mean for _, mean in tuned.tried) - 0.3


def test_less_than_a_hold_bears_out_no_longer_wait() -> None:
    none = np.zeros(0, np.int64)

    def trial(cuts: int, latency: float, silence: float) -> Trial:
        result = Outcome(np.arange(20) < cuts, none, np.array([latency]), none, np.array([True]))
        return Trial({"silence.price": silence}, result)

    trials = weighed([trial(12, 0.6, 1.3), trial(8, 1.2, 9.0), trial(8, 1.7, 20.0)], Policy())
    assert [t.happened for t in trials] == [0.6, 0.4, 0.4]
    assert trials[2].cutoffs < trials[1].cutoffs < trials[0].cutoffs
    assert cautious(trials, 0.05) is trials[1]
    assert cautious(trials, trials[2].cutoffs) is trials[2]  # here it is what the target needs
    assert cautious(trials, 0.9) is trials[0]
    # Nor does what is known beforehand alone, where it is not enough either.
    same = weighed([trial(12, 0.6, 1.3), trial(12, 1.2, 9.0), trial(12, 1.7, 20.0)], Policy())
    assert same[1].cutoffs < same[0].cutoffs
    assert cautious(same, 0.05) is same[0]


def test_where_nothing_helps_that_is_said() -> None:
    """These pauses outlast every price; of the others there are none."""
    tuned = tune([call_of(12, 2, pause=4.5)], target=0.05)
    assert (tuned.reached, tuned.chosen.settings) == (False, {})
    assert tuned.no_help.startswith("nothing that was tried would have cut off less; the policy stays as it is: 100.0%")
    assert tuned.no_help in policy_toml(tuned).replace("\n# ", " ")
    # Slower for the sake of holds that nobody recorded.
    tuned = tune([call_of(10)], target=0.05)
    assert tuned.chosen.searched.mean > tuned.base.searched.mean
    assert tuned.no_help.startswith("in these recordings this would not have helped, only what is known beforehand")
    assert tuned.as_dict()["no_help"] == tuned.no_help
    # Held out, that is what counts.
    one, slow, short = (
        tuned.base.searched,
        replace(tuned.base.searched, mean=2.0),
        replace(tuned.chosen, settings={"a": 1}),
    )
    held = replace(
        tuned, held_out="traces", base=Compared({}, slow, one), chosen=replace(short, searched=one, held_out=slow)
    )
    assert "on the traces held out this would not have helped, keep the policy it started from" in held.no_help
    assert not replace(held, base=Compared({}, one, slow), chosen=replace(short, held_out=one)).no_help
    assert replace(held, chosen=held.base, reached=True).no_help.startswith(
        "nothing that was tried is better; the policy"
    )


def test_few_pauses_do_not_tune_a_policy_without_a_price(few: list[Trace]) -> None:
    with pytest.raises(
        UsageError, match=r"suffice for silence\.price alone, and policy 'provider' has none; record more"
    ):
        tune(few, preset("provider"))


def test_fewer_policies_are_tried_where_that_is_asked(few: list[Trace]) -> None:
    assert len(tune(few, trials=3).tried) == 3


def test_few_pauses_are_told_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out, png = tmp_path / "call.jsonl", tmp_path / "found.toml", tmp_path / "front.png"
    path.write_text("".join(json.dumps(record) + "\n" for record in trace(CALL, preset("balanced"))))
    assert main(["tune", str(path), "-o", str(out), "--plot", str(png)]) == 0
    captured = capsys.readouterr()
    assert "note: few pauses: only the price was searched" in captured.err
    assert "at most 5.0% cut off: not reached; 8.1% expected, with what is known beforehand" in captured.out
    assert "note: none of the prices tried keeps to that; record more" in captured.out
    assert "held out:" not in captured.out
    assert load_policy(str(out)).name == "balanced"
    assert png.read_bytes().startswith(b"\x89PNG")


def in_language(trace: Trace, language: str) -> Trace:
    return replace(trace, header=replace(trace.header, policy={"base": "balanced", "language": language}))


def test_traces_are_tuned_in_their_language(few: list[Trace]) -> None:
    tuned = tune([in_language(trace, "es") for trace in few], target=0.1)
    assert tuned.policy.language == "es"
    assert 'language = "es"' in policy_toml(tuned)
    with pytest.raises(UsageError, match="in several languages: tune them apart, or name one"):
        tune([in_language(few[0], "es"), in_language(few[0], "de")], target=0.1)


def test_a_tuned_policy_has_the_lists_of_its_language(few: list[Trace], tmp_path: Path) -> None:
    mine = Policy().replace({"language": {"base": "de", "fillers": ["öh", "𝄞a"]}, "backchannels": ["jo"]})
    tuned = tune(few, mine, target=0.1)
    (tmp_path / "mine.toml").write_text(policy_toml(tuned), "utf-8")
    assert load_policy(str(tmp_path / "mine.toml")) == tuned.policy
