"""What the application is told when it is slow, and when the transcriber is gone for good."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from hearout.errors import SessionError
from hearout.nursery import open_background
from hearout.session.core import SessionEvent
from hearout.session.session import enqueue, open_session
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.events import TurnStarted, TurnUpdated
from tests.kit.provider import Plan, Provider, Source
from tests.session.test_session import KEY, ORDER, Gate, Trace


def update(channel: int, text: str) -> TurnUpdated:
    return TurnUpdated(at=1.0, channel=channel, turn=1, text=text)


def queued(*events: SessionEvent) -> list[SessionEvent]:
    queue: deque[SessionEvent] = deque()
    for event in events:
        enqueue(queue, event)
    return list(queue)


def test_an_update_replaces_the_one_before_it_of_the_same_channel_only() -> None:
    one, two, other = update(0, "one"), update(0, "one two"), update(1, "yes")
    started = TurnStarted(at=2.0, channel=0, turn=2, audio_start=1.9)
    assert queued(one, two) == [two]
    assert queued(one, other, two) == [one, other, two]
    assert queued(one, started, two) == [one, started, two]


def test_when_the_transcriber_fails_for_good_the_trace_says_that_the_link_is_lost(
    run_virtual: Callable[..., Any],
) -> None:
    """Before the end of the audio: what was interim then stays interim, in a replay too."""
    trace = Trace()

    async def main() -> None:
        async with open_background() as nursery:
            provider = Provider(nursery, (ORDER,), (Plan(close=(1008, "DATA-0000"), close_at=1.6),))
            options: dict[str, Any] = {"vad": Gate, "connect": provider.connect, "recorder": trace}
            async with open_session(Source(9.0), Deepgram(KEY), **options) as session:
                async for event in session:
                    events.append(event)

    events: list[Any] = []
    with pytest.raises(SessionError, match="1008 DATA-0000"):
        run_virtual(main)
    assert [event.type for event in events].count("turn_started") == 1
    assert [event.type for event in events][-1] in ("turn_completed", "turn_abandoned")
    ends = [record for record in trace.records if "link" in record or "end" in record]
    assert [record.get("link", "end") for record in ends] == ["lost", "end"]
