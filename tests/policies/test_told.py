"""What the application has been told: nothing twice."""

from __future__ import annotations

from hearout_policies import TurnPredicted, TurnResumed, TurnStarted, TurnUpdated
from hearout_policies.told import Told


def test_a_prediction_is_told_once_and_taken_back_once() -> None:
    told = Told(TurnStarted(3, 1, 0.6, 0.5))
    assert told.resume(1.0) == []
    assert told.predict(2.0, "yes") == [TurnPredicted(3, 1, 2.0, "yes")]
    assert (told.predict(2.1, "yes"), told.predicted) == ([], "yes")
    assert told.resume(2.2) == [TurnResumed(3, 1, 2.2)]
    assert (told.resume(2.3), told.predicted) == ([], None)


def test_an_update_says_what_is_known() -> None:
    told = Told(TurnStarted(3, 1, 0.6, 0.5, agent_speaking=True))
    assert told.update(1.0, "okay", 0.4, backchannel=True) == TurnUpdated(3, 1, 1.0, "okay", False, True, True, 0.4)
    told.interrupts = True
    assert told.update(1.5, "okay so", 0.9, backchannel=False) == TurnUpdated(
        3, 1, 1.5, "okay so", True, True, False, 0.9
    )
    assert told.text == "okay so"


def test_a_prediction_is_of_words_and_not_of_marks() -> None:
    told = Told(TurnStarted(3, 1, 0.6, 0.5))
    assert not told.predicts("yes")
    told.predict(2.0, "it costs $15.50")
    assert told.predicts("It costs $15.50!")
    assert not told.predicts("It costs $1550.")
