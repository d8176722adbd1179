"""When the link tries again, how often, for how long, and what it says in the end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from hearout.errors import SessionError
from hearout.link.settings import LinkSettings
from tests.faults.kit import GOOD, REFUSED, refusal
from tests.faults.runs import Outcome, Row, run
from tests.faults.server import Trouble
from tests.kit.provider import Plan

PATIENT = LinkSettings(first_budget=300.0)


def attempt(*plans: Plan, seed: int = 0, end: float = 100.0, settings: LinkSettings | None = None) -> Outcome:
    return run(Row("", "", plans, words=([],), end=end, settings=settings, seed=seed))


def pauses(outcome: Outcome) -> list[float]:
    return [later - earlier for earlier, later in pairwise(outcome.server.attempts)]


def test_what_would_fail_again_is_not_tried_again() -> None:
    for status in (301, 400, 401, 402, 403, 404, 405, 410, 426):
        outcome = attempt(refusal(status))
        assert len(outcome.server.attempts) == 1, status
        assert isinstance(outcome.error, SessionError)
        assert str(outcome.error).startswith(f"api.deepgram.com refused the connection: HTTP {status}")
        assert "gave up" not in str(outcome.error)
        assert not outcome.notices


def test_what_may_pass_is_tried_again() -> None:
    for status in (408, 425, 429, 500, 502, 503, 504):
        outcome = attempt(refusal(status), refusal(status), GOOD, end=10.0)
        assert outcome.error is None, status
        assert [notice.type for notice in outcome.notices] == ["link_down", "link_up"]
        assert f"HTTP {status}" in outcome.notices[0].detail
        assert outcome.stats.connections == 1
    for plan in (REFUSED, Trouble(hang_up_handshake=True), Trouble(reply=b"\0\0\0\0\r\n\r\n")):
        assert attempt(plan, plan, GOOD, end=10.0).error is None, plan


def test_pauses_double_up_to_a_cap() -> None:
    outcome = attempt(REFUSED, settings=PATIENT)
    for number, pause in enumerate(pauses(outcome)):
        nominal = min(0.25 * 2**number, 5.0)
        assert nominal / 2 <= pause <= nominal + 1e-9
    assert len(pauses(outcome)) > 20


def test_pauses_are_not_the_same_for_all() -> None:
    firsts = [pauses(attempt(REFUSED, REFUSED, GOOD, seed=seed, end=3.0))[0] for seed in range(20)]
    assert len(set(firsts)) == 20
    assert min(firsts) < 0.16
    assert max(firsts) > 0.22


def test_the_cap_and_the_first_pause_are_settings() -> None:
    outcome = attempt(REFUSED, settings=LinkSettings(first_budget=60.0, backoff=1.0, backoff_cap=2.0))
    first, *others = pauses(outcome)
    assert 0.5 <= first <= 1.0
    assert all(1.0 <= pause <= 2.0 for pause in others)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_connection_has_a_short_budget(seed: int) -> None:
    outcome = attempt(REFUSED, seed=seed)
    assert isinstance(outcome.error, SessionError)
    last = outcome.server.attempts[-1]
    assert 10.0 - 5.0 <= last <= 10.0
    assert str(outcome.error) == (
        f"cannot connect to api.deepgram.com:443: Connection refused; gave up after {last:.0f} s: "
        "check address and network"
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_session_that_ran_has_a_long_one(seed: int) -> None:
    outcome = attempt(Trouble(drop_at=8.0), refusal(503, "Service overloaded"), seed=seed)
    assert isinstance(outcome.error, SessionError)
    lost, last = outcome.server.troubles[0], outcome.server.attempts[-1]
    assert 60.0 - 5.0 <= last - lost <= 60.0
    assert str(outcome.error).startswith(
        f"api.deepgram.com refused the connection: HTTP 503 (Service overloaded); gave up after {last - lost:.0f} s"
    )
    assert [notice.type for notice in outcome.notices] == ["link_down"]


def test_the_budget_runs_through_connections_that_bring_nothing() -> None:
    # Each is accepted, and lost at once: that is no recovery.
    outcome = attempt(Trouble(drop_at=0.0))
    assert isinstance(outcome.error, SessionError)
    assert re.match(r"the transcriber hung up: 1006; gave up after 5\d s", str(outcome.error))
    for number, pause in enumerate(pauses(outcome)):
        assert pause >= min(0.25 * 2**number, 5.0) / 2


def test_a_good_connection_starts_both_afresh() -> None:
    # Every 8 s of audio a connection is lost and the next attempt is refused, for longer than any budget.
    plans = [plan for at in range(8, 96, 8) for plan in (Trouble(drop_at=float(at)), REFUSED)]
    outcome = attempt(*plans, GOOD, settings=LinkSettings(budget=5.0))
    assert outcome.error is None
    assert outcome.stats.losses == 11
    assert len(outcome.of("link_down")) == len(outcome.of("link_up")) == 11
    shorts = [pause for pause in pauses(outcome) if pause < 2.0]
    assert len(shorts) == 11  # from a refusal to the next attempt
    assert all(pause <= 0.5 for pause in shorts)


def test_the_server_may_ask_for_a_longer_pause() -> None:
    outcome = attempt(refusal(429, **{"retry-after": "3.5"}), GOOD, end=10.0)
    assert pauses(outcome) == [pytest.approx(3.5)]


@pytest.mark.parametrize(
    ("until", "now", "pause"),
    [
        ("Sat, 21 Nov 2026 12:00:03 GMT", "Sat, 21 Nov 2026 12:00:00 GMT", 3.0),
        ("Sun, 01 Jan 2017 00:00:04 GMT", "Sat, 31 Dec 2016 23:59:59 -0000", 5.0),
        ("Saturday, 21-Nov-26 12:00:06 GMT", "Sat Nov 21 12:00:00 2026", 6.0),
    ],
)
def test_the_pause_may_be_given_as_a_date(until: str, now: str, pause: float) -> None:
    outcome = attempt(refusal(429, **{"retry-after": until, "date": now}), GOOD, end=10.0)
    assert pauses(outcome) == [pytest.approx(pause)]


def test_without_a_date_of_the_servers_own_our_clock_counts() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)  # in whole seconds
    (pause,) = pauses(attempt(refusal(503, **{"retry-after": until}), GOOD, end=10.0))
    assert 0.0 < pause <= 4.0
    past = refusal(503, **{"retry-after": "Sat, 21 Nov 2015 12:00:00 GMT"})
    (pause,) = pauses(attempt(past, GOOD, end=3.0))
    assert 0.125 <= pause <= 0.25


def test_the_server_cannot_ask_for_a_shorter_one() -> None:
    far = "Fri, 99 Nov 9999 12:00:00 GMT"
    for seconds in ("0", "-5", "nan", "inf", "soon", "1e400", "", far, "Sat, 21 Nov 0001 00:00:00 +2359"):
        (pause,) = pauses(attempt(refusal(503, **{"retry-after": seconds}), GOOD, end=3.0))
        assert 0.125 <= pause <= 0.25, seconds


def test_a_pause_beyond_the_budget_is_not_waited_for() -> None:
    outcome = attempt(refusal(429, "Too many requests", **{"retry-after": "3600"}))
    assert len(outcome.server.attempts) == 1
    assert str(outcome.error).startswith(
        "api.deepgram.com refused the connection: HTTP 429 (Too many requests); "
        "too many connections at once; gave up after 0 s"
    )


def test_what_the_application_can_count() -> None:
    outcome = attempt(Trouble(drop_at=8.0), REFUSED, REFUSED, Trouble(drop_at=20.0), GOOD, end=30.0)
    one, other = outcome.of("link_up")
    assert outcome.stats.connections == 3
    assert outcome.stats.losses == 2
    assert outcome.stats.lost == 0
    downs = outcome.of("link_down")
    assert [up.outage for up in (one, other)] == [
        pytest.approx(up.at - down.at) for up, down in zip((one, other), downs, strict=True)
    ]
    assert outcome.stats.replayed == pytest.approx(8.0 - one.audio + 20.0 - other.audio, abs=0.3)
