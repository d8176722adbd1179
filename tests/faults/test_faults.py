"""The fault matrix, row by row, and a drop at every point of a session."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from hearout.traces.reader import parse_trace
from hearout.traces.replayer import replay
from tests.faults.kit import GOOD, refusal
from tests.faults.matrix import ROWS
from tests.faults.runs import DIALECTS, Outcome, Row, run
from tests.faults.server import Trouble, say
from tests.kit.effort import nightly
from tests.kit.secret import told

# Turns as people take them, and turns between which the link has the time to catch up.
QUICK = [*say("i would like to move my flight to monday.", 0.5), *say("yes.", 4.2), *say("yes.", 5.4)]
SLOW = [*say("i would like to move to monday.", 0.6), *say("yes.", 11.0)]


def undisturbed(row: Row) -> list[str]:
    return _turns(tuple(tuple(channel) for channel in row.words), row.end, row.dialect, row.own_turns)


@cache
def _turns(
    words: tuple[tuple[tuple[str, float, float], ...], ...], end: float, dialect: str, own_turns: bool
) -> list[str]:
    outcome = run(Row("", "", words=words, end=end, dialect=dialect, own_turns=own_turns))
    assert not outcome.notices
    assert not outcome.count.lost
    return outcome.turns


def named(name: str, dialect: str = "deepgram") -> Row:
    (row,) = [row for row in ROWS if (row.name, row.dialect) == (name, dialect)]
    return row


def whole(dialect: str) -> bool:
    """Every place is tried. The link is the same for all dialects, so that every day one is enough."""
    return dialect == "deepgram" or nightly()


def check_promises(row: Row, outcome: Outcome) -> None:
    """What holds whatever goes wrong."""
    assert not outcome.orphans
    count = outcome.count
    assert not count.doubled
    assert not count.invented
    gaps = [(event.audio_start, event.audio_end) for event in outcome.of("audio_lost")]
    assert outcome.error or all(any(a - 0.3 <= w[1] < b for a, b in gaps) for w in count.lost)
    ats = [event.at for _, event in outcome.events]
    assert ats == sorted(ats)
    for channel in range(len(row.words)):
        ends = ("turn_completed", "turn_abandoned")
        kinds = [event.type for event in outcome.of("turn_started", *ends) if event.channel == channel]
        assert all((kind == "turn_started") == (place % 2 == 0) for place, kind in enumerate(kinds))
        assert outcome.error or len(kinds) % 2 == 0
    for one, other in pairwise(outcome.of("link_down", "link_up")):
        assert one.type != other.type
    assert told(repr(outcome.events) + repr(outcome.error)) is None


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=f"{row.dialect}: {row.name}",
            marks=[pytest.mark.xfail(reason=row.bug, strict=True)] if row.bug else [],
        )
        for row in ROWS
    ],
)
def test_row(row: Row) -> None:
    outcome = run(row)
    check_promises(row, outcome)
    if row.error is None:
        assert outcome.error is None
        assert [text for text, _, _ in outcome.count.lost] == list(row.lost)
        if row.turns and row.dialect not in row.merges:
            assert outcome.turns == undisturbed(row)
    else:
        assert row.error in str(outcome.error)
    if row.notices is not None:
        assert " ".join(event.type for event in outcome.notices) == row.notices
    details = [getattr(event, "detail", "") for event in outcome.notices][:1]
    assert row.says in " ".join([*details, str(outcome.error)])
    if row.recovered is None:
        assert row.error is not None or outcome.recovered is None
    else:
        assert outcome.recovered is not None
        assert outcome.recovered <= row.recovered


@pytest.mark.parametrize("row", [row for row in ROWS if row.wire in ("untrusted", "other name", "expired")])
def test_who_cannot_prove_its_name_gets_no_key(row: Row) -> None:
    outcome = run(row)
    assert outcome.server.connections > 0
    assert not outcome.server.requests


def test_the_span_that_is_lost_is_told_exactly() -> None:
    row = named("outage longer than the buffer")
    outcome = run(row)
    (span,) = outcome.of("audio_lost")
    (up,) = outcome.of("link_up")
    assert span.audio_end == up.audio
    assert span.audio_end - span.audio_start == pytest.approx(outcome.stats.lost)
    inside = [word for word in row.words[0] if span.audio_start <= word[1] < span.audio_end]
    assert outcome.count.lost == inside
    assert [text for text, _, _ in inside] == list(row.lost)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_drop_at_every_message(dialect: str) -> None:
    """After the n-th message of the server, and instead of it; but for Deepgram, a third of them each day."""
    row = Row("", "", words=(SLOW,), end=13.0, dialect=dialect)
    messages = run(row).server.sent
    assert messages > 10
    for number in range(1, messages + 1, 1 if whole(dialect) else 3):
        plans = (Trouble(drop_after_messages=number), Trouble(withhold=number))
        for plan in plans if whole(dialect) else plans[number % 2 :][:1]:
            broken = replace(row, plans=(plan, Trouble()))
            outcome = run(broken)
            check_promises(broken, outcome)
            assert outcome.error is None, plan
            assert outcome.stats.losses <= 1
            assert outcome.turns == undisturbed(row), plan
            assert not outcome.count.lost, plan


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_drop_at_every_piece_of_audio(dialect: str) -> None:
    """After each message with audio. Turns may run into one another, the words may not change.

    But for Deepgram, each day a fifth of them; another one for each dialect.
    """
    row = Row("", "", words=(QUICK,), end=6.5, dialect=dialect)
    for step in range(*((1, 66) if whole(dialect) else (1 + DIALECTS.index(dialect) % 5, 66, 5))):
        broken = replace(row, plans=(Trouble(drop_at=step / 10), Trouble()))
        outcome = run(broken)
        check_promises(broken, outcome)
        assert outcome.error is None, step
        assert outcome.stats.losses == 1
        assert " ".join(outcome.turns) == " ".join(undisturbed(row)), step
        assert not outcome.count.lost, step


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("pause", ["0", "3", "8"])
def test_one_sentence_is_one_turn(pause: str, dialect: str) -> None:
    """However long the outage, words that are late are no silence while the voice detection hears speech."""
    if (dialect, pause) == ("openai", "8"):
        pytest.skip("OpenAI's words have no times: so late, they are laid on others")
    row = named("one long sentence, dropped", dialect)
    for at in range(1, 15, 2 if whole(dialect) else 4):
        outcome = run(replace(row, plans=(Trouble(drop_at=float(at)), refusal(503, **{"retry-after": pause}), GOOD)))
        check_promises(row, outcome)
        assert outcome.turns == undisturbed(row), at
        assert not outcome.count.lost


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_long_silence_is_not_heard_again(dialect: str) -> None:
    """Nor is any of it told as lost, although no more than a minute of audio is kept."""
    words = (*say("hello there.", 1.0), *say("yes please.", 73.0))
    row = Row("", "", words=(words,), end=76.0, dialect=dialect, plans=(Trouble(drop_at=71.0), GOOD))
    outcome = run(row)
    check_promises(row, outcome)
    assert not outcome.of("audio_lost")
    assert not outcome.count.lost
    assert outcome.turns == ["hello there.", "yes please."]
    assert outcome.stats.losses == 1
    assert outcome.stats.replayed < 6.0


@pytest.mark.parametrize(
    "name", ["handshake hangs once", "half-open", "down at the end of a turn", "audio stalls within a turn"]
)
def test_a_replay_lays_words_without_times_where_the_session_did(name: str) -> None:
    row = named(name, "elevenlabs")
    outcome = run(row, record=True)
    assert outcome.records is not None
    header = {"hearout_trace": 1, "stt": "elevenlabs", "channels": 1}
    replayed = replay(parse_trace([json.dumps(line) for line in (header, *outcome.records)]))
    kinds = ("turn_started", "turn_completed", "turn_amended", "turn_abandoned")
    assert [event for event in replayed.outputs if event.type in kinds] == outcome.of(*kinds)


def test_turns_end_while_the_link_is_down() -> None:
    """By the local silence, unconfirmed; the words come later."""
    row = named("down at the end of a turn")
    outcome = run(row)
    first, *_ = outcome.of("turn_completed")
    (down,), (up,) = outcome.of("link_down"), outcome.of("link_up")
    assert down.at < first.at < up.at
    assert not first.confirmed
    amended = outcome.of("turn_amended")[-1]
    assert (amended.turn, amended.confirmed) == (first.turn, True)


def test_a_confirmed_turn_has_all_its_words() -> None:
    """The answer to a Finalize in mid-speech comes late, after a second Finalize; it is not the second one's."""
    row = named("a frame of no known kind")
    outcome = run(row)
    confirmed = {event.turn: event.text for event in outcome.of("turn_completed") if event.confirmed}
    assert not [event for event in outcome.of("turn_amended") if event.turn in confirmed]
