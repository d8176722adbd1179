"""A session judges in the language that its transcriber was told to hear, and its trace says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hearout import Deepgram, Flux, Policy, Soniox, TurnCompleted, open_session, parse_trace, preset, replay
from hearout.session.language import in_language, told_language
from hearout.traces.replayer import Replayed, recorded_language
from hearout.transcribers.base import Dialect
from hearout_policies.language import table_language
from tests.kit.provider import Provider, Source

GERMAN = [("ich", 0.3, 0.5), ("möchte", 0.5, 0.8), ("den", 0.8, 1.0)]  # in English "den" is a word like any other
HEADER = {"hearout_trace": 1, "stt": "deepgram", "channels": 1, "vad": False}


@pytest.mark.parametrize(
    ("transcriber", "language"),
    [
        (Deepgram("k"), None),
        (Deepgram("k", language="de-CH"), "de"),
        (Deepgram("k", language="es-419"), "es"),
        (Deepgram("k", language="nl"), "none"),
        (Deepgram("k", language="multi"), "none"),
        (Deepgram("k", language="multi", language_hint=["fr"]), "fr"),
        (Deepgram("k", language="multi", language_hint=["fr", "en"]), "none"),
        (Soniox("k"), None),
        (Soniox("k", language_hints=["pt"]), "pt"),
        (Soniox("k", language_hints=["en", "es"]), "none"),
        (Flux("k"), None),
        (Flux("k", model="flux-general-multi", language_hint=["ja"]), "ja"),
        (Flux("k", model="flux-general-multi", language_hint=["en-US", "en-GB"]), "en"),
    ],
)
def test_what_a_transcriber_was_told(transcriber: Dialect, language: str | None) -> None:
    assert told_language(transcriber) == language


@pytest.mark.parametrize("odd", [5, b"de", ["de"], {}])
def test_another_kind_of_option_says_nothing(odd: Any) -> None:
    class Odd(Deepgram):
        pass

    transcriber = Odd("k")
    transcriber.language = odd
    assert told_language(transcriber) is None


def test_a_policy_that_names_a_language_keeps_it() -> None:
    assert in_language(Policy(language="es"), "de").language == "es"
    assert in_language(Policy(language="none"), "de").language == "none"
    assert in_language(Policy(), "de").language == "de"
    assert in_language(Policy(), None) == Policy()


def hear(
    run_virtual: Callable[..., Any], transcriber: Deepgram, policy: Policy | str, use: str | None = None
) -> tuple[list[TurnCompleted], list[dict[str, Any]]]:
    records: list[dict[str, Any]] = []

    class Recorder:
        def write(self, record: Any) -> None:
            records.append(dict(record))

    async def main() -> list[TurnCompleted]:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [GERMAN])
            async with open_session(
                Source(6.0), transcriber, policy=policy, vad=None, connect=provider.connect, recorder=Recorder()
            ) as session:
                if use:
                    session.use(use)
                turns = [event async for event in session if isinstance(event, TurnCompleted)]
            nursery.cancel_scope.cancel()
        return turns

    return run_virtual(main), records


def turns_of(replayed: Replayed) -> list[TurnCompleted]:
    return [output for output in replayed.outputs if isinstance(output, TurnCompleted)]


def endings(turns: list[TurnCompleted]) -> list[str]:
    """How the texts ended, by what the decisions say of it."""
    return [name for turn in turns for name, _ in turn.evidence]


@pytest.mark.parametrize("use", [None, "patient"])
def test_the_session_follows_it_and_the_trace_replays_the_same(
    run_virtual: Callable[..., Any], use: str | None
) -> None:
    turns, records = hear(run_virtual, Deepgram("k", language="de"), "balanced", use)
    assert "function_word" in endings(turns), "and that costs a hold"
    assert records[0] == {"t": 0.0, "policy": {"base": "balanced", "language": "de"}}
    policies = [record["policy"] for record in records if "policy" in record]
    assert [policy["language"] for policy in policies] == ["de"] * (2 if use else 1)
    trace = parse_trace([json.dumps(line) for line in [HEADER, *records]])
    assert recorded_language(trace) == "de"
    assert turns_of(replay(trace)) == turns
    other = replay(trace, preset("fast"))
    assert "function_word" in endings(turns_of(other)), "another policy judges in the same language"
    english = replay(trace, Policy(language="en"))
    assert "function_word" not in endings(turns_of(english))


def test_without_a_language_nothing_is_recorded(run_virtual: Callable[..., Any]) -> None:
    turns, records = hear(run_virtual, Deepgram("k"), "balanced")
    assert not any("policy" in record for record in records)
    assert "function_word" not in endings(turns)


def test_the_language_of_the_policy_goes_before_and_stays(run_virtual: Callable[..., Any]) -> None:
    mine = table_language({"function_words": ["den"]})
    turns, records = hear(run_virtual, Deepgram("k", language="en"), Policy(language=mine), "fast")
    assert "function_word" in endings(turns)
    (used,) = [record["policy"] for record in records if "policy" in record]
    assert used["language"] == {"base": "none", "function_words": ["den"]}
