"""How likely it is that a turn is over, and how long it pays to wait."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout_policies import Odds, Pauses, Policy, Silence, TurnView
from hearout_policies.odds import SHORTEST, Holds
from hearout_policies.text import Ending

USUAL = Holds.of(0.324, 1.02)

probabilities = st.floats(0.001, 0.999)
prices = st.floats(0, 10_000)
holds = st.builds(Holds.of, st.floats(0.21, 10), st.floats(0.22, 60))


# The odds


def test_the_text_alone() -> None:
    assert Odds().weigh(Ending.COMMA, None) == (0.08, (("comma", 0.08),))


@pytest.mark.parametrize(
    ("ear", "together"),
    [
        (0.5, 0.42),  # says nothing
        (0.8, 0.743),  # 0.42 / 0.58 x 0.8 / 0.2 = 2.897
        (0.2, 0.153),
        (1.0, 0.843),  # no more than e^2 times as likely
        (0.0, 0.089),
    ],
)
def test_an_ear_moves_the_odds_by_its_own_within_limits(ear: float, together: float) -> None:
    odds, evidence = Odds().weigh(Ending.STOP, ear)
    assert round(odds, 3) == together
    assert evidence == (("stop", 0.42), ("ear", ear))


def test_an_ear_that_may_move_nothing() -> None:
    assert Odds(ear_cap=0.0).weigh(Ending.STOP, 1.0)[0] == pytest.approx(0.42)


@given(
    text=probabilities,
    ears=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
    cap=st.floats(0, 10),
)
def test_a_better_word_of_the_ear_is_never_worse(text: float, ears: list[float], cap: float) -> None:
    odds = Odds(plain=text, ear_cap=cap)
    low, high = (odds.weigh(Ending.PLAIN, ear)[0] for ear in ears)
    assert 0 < low <= high < 1


# The wait


@pytest.mark.parametrize("probability", [0.05, 0.2, 0.42, 0.84])
@pytest.mark.parametrize("price", [0.4, 1.3, 4.0, 20.0])
def test_no_other_wait_costs_less(probability: float, price: float) -> None:
    """Against all waits up to a minute, a millisecond apart."""

    def cost(wait: float) -> float:
        return probability * (wait - SHORTEST) + (1 - probability) * price * USUAL.longer(wait)

    best = USUAL.best_wait(probability, price)
    assert cost(best) <= min(cost(float(wait)) for wait in np.arange(SHORTEST, 60, 0.001)) + 1e-9


@given(holds, st.lists(probabilities, min_size=2, max_size=2).map(sorted), prices)
def test_higher_odds_never_wait_longer(pauses: Holds, odds: list[float], price: float) -> None:
    less_likely, likelier = (pauses.best_wait(probability, price) for probability in odds)
    assert SHORTEST <= likelier <= less_likely + 1e-9
    assert math.isfinite(less_likely)


@given(holds, probabilities, st.lists(prices, min_size=2, max_size=2).map(sorted))
def test_a_higher_price_never_waits_shorter(pauses: Holds, probability: float, two: list[float]) -> None:
    cheap, dear = (pauses.best_wait(probability, price) for price in two)
    assert cheap <= dear + 1e-9


def test_median_and_ninth_decile() -> None:
    assert [round(USUAL.longer(seconds), 3) for seconds in (0.1, SHORTEST, 0.324, 1.02)] == [1.0, 1.0, 0.5, 0.1]


# This caller's pauses


def test_what_is_shorter_than_a_pause_is_none() -> None:
    assert Pauses().add(0.2) == Pauses().add(0.209) == Pauses()
    once = Pauses().add(0.22)
    assert (once.count, once.log) == (1, pytest.approx(math.log(0.02)))


def test_ten_pauses_weigh_as_much_as_what_is_known_beforehand() -> None:
    """Halfway, in the logarithm."""
    heard = Pauses(10, 10 * (USUAL.mu + 1))
    assert USUAL.after(heard, 10).mu == pytest.approx(USUAL.mu + 0.5)
    assert USUAL.after(heard, 0).mu == pytest.approx(USUAL.mu + 1)
    assert USUAL.after(heard, 1e6).mu == pytest.approx(USUAL.mu, abs=1e-4)


def test_no_caller_is_taken_to_pause_three_times_as_long() -> None:
    heard = Pauses(1000, 1000 * (USUAL.mu + 5))
    assert USUAL.after(heard, 10).mu == pytest.approx(USUAL.mu + math.log(3))
    heard = Pauses(1000, 1000 * (USUAL.mu - 5))
    assert USUAL.after(heard, 10).mu == pytest.approx(USUAL.mu - math.log(3))


VIEW = TurnView(now=5.0, opened=1.0, vad=True, speech_end=4.0, words=2)


@given(probabilities, prices, st.floats(0.1, 30), st.lists(st.floats(0, 1e4), max_size=30), st.floats(0, 1e6))
def test_no_hold_is_longer_than_the_policy_says(
    probability: float, price: float, longest: float, pauses: list[float], prior: float
) -> None:
    heard = Pauses()
    for seconds in pauses:
        heard = heard.add(seconds)
    rule = Silence(price=price, longest=longest, prior=prior)
    assert 0 < rule.hold(replace(VIEW, odds=probability, pauses=heard)) <= longest


def test_every_source_of_odds_can_be_set_by_its_key() -> None:
    policy = Policy().replace({f"odds.{field.name}": 0.3 for field in fields(Odds)})
    assert {getattr(policy.odds, field.name) for field in fields(Odds)} == {0.3}
