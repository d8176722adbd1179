"""The synchronous members of a session, where they could be misused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hearout import Deepgram, Session, UsageError, open_session
from hearout_policies.expect import Digits
from tests.kit.asyncio_runs import WORDS
from tests.kit.provider import Provider, Source


def use(session: Session) -> None:
    for command in (session.force_end, session.hold, session.release, session.clear):
        command()
        command(0)
    session.agent_started()
    session.agent_stopped()
    session.agent_said("Your number?")
    session.agent_said(" ")  # nothing
    session.expect(Digits(4), "yes_no", keep=True)
    session.use("fast", 0)
    session.key("5")
    session.send('{"type":"KeepAlive"}')


def test_commands_after_the_block_do_nothing(run_virtual: Callable[..., Any]) -> None:
    async def main() -> tuple[Session, list[dict[str, Any]], int]:
        records: list[dict[str, Any]] = []

        class Recorder:
            def write(self, record: Any) -> None:
                records.append(dict(record))

        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            transcriber = Deepgram("a-key", sample_rate=16_000)
            async with open_session(
                Source(2.0), transcriber, vad=None, connect=provider.connect, recorder=Recorder()
            ) as session:
                async for _ in session:
                    pass
                use(session)
                kinds = {"app", "agent", "expected", "policy", "key"}
                assert len([record for record in records if record.keys() & kinds]) == 14
                with pytest.raises(UsageError, match="there is no expectation 'fax'; types: digits, phone"):
                    session.expect("fax")
                with pytest.raises(UsageError, match="no policy named 'hasty'; there are: balanced"):
                    session.use("hasty")
                with pytest.raises(UsageError, match=re.escape("'12' is no key of a telephone: those are 0 to 9, *")):
                    session.key("12")
                with pytest.raises(UsageError, match="channel 1: the session has 0 to 0"):
                    session.hold(1)
                with pytest.raises(UsageError, match="5 is no policy: a Policy is one, the name of a preset"):
                    session.use(5)  # type: ignore[arg-type]
                with pytest.raises(UsageError, match="what the agent said is text, not 5"):
                    session.agent_said(5)  # type: ignore[arg-type]
                with pytest.raises(UsageError, match="an expectation is an object with a type, not 5"):
                    session.expect(5)  # type: ignore[arg-type]
            count = len(records)
            use(session)
            assert session.heard == 2.0
            assert session.link_stats.connections == 1
        return session, records, count

    session, records, count = run_virtual(main)
    use(session)  # no trio is running any more
    assert len(records) == count
