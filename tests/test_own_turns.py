"""The turn machine over a framework's transcriber: each final word is in one turn, however results fall on turns."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hearout.integrations.turns import OwnTurns
from hearout_policies.events import Output, TurnAmended, TurnCompleted
from hearout_policies.policy import preset

Step = tuple[float, Callable[[OwnTurns], object]]


class Jumping(selectors.DefaultSelector):
    """Does not wait: time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock."""

    def __init__(self) -> None:
        self._jumping = Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(*steps: Step) -> dict[int, str]:
    """Each step so many seconds after the one before; the turns' texts as they are in the end."""
    turns: dict[int, str] = {}

    def take(output: Output) -> None:
        if isinstance(output, (TurnCompleted, TurnAmended)):
            turns[output.turn] = output.text

    async def conversation() -> None:
        own = OwnTurns(preset("balanced"), take)
        own.start()
        for pause, step in steps:
            await asyncio.sleep(pause)
            step(own)
        await asyncio.sleep(30.0)
        own.stop()

    loop = Loop()
    try:
        loop.run_until_complete(conversation())
    finally:
        loop.close()
    return turns


def interim(text: str) -> Callable[[OwnTurns], object]:
    return lambda own: own.interim(text)


def final(text: str, *, finalized: bool = True) -> Callable[[OwnTurns], object]:
    return lambda own: own.final(text, finalized=finalized)


def test_a_final_covers_two_turns_that_were_over() -> None:
    turns = run((1.0, interim("a")), (6.0, interim("a b c")), (6.0, final("a b c")))
    assert turns == {1: "a", 2: "b c"}


def test_what_it_brings_beyond_them_is_new() -> None:
    turns = run((1.0, interim("a")), (6.0, interim("a b c")), (6.0, final("a b c d")))
    assert turns == {1: "a", 2: "b c", 3: "d"}


def test_a_later_interim_says_nothing_again() -> None:
    steps = (interim("a"), interim("a b c"), interim("a b c d"), final("a b c d e"))
    assert run(*((6.0, step) for step in steps)) == {1: "a", 2: "b c", 3: "d", 4: "e"}


def test_a_segment_may_stay_open_over_many_turns() -> None:
    texts = [" ".join("abcdefgh"[:count]) for count in range(1, 9)]
    turns = run(*((6.0, interim(text)) for text in texts), (6.0, final(texts[-1])))
    assert turns == dict(enumerate("abcdefgh", 1))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.5, 1.0, 3.0, 7.0]),
            st.integers(0, 3),  # words that are new
            st.sampled_from(["interim", "interim", "final", "last"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_each_final_word_is_in_one_turn(results: list[tuple[float, int, str]]) -> None:
    steps: list[Step] = []
    said = done = 0
    for pause, new, kind in [*results, (1.0, 1, "last")]:
        said += new
        text = " ".join(f"w{number}" for number in range(done, said))
        if text:
            steps.append((pause, interim(text) if kind == "interim" else final(text, finalized=kind == "last")))
            done = done if kind == "interim" else said
    words = " ".join(text for _, text in sorted(run(*steps).items())).split()
    assert words == [f"w{number}" for number in range(said)]
