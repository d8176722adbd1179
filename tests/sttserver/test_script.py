"""The local server with a script: traces as conversations, one message at a time and with our client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout.errors import UsageError
from hearout.sttserver.__main__ import main as command_line
from hearout.sttserver.deepgram.options import parse_options
from hearout.sttserver.deepgram.script import V1Script
from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.sttserver.steps import Close, Drop, Refused, Send, Step
from hearout.traces.checker import check
from hearout.traces.reader import parse_trace, read_trace
from hearout.traces.records import AudioStall, Trace
from hearout.traces.replayer import replay
from hearout_policies.events import TurnCompleted
from tests.kit.models import no_recogniser
from tests.kit.paths import CASES, DATA
from tests.kit.scripted import RATE, converse, dialect, in_memory, length, links

CAPTURED = sorted((DATA).glob("captured_*.jsonl"))
TRACES = sorted(CASES.glob("*.jsonl"))
SECOND = bytes(2 * RATE)


def script(*records: dict[str, Any], channels: int = 1) -> Script:
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": channels, "vad": False}
    return Script(parse_trace([json.dumps(line) for line in (header, *records)]))


def says(t: float, text: str) -> dict[str, Any]:
    return {"t": t, "stt": {"say": text}}


def answers(after: float, text: str) -> dict[str, Any]:
    return {"on": "finalize", "after": after, "stt": {"say": text}}


def connect(script: Script, query: str = "", **options: Any) -> V1Script:
    return V1Script(script, parse_options(f"encoding=linear16&sample_rate={RATE}&{query}"), "id", "now", **options)


def shown(steps: Sequence[Step]) -> list[Any]:
    """What a client sees: the words of the script, types of other messages, the code of a close."""
    out: list[Any] = []
    for step in steps:
        match step:
            case Send(text):
                message = json.loads(text)
                out.append(message.get("say") or message["type"])
            case Close(code):
                out.append(code)
            case Drop():
                out.append("drop")
            case _:
                raise AssertionError(step)
    return out


FINALIZE, CLOSE = '{"type":"Finalize"}', '{"type":"CloseStream"}'


def test_messages_come_when_their_audio_has() -> None:
    stream = connect(script(says(0.5, "a"), says(1.0, "b"), says(1.001, "c")))
    assert shown(stream.receive(SECOND[:15998])) == []
    assert shown(stream.receive(b"\0\0")) == ["a"]
    assert shown(stream.receive(SECOND[:16000])) == ["b"]
    assert shown(stream.wait(5.0)) == []
    assert shown(stream.receive(CLOSE)) == ["c", "Metadata", 1000]


@pytest.mark.parametrize(("query", "second"), [("encoding=mulaw&sample_rate=8000", 8000), ("channels=2", 4 * RATE)])
def test_audio_time_is_that_of_the_format(query: str, second: int) -> None:
    stream = connect(script(says(2.0, "a")), query)
    assert shown(stream.receive(bytes(second * 2 - 4))) == []
    assert shown(stream.receive(bytes(4))) == ["a"]


def test_the_nth_finalize_has_the_nth_answer() -> None:
    stream = connect(script(says(1.2, "later"), answers(0.3, "one"), answers(0.1, "two")))
    stream.receive(SECOND)
    assert shown(stream.receive(FINALIZE)) == []
    assert stream.idle_timeout == pytest.approx(0.3)
    assert shown(stream.wait(0.2)) == []
    assert shown(stream.wait(0.1)) == ["one"]  # without audio, too
    assert shown(stream.receive(SECOND[:9600])) == ["later"]
    assert shown(stream.receive(FINALIZE)) == []
    assert shown(stream.receive(SECOND[:3200])) == ["two"]  # time passes as audio, too
    assert shown(stream.receive(FINALIZE)) == []
    assert stream.idle_timeout == pytest.approx(12)
    assert shown(stream.receive(CLOSE)) == ["Metadata", 1000]


def test_keep_alive_does_not_delay_an_answer() -> None:
    stream = connect(script(answers(10.0, "slow")))
    stream.receive(FINALIZE)
    for _ in range(2):
        assert shown(stream.wait(4.0)) == []
        assert shown(stream.receive('{"type":"KeepAlive"}')) == []
    assert stream.idle_timeout == pytest.approx(2)
    assert shown(stream.wait(stream.idle_timeout)) == ["slow"]


def test_an_answer_under_way_comes_before_the_end() -> None:
    stream = connect(script(says(9.0, "tail"), answers(0.3, "one")))
    stream.receive(SECOND)
    stream.receive(FINALIZE)
    assert shown(stream.receive(CLOSE)) == ["one", "tail", "Metadata", 1000]


def test_a_broken_link_goes_on_with_the_next_connection() -> None:
    trace = script(
        says(1.0, "a"),
        {"t": 1.5, "link": "lost"},
        {"t": 2.5, "link": "restored", "audio": 0.5},
        says(3.0, "b"),
        {"t": 3.5, "link": "lost"},
        {"t": 3.6, "link": "restored", "audio": 3.0},
        says(4.0, "c"),
        answers(0.3, "lost with the link"),
        answers(0.3, "second"),
    )
    stream = connect(trace)
    assert shown(stream.receive(SECOND + SECOND[:12800])) == ["a"]
    stream.receive(FINALIZE)
    assert shown(stream.receive(SECOND)) == ["drop"]
    stream = connect(trace)
    stream.receive(FINALIZE)
    assert shown(stream.receive(2 * SECOND)) == ["second"]
    assert shown(stream.receive(SECOND[:16000])) == ["b"]
    assert shown(stream.receive(CLOSE)) == ["drop"]  # it would be so in the tail, too
    stream = connect(trace)
    assert shown(stream.receive(SECOND)) == ["c"]
    assert shown(stream.receive(CLOSE)) == ["Metadata", 1000]
    assert shown(connect(trace).receive(SECOND)) == ["a"]  # the next client is a new one


def test_a_link_lost_for_good_refuses_the_next() -> None:
    trace = script(says(1.0, "a"), {"t": 1.5, "link": "lost"})
    assert shown(connect(trace).receive(2 * SECOND)) == ["a", "drop"]
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            connect(trace)
        assert caught.value.status == 503


def test_a_link_that_comes_up_late_is_the_first() -> None:
    trace = script({"t": 0.0, "link": "lost"}, {"t": 2.0, "link": "restored", "audio": 0.5}, says(2.5, "a"))
    stream = connect(trace)
    assert shown(stream.receive(SECOND)) == []
    assert shown(stream.receive(SECOND)) == ["a"]


def test_time_goes_on_without_audio_where_it_did_in_the_trace() -> None:
    trace = script(
        {"t": 1.5, "audio": "stalled", "heard": 1.0}, says(3.0, "a"), says(5.0, "b"), {"t": 6.0, "end": True}
    )
    stream = connect(trace)
    assert shown(stream.receive(SECOND)) == []
    assert stream.idle_timeout == pytest.approx(2)
    assert shown(stream.wait(2.0)) == ["a"]
    assert shown(stream.wait(1.0)) == []
    assert shown(stream.receive(SECOND[:28800])) == []
    assert shown(stream.receive(SECOND[:3200])) == ["b"]  # at audio 2.0, three seconds late


def test_a_quiet_client_is_sent_away_from_a_script_too() -> None:
    stream = connect(script(says(1.0, "a")), idle_timeout=2.0)
    assert shown(stream.wait(1.9)) == []
    stream.receive('{"type":"KeepAlive"}')
    assert shown(stream.wait(1.9)) == []
    assert shown(stream.wait(stream.idle_timeout)) == ["Metadata", 1011]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(Refused, match="channels=2&multichannel=true"):
        connect(script(channels=2))
    with pytest.raises(Refused, match="multichannel=false"):
        connect(script(), "channels=2&multichannel=true")
    stream = connect(script(channels=2), "channels=2&multichannel=true")
    assert shown(stream.receive('{"type":"Finalize","channel":2}')) == ["Error"]
    assert shown(stream.receive('{"type":"Finalize","channel":1}')) == []


# ---- our client


def turns(trace: Trace) -> list[tuple[int, str, bool]]:
    completed = [output for output in replay(trace).outputs if isinstance(output, TurnCompleted)]
    return [(turn.channel, turn.text, turn.confirmed) for turn in completed]


@contextmanager
def serving(*arguments: str | Path) -> Iterator[str]:
    command = [sys.executable, "-m", "hearout.sttserver", "--port", "0", "--until-eof", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip().removeprefix("listening on ")
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_captured_conversations_in_real_time(path: Path, run_virtual: Callable[..., Any]) -> None:
    """The clock is virtual, everything else is real: each turn ends when it does in a replay."""
    trace = read_trace(path)
    assert check(trace, replay(trace)) == []
    heard = run_virtual(in_memory, trace)
    assert [(turn.channel, turn.text, turn.confirmed) for turn in heard] == turns(trace)
    expected = [turn.at for turn in replay(trace).of_type("turn_completed")]
    assert [turn.at for turn in heard] == pytest.approx(expected, abs=0.15)  # a message holds 0.1 s of audio


def test_captured_conversations_over_a_socket() -> None:
    """The server's command, a port, and audio as fast as it goes."""

    async def main() -> None:
        # One process for all: it listens for each script on a port of its own, as the command does.
        async with trio.open_nursery() as nursery:
            for path in CAPTURED:
                trace = read_trace(path)
                server = SttServer(no_recogniser(), script=Script(trace))
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, server.serve, [listener])
                port = listener.socket.getsockname()[1]
                with trio.fail_after(30):
                    url = f"ws://127.0.0.1:{port}/v1/listen"
                    heard = await converse(trace, dialect(trace, url=url), live=False)
                assert [(turn.channel, turn.text, turn.confirmed) for turn in heard] == turns(trace), path.stem
            nursery.cancel_scope.cancel()

    trio.run(main)


def suits(path: Path) -> bool:
    """A live session can hear this: it is no test of hearing nothing for minutes, or of another way to reconnect."""
    trace = read_trace(path)
    return (
        trace.header.stt == "deepgram"
        and not links(trace)
        and length(trace) < 30
        and not any(isinstance(r, AudioStall) for r in trace.records)
    )


@pytest.mark.parametrize("path", [path for path in TRACES[::9] if suits(path)], ids=lambda path: path.stem)
def test_field_cases_in_real_time(path: Path, run_virtual: Callable[..., Any]) -> None:
    trace = read_trace(path)
    heard = run_virtual(in_memory, trace)
    # Not `confirmed`: a final that comes with the next 0.1 s of audio may just miss the decision.
    assert [(turn.channel, turn.text) for turn in heard] == [turn[:2] for turn in turns(trace)]


@pytest.mark.parametrize("name", ["link_drop_inside_a_turn", "link_drops_twice", "link_drop_two_channels"])
def test_a_reconnecting_client_loses_nothing(name: str, run_virtual: Callable[..., Any]) -> None:
    trace = read_trace(CASES / f"{name}.jsonl")
    heard = run_virtual(in_memory, trace)
    assert [(turn.channel, turn.text, turn.confirmed) for turn in heard] == turns(trace)


# ---- the command


def test_the_command_plays_a_script_without_a_recogniser(tmp_path: Path) -> None:
    trace = read_trace(DATA / "captured_finalize_and_tail.jsonl")

    async def main(url: str) -> list[str]:
        with trio.fail_after(30):
            return [turn.text for turn in await converse(trace, dialect(trace, url=url), live=False)]

    with serving("--script", trace.name) as url:
        # Twice: the script begins again for every client.
        assert trio.run(main, url) == trio.run(main, url) == [text for _, text, _ in turns(trace)]


def test_bad_scripts_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hearout.sttserver", "--port", "0", *arguments])
        with pytest.raises(SystemExit) as left:
            sys.exit(command_line())
        assert left.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    assert "missing.jsonl" in complaint("--script", str(tmp_path / "missing.jsonl"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"hearout_trace": 1, "stt": "deepgram"}\n{"t": 1}\n')
    assert "bad.jsonl:2" in complaint("--script", str(bad))
    assert "--refuse" in complaint("--refuse", "200")
    assert "--idle-timeout" in complaint("--idle-timeout", "0")


def test_a_script_of_another_protocol_is_refused() -> None:
    trace = parse_trace(['{"hearout_trace": 1, "stt": "flux"}'], "other.jsonl")

    async def main() -> None:
        with pytest.raises(UsageError, match=r"other\.jsonl"):
            SttServer(no_recogniser(), script=Script(trace), protocols={})

    trio.run(main)
