"""Whatever is said, and whatever the agent says: only its own words, in its order, while it speaks, are its echo."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hearout_policies.echo import Echo
from hearout_policies.signals import Transcript, Word

WORDS = st.sampled_from(
    ["the", "large", "one", "or", "small", "please", "what", "is", "your", "number", "yes", "no", "5"]
)
texts = st.lists(WORDS, max_size=12)


def result(words: list[str], *, final: bool) -> Transcript:
    said = tuple(Word(word, 1.0 + 0.3 * n, 1.2 + 0.3 * n) for n, word in enumerate(words))
    return Transcript(9.0, said, 1.0, 9.0, is_final=final)


@given(st.lists(texts, max_size=3), texts, st.booleans(), st.integers(0, 6))
def test_nothing_is_taken_from_who_speaks_while_the_agent_does_not(
    agent: list[list[str]], user: list[str], final: bool, least: int
) -> None:
    echo = Echo()
    for said in agent:
        echo.say(" ".join(said))
    heard = result(user, final=final)
    assert echo.sift(heard, least, lambda audio: False) == heard


@given(texts, texts, st.integers(1, 6))
def test_what_is_taken_the_agent_said(agent: list[str], user: list[str], least: int) -> None:
    echo = Echo()
    echo.say(" ".join(agent))
    heard = result(user, final=True)
    left = echo.sift(heard, least, lambda audio: True)
    assert set(left.words) <= set(heard.words)
    taken = [word for word in heard.words if word not in left.words]
    assert not taken or len(taken) >= least
    if len(user) < least or not any(
        agent[n : n + least] == user[m : m + least] for n in range(len(agent)) for m in range(len(user) - least + 1)
    ):
        assert left == heard


@given(texts, texts)
def test_an_echo_that_is_not_guarded_against_stays(agent: list[str], user: list[str]) -> None:
    echo = Echo()
    echo.say(" ".join(agent))
    heard = result(user, final=True)
    assert echo.sift(heard, 0, lambda audio: True) == heard
