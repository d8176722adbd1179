"""Sessions with a transcriber that speaks Soniox's protocol, on streams in memory: every word once, whatever fails."""

from __future__ import annotations

import json
from typing import Any

import trio
from trio.testing import memory_stream_pair

from hearout.session.session import open_session
from hearout.transcribers.soniox import Soniox
from hearout_policies.events import TurnCompleted
from tests.kit.provider import Source
from tests.kit.soniox_provider import KEY, FakeSoniox


def hear(fake: FakeSoniox, run_virtual: Any, source: Source) -> tuple[list[TurnCompleted], list[dict[str, Any]]]:
    """A session without voice detection: its turns, and what was recorded of it."""
    records: list[dict[str, Any]] = []

    class Records:
        def write(self, record: Any) -> None:
            records.append(dict(record))

    async def main() -> list[TurnCompleted]:
        async with trio.open_nursery() as nursery:

            async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
                here, there = memory_stream_pair()
                nursery.start_soon(fake.serve, nursery, there)
                return here

            async with open_session(source, Soniox(KEY), vad=None, recorder=Records(), connect=connect) as session:
                turns = [event async for event in session if isinstance(event, TurnCompleted)]
            nursery.cancel_scope.cancel()
        return turns

    return run_virtual(main), records


def test_a_turn(run_virtual: Any) -> None:
    fake = FakeSoniox()
    turns, records = hear(fake, run_virtual, Source(4.0))
    assert [(turn.text, turn.confirmed) for turn in turns] == [("Send it to London.", True)]
    assert len(fake.starts) == 1
    assert fake.starts[0]["audio_format"] == "pcm_s16le"
    assert fake.controls == ["finalize"]
    assert any("stt" in record and record["stt"].get("finished") for record in records)
    assert {"type": "finalize"} in [record.get("sent") for record in records]
    assert KEY not in json.dumps(records)


def test_an_error_in_mid_turn(run_virtual: Any) -> None:
    """It is told without tokens, and the connection closes with 1000: what was final stays, the rest is replayed."""
    error = {"error_code": 503, "error_type": "service_unavailable", "error_message": "Cannot go on."}
    fake = FakeSoniox(fail_at=1.3, error=error)
    turns, _ = hear(fake, run_virtual, Source(4.0))
    assert [(turn.text, turn.confirmed) for turn in turns] == [("Send it to London.", True)]
    assert fake.origins == [0.0, 0.8], "the second is fed from the first word on that was not final"


def test_a_long_mute(run_virtual: Any) -> None:
    """Without audio a keepalive goes out every 10 s: after 20 s Soniox would hang up."""
    fake = FakeSoniox()
    hear(fake, run_virtual, Source(2.0, pauses={1.8: 45.0}))
    assert fake.controls.count("keepalive") == 4
    assert len(fake.starts) == 1
