"""Sessions with a transcriber that takes after Flux: mutes, the end of the audio; the local server over a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from hearout import open_session
from hearout.traces.reader import parse_trace
from hearout.traces.replayer import replay
from hearout.transcribers.flux import Flux
from hearout_policies.events import TurnPredicted, TurnResumed, as_dict
from hearout_policies.policy import Policy
from tests.faults.kit import sound
from tests.faults.runs import Outcome, Row, run
from tests.faults.server import Trouble, say
from tests.kit.scripted import Silence
from tests.kit.serving import playing

WORDS = [*say("please book a table.", 1.0), *say("for two.", 4.0)]
MUTED = Row(
    "",
    "muted for 6 s right behind the first sentence",
    words=(WORDS,),
    end=6.0,
    source=sound(pauses={2.24: 6.0}),
    dialect="flux",
)


def turns(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(event.text, event.confirmed) for event in outcome.of("turn_completed")]


def silence(outcome: Outcome) -> list[float]:
    """When it was fed silence."""
    return [at for at, _, what, _ in outcome.server.log if what == "silence"]


def test_a_mute_ends_the_turn() -> None:
    """Flux's own EndOfTurn comes, since it is fed silence; the words behind the mute stand where they were said."""
    outcome = run(MUTED)
    assert turns(outcome) == [("please book a table.", True), ("for two.", True)]
    first, second = outcome.of("turn_completed")
    assert first.at < 4.5
    assert not outcome.of("turn_amended")
    assert not outcome.notices
    assert not outcome.count.lost
    assert [(w.text, w.start) for w in second.words] == [(w, pytest.approx(s, abs=0.02)) for w, s, _ in WORDS[4:]]


def test_silence_begins_late_and_ends_with_the_turn() -> None:
    outcome = run(MUTED)
    fed = [at for at in silence(outcome) if at < 8.0]
    assert fed[0] == pytest.approx(2.24 + 0.5, abs=0.15)
    assert 0.5 <= len(fed) * 0.1 <= 1.2
    assert fed[-1] - fed[0] == pytest.approx((len(fed) - 1) * 0.1, abs=0.05)


def test_a_connection_that_is_lost_in_a_mute_forgets_the_silence() -> None:
    """The new one hears the turn again, and its own silence; nothing is lost, and every time is right."""
    outcome = run(Row(**{**vars(MUTED), "plans": (Trouble(endpoints=False, drop_at=2.24), Trouble())}))
    assert [text for text, _ in turns(outcome)] == ["please book a table.", "for two."]
    assert not outcome.count.lost + outcome.count.doubled + outcome.count.invented


def test_a_late_block_is_no_mute() -> None:
    late = sound(late=lambda audio: 0.4 if 1.5 < audio < 1.6 else 0.0)
    outcome = run(Row(**{**vars(MUTED), "source": late}))
    assert not [at for at in silence(outcome) if at < 4.0]


def test_others_are_fed_none() -> None:
    for dialect in ("deepgram", "soniox"):
        assert not silence(run(Row(**{**vars(MUTED), "dialect": dialect})))


def test_the_end_of_the_audio_ends_the_turn() -> None:
    """CloseStream would not: before it, silence is fed until EndOfTurn."""
    outcome = run(Row("", "", words=(WORDS,), end=4.6, dialect="flux"), record=True)
    assert turns(outcome)[-1][0] == "for two."
    assert not outcome.count.lost
    assert outcome.records is not None
    told = [r.get("stt", {}).get("event") or r.get("sent", {}).get("type") for r in outcome.records]
    assert [what for what in told if what in ("EndOfTurn", "CloseStream")] == ["EndOfTurn", "EndOfTurn", "CloseStream"]


def test_a_turn_that_never_ends_holds_up_the_end_no_longer_than_the_tail() -> None:
    outcome = run(Row("", "", (Trouble(endpoints=False),), words=(WORDS,), end=4.6, dialect="flux"))
    assert not outcome.count.lost
    close = next(at for at, _, what, _ in outcome.server.log if what == "CloseStream")
    assert 5.0 <= close - outcome.of("turn_completed")[-1].at <= 5.3


@pytest.mark.parametrize("plans", [(Trouble(),), (Trouble(drop_at=4.2), Trouble())])
def test_a_replay_hears_the_same(plans: Any) -> None:
    outcome = run(Row(**{**vars(MUTED), "plans": plans}), record=True)
    assert outcome.records is not None
    header = {"hearout_trace": 1, "stt": "flux", "channels": 1, "vad": True}
    trace = parse_trace([json.dumps(record) for record in [header, *outcome.records]])
    notices = outcome.notices
    live = [as_dict(event) for _, event in outcome.events if event not in notices]
    assert [as_dict(output) for output in replay(trace, Policy()).outputs] == live
    assert any(record.get("sent", {}).get("type") == "Silence" for record in outcome.records)


# The local server


def info(t: float, event: str, text: str, turn: int, start: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "t": t,
        "stt": {
            "type": "TurnInfo",
            "event": event,
            "turn_index": turn,
            "audio_window_start": start,
            "audio_window_end": t,
            "transcript": text,
            "words": [],
            **more,
        },
    }


SCRIPT = [
    info(0.5, "Update", "", 0),
    info(1.0, "StartOfTurn", "book a", 0),
    info(1.4, "Update", "book a table", 0),
    info(1.8, "EagerEndOfTurn", "book a table", 0),
    info(2.2, "TurnResumed", "book a table for", 0),
    info(2.6, "Update", "book a table for two", 0),
    info(3.0, "EagerEndOfTurn", "book a table for two", 0),
    info(3.4, "EndOfTurn", "book a table for two", 0, trigger="model"),
    info(3.6, "Update", "", 1, 3.4),
    info(4.2, "StartOfTurn", "yes", 1, 3.4),
    info(4.8, "EndOfTurn", "yes", 1, 3.4, trigger="model"),
    info(5.2, "Update", "", 2, 4.8),
]


def test_turns_over_a_socket() -> None:
    """The policy predicts nothing itself: how far the audio runs ahead of the messages is the socket's affair."""
    policy = Policy().replace({"predict_above": 1.0})

    async def main(server: str) -> list[Any]:
        transcriber = Flux("any", f"ws://{server}/v2/listen", eager_eot_threshold=0.5)
        silence = Silence(7.0, live=False)
        async with open_session(silence, transcriber, policy=policy, vad=None, realtime=False) as session:
            return [event async for event in session]

    with playing(*SCRIPT, stt="flux") as server:
        events = trio.run(main, server)
    completed = [event for event in events if event.type == "turn_completed"]
    assert [(event.text, event.confirmed) for event in completed] == [("book a table for two", True), ("yes", True)]
    kinds = [event.type for event in events if event.type not in ("turn_updated", "command")]
    assert kinds == [
        "turn_started",
        "turn_predicted",
        "turn_resumed",
        "turn_predicted",
        "turn_completed",
        "turn_started",
        "turn_completed",
    ]
    predicted = [event.text for event in events if isinstance(event, TurnPredicted)]
    assert predicted == ["book a table", "book a table for two"]
    assert sum(isinstance(event, TurnResumed) for event in events) == 1
