"""``hearout doctor``: on the real local server, and in virtual time on servers that differ in one thing each."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout.cli import doctor
from hearout.doctor.checks import Finding
from hearout.doctor.examine import WRONG_KEY, examine
from hearout.doctor.sample import read_sample
from hearout.errors import UsageError
from hearout.sttserver import server
from hearout.sttserver.deepgram.options import parse_options
from hearout.sttserver.deepgram.stream import V1Stream
from hearout.sttserver.local import local_server
from hearout.sttserver.protocols import PROTOCOLS, Handshake
from hearout.sttserver.steps import Ask, Close, Refused, Send, Step
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.registry import PROVIDERS
from tests.doctor.patients import CLIP, KEY, differing, examined, lacking

Check = Callable[..., dict[str, Finding]]


@pytest.fixture
def consult(run_virtual: Callable[..., Any]) -> Check:
    """Examine a server that answers by ``protocol``; returns the findings by name."""

    def run(
        protocol: type[V1Stream] = V1Stream,
        *,
        slow: bool = False,
        token: str | None = KEY,
        connect: Callable[..., Any] | None = None,
        url: str = "wss://api.example.com/v1/listen",
    ) -> dict[str, Finding]:
        def open_stream(handshake: Handshake, script: object) -> V1Stream:
            PROTOCOLS["deepgram"].open(handshake, None)  # refuses what the real one refuses
            return protocol(parse_options(handshake.query), handshake.request_id, handshake.created)

        protocols = {"deepgram": replace(PROTOCOLS["deepgram"], open=open_stream)}
        dialect, stranger = Deepgram(KEY, url), Deepgram(WRONG_KEY, url)
        main = partial(examined, dialect, stranger, protocols, token=token, slow=slow, connect=connect)
        return run_virtual(main)  # type: ignore[no-any-return]

    return run


def test_a_server_as_hearout_assumes_it(consult: Check) -> None:
    findings = consult(slow=True)
    assert differing(findings) == lacking(findings) == set()
    assert {f.check for f in findings.values() if f.verdict == "has"} == {
        "punctuation",
        "speech_final",
        "SpeechStarted",
        "UtteranceEnd",
        "Finalize",
    }
    assert findings["interims"].figures["every"] == pytest.approx(1.0)
    assert 0.2 < findings["speech_final"].figures["after_word"] < 0.7  # endpointing after 0.3 s
    assert findings["Finalize"].figures["after"] < 0.01  # in virtual time computing takes none
    assert "HTTP 401, dg-error: Invalid credentials." in findings["wrong key"].detail
    assert "HTTP 400, dg-error: encoding" in findings["bad query"].detail
    assert findings["second Finalize"].detail.startswith("not answered")


class Alters(V1Stream):
    """Says something else than it should."""

    def alter(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        return [message]

    def report(self, ask: Ask, words: Any) -> list[str]:
        said = [json.loads(text) for text in super().report(ask, words)]
        return [json.dumps(other) for message in said for other in self.alter(message)]


def altering(change: Callable[[dict[str, Any]], Any]) -> type[Alters]:
    """A server whose every message goes through ``change``, which edits it, or returns those to send instead."""

    class Altering(Alters):
        def alter(self, message: dict[str, Any]) -> list[dict[str, Any]]:
            instead = change(message)
            return [message] if instead is None else instead

    return Altering


def results(**values: Any) -> Callable[[dict[str, Any]], None]:
    def change(message: dict[str, Any]) -> None:
        if message["type"] == "Results":
            message.update(values)

    return change


def without(key: str) -> Callable[[dict[str, Any]], None]:
    def change(message: dict[str, Any]) -> None:
        message.pop(key, None)

    return change


def drop(kind: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], list[dict[str, Any]] | None]:
    return lambda message: [] if kind(message) else None


def words_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["channel"]["alternatives"][0]["words"] if message["type"] == "Results" else []


def lower(message: dict[str, Any]) -> None:
    for word in words_of(message):
        word["punctuated_word"] = word["word"] = "yes"


def in_hindi(message: dict[str, Any]) -> None:
    for word in words_of(message):
        word["punctuated_word"] = "है।"


def backwards(message: dict[str, Any]) -> None:
    words_of(message).reverse()


def untimed(message: dict[str, Any]) -> None:
    if words_of(message):
        message["channel"]["alternatives"][0]["words"] = []


def shifted(message: dict[str, Any]) -> None:
    if message["type"] == "Results" and message["is_final"]:
        message["start"] += 0.1
        message["duration"] -= 0.1


def failing(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    interim = words_of(message) and not message["is_final"]
    return [message, {"type": "Error", "description": "no"}] if interim else None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("metadata"), {"Results"}),
        (results(channel_index=[0, 2]), {"Results"}),
        (results(metadata={"request_id": "another"}), {"Results"}),
        (without("speech_final"), {"Results"}),
        (results(speech_final=True), {"Results"}),
        (results(start="0.0"), {"messages", "segments", "word times"}),
        (lambda m: m.update(last_word_end=0.111) if m["type"] == "UtteranceEnd" else None, {"UtteranceEnd"}),
        (lambda m: [m, {"type": "News"}], {"messages"}),
        (failing, {"messages"}),
        (in_hindi, set()),
        (backwards, {"word times"}),
        (shifted, {"segments"}),
    ],
)
def test_a_difference_is_found(consult: Check, change: Callable[[dict[str, Any]], Any], expected: set[str]) -> None:
    found = differing(consult(altering(change)))
    # UtteranceEnd and the words are compared with each other, so one may differ because of the other.
    assert expected <= found <= expected | {"UtteranceEnd"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("speech_final"), "speech_final"),
        (drop(lambda m: m["type"] == "Results" and not m["is_final"]), "interims"),
        (drop(lambda m: m["type"] == "UtteranceEnd"), "UtteranceEnd"),
        (lower, "punctuation"),
        (untimed, "word times"),
        (results(from_finalize=False), "Finalize"),
    ],
)
def test_what_an_account_lacks_is_no_fault(
    consult: Check, change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    findings = consult(altering(change))
    assert expected in lacking(findings)
    assert differing(findings) <= {"Results", "UtteranceEnd"}  # which say what is not as documented


def test_no_speech_started(consult: Check) -> None:
    class Silent(V1Stream):
        def receive(self, message: str | bytes) -> list[Step]:
            return [s for s in super().receive(message) if not (isinstance(s, Send) and "SpeechStarted" in s.text)]

    findings = consult(Silent)
    assert (lacking(findings), differing(findings)) == ({"SpeechStarted"}, set())


def test_metadata_twice(consult: Check) -> None:
    class Twice(V1Stream):
        def receive(self, message: str | bytes) -> list[Step]:
            return [s for s in super().receive(message) for _ in range(1 + ("Metadata" in getattr(s, "text", "")))]

    assert differing(consult(Twice)) == {"Metadata"}


def test_a_close_that_is_none(consult: Check) -> None:
    class Stays(V1Stream):
        def receive(self, message: str | bytes) -> list[Step]:
            return [step for step in super().receive(message) if not isinstance(step, Close)]

    findings = consult(Stays)
    assert differing(findings) == {"CloseStream"}
    assert findings["CloseStream"].detail == "the connection stays open"


def test_a_server_that_hangs_up_in_the_middle(consult: Check) -> None:
    class HangsUp(V1Stream):
        count = 0

        def receive(self, message: str | bytes) -> list[Step]:
            self.count += 1
            return [Close(1011, f"no more for {KEY}")] if self.count > 12 else super().receive(message)

    findings = consult(HangsUp)
    assert findings["CloseStream"].detail == "the server hung up before: 1011 no more for ***"
    assert findings["connection"].detail == "the server hung up too early: 1011 no more for ***"
    assert {"CloseStream", "connection", "Metadata", "segments"} <= differing(findings)


def test_keepalive_that_keeps_nothing_alive(consult: Check) -> None:
    class Deaf(V1Stream):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, idle_timeout=3.0)  # shorter than hearout's pause between two

    assert differing(consult(Deaf, slow=True)) == {"KeepAlive"}


def test_every_key_is_right(consult: Check) -> None:
    assert differing(consult(token=None)) == {"wrong key"}
    assert consult(token=None, url="ws://127.0.0.1/v1/listen")["wrong key"].verdict == "skipped"


def test_a_wrong_key_is_all_there_is_to_say(consult: Check) -> None:
    findings = consult(token="another")
    assert list(findings) == ["connect"]
    assert "HTTP 401 (Invalid credentials.); check the key" in findings["connect"].detail


def test_refusals_without_a_reason(consult: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reject(request: Any, refused: Refused, protocol: object, request_id: str) -> None:
        await request.reject(refused.status)

    monkeypatch.setattr(server, "_reject", reject)
    findings = consult()
    assert differing(findings) == {"wrong key", "bad query"}
    assert findings["bad query"].detail.startswith("HTTP 400, no dg-error, no dg-request-id")


def test_nobody_there(consult: Check) -> None:
    async def dial(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError(111, "Connection refused")

    findings = consult(connect=dial)
    assert list(findings) == ["connect"]
    assert findings["connect"].detail == "cannot connect to api.example.com:443: Connection refused"


def test_on_the_real_local_server() -> None:
    """With the recogniser, on a socket, much faster than real time."""
    findings: list[Finding] = []

    async def main() -> None:
        sample = await read_sample(CLIP)
        async with local_server() as url:
            stranger = Deepgram(WRONG_KEY, url)
            await examine(Deepgram("any", url), sample, findings.append, stranger=stranger, speed=30)

    trio.run(main)
    verdicts = {finding.check: finding.verdict for finding in findings}
    skipped = {"KeepAlive", "wrong key"}
    assert {name for name, verdict in verdicts.items() if verdict == "skipped"} == skipped
    assert [finding for finding in findings if finding.verdict == "differs"] == []
    assert [finding for finding in findings if finding.verdict == "lacks"] == []


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.register(parser.add_subparsers())
    args = parser.parse_args(["doctor", *arguments])
    return int(args.run(args))


class Pretended:
    """Instead of the local server and an examination: who is to be examined, and two findings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dialect: Any = None
        self.stranger: Any = None
        monkeypatch.setattr(doctor, "examine", self)
        monkeypatch.setattr(doctor, "local_server", self.local_server)

    @asynccontextmanager
    async def local_server(self) -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        yield "ws://127.0.0.1:1/v1/listen"

    async def __call__(
        self, dialect: Any, recording: Any, report: Callable[[Finding], None], *, stranger: Any, slow: bool
    ) -> None:
        await trio.lowlevel.checkpoint()
        self.dialect, self.stranger = dialect, stranger
        report(Finding("one", "ok", "all right", {"after": 0.12345}))
        report(Finding("two", "differs" if slow else "lacks", "not quite"))


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pretended = Pretended(monkeypatch)
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    assert command("--sample", str(CLIP)) == 0
    assert (pretended.dialect.key, pretended.stranger.key) == (KEY, WRONG_KEY)
    assert capsys.readouterr().out == "ok       one              all right\nlacks    two              not quite\n"
    assert command("--sample", str(CLIP), "--slow", "--json") == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"server": "deepgram", "check": "one", "verdict": "ok", "detail": "all right", "after": 0.123},
        {"server": "deepgram", "check": "two", "verdict": "differs", "detail": "not quite"},
    ]


@pytest.mark.parametrize(
    ("stt", "owner", "variable"),
    [
        ("deepgram", "Deepgram", "DEEPGRAM_API_KEY"),
        ("flux", "Deepgram", "DEEPGRAM_API_KEY"),
        ("soniox", "Soniox", "SONIOX_API_KEY"),
    ],
)
def test_without_a_key_it_says_whom_it_examines_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stt: str, owner: str, variable: str
) -> None:
    pretended = Pretended(monkeypatch)
    monkeypatch.delenv(variable, raising=False)
    assert command("--sample", str(CLIP), "--stt", stt) == 0
    headline, *lines = capsys.readouterr().out.splitlines()
    assert headline == (
        f"no key for {owner} in {variable}: this is the built-in recogniser on this machine: {stt} and its account "
        "were not tried; against a server of this machine, --url ws://127.0.0.1:PORT/PATH, it needs no key"
    )
    assert len(lines) == 2
    assert type(pretended.dialect) is Deepgram
    assert pretended.dialect.address().startswith("ws://127.0.0.1:")
    assert command("--sample", str(CLIP), "--stt", stt, "--json") == 0
    told, *found = map(json.loads, capsys.readouterr().out.splitlines())
    assert told == {"server": "local", "instead": f"no key for {owner} in {variable}"}
    assert [finding["server"] for finding in found] == ["local", "local"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_with_a_url_of_this_machine_no_key_is_needed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretended = Pretended(monkeypatch)
    monkeypatch.delenv(PROVIDERS[name].variable or "", raising=False)
    url = f"ws://127.0.0.1:1{PROTOCOLS[name].path}"
    assert command("--sample", str(CLIP), "--stt", name, "--url", url) == 0
    assert type(pretended.dialect) is PROVIDERS[name].dialect
    assert pretended.dialect.address().startswith(url)


def test_the_local_server_by_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Pretended(monkeypatch)
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    assert command("--sample", str(CLIP), "--stt", "local", "--json") == 0
    assert [json.loads(line)["server"] for line in capsys.readouterr().out.splitlines()] == ["local", "local"]


def test_what_cannot_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, [0.0] * 32_000, 16_000)
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(UsageError, match="no key for Deepgram: put it into"):
        command("--sample", str(CLIP), "--url", "wss://elsewhere.example/")
    with pytest.raises(UsageError, match="--url names a provider's endpoint"):
        command("--sample", str(CLIP), "--stt", "local", "--url", "ws://127.0.0.1:1/")
    with pytest.raises(UsageError, match="--stt nobody: there are local, deepgram"):
        command("--sample", str(CLIP), "--stt", "nobody")
    with pytest.raises(UsageError, match=r"silence\.wav: less than 1\.2 s of speech"):
        command("--sample", str(silence))
    monkeypatch.setattr(doctor, "_SAMPLE", tmp_path / "none")
    with pytest.raises(UsageError, match="--sample"):
        command()
