"""``hearout doctor``: on the real local server, and in virtual time on servers that differ in one thing each."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from hearout.cli import doctor
from hearout.doctor.checks import Finding
from hearout.doctor.examine import examine, read_sample
from hearout.errors import UsageError
from hearout.sttserver import server
from hearout.sttserver.deepgram.options import parse_options
from hearout.sttserver.deepgram.stream import V1Stream
from hearout.sttserver.local import local_server
from hearout.sttserver.protocols import PROTOCOLS, Handshake
from hearout.sttserver.server import SttServer
from hearout.sttserver.steps import Ask, Close, HeardWord, Refused, Send, Step
from hearout.transcribers.deepgram import Deepgram
from tests.kit.paths import DATA

KEY = "dg-secret-key"
CLIP = DATA / "two_sentences.flac"


class Typist:
    """Instead of a recogniser: hears a word in every third of a second of speech."""

    def __init__(self) -> None:
        self.heard = 0.0

    async def decode(self, pcm: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.heard += len(pcm) / 32_000

    async def words(self, *, ends: bool) -> list[HeardWord]:
        await trio.lowlevel.checkpoint()
        heard = [HeardWord("yes.", i / 3, (i + 0.9) / 3, 1.0) for i in range(int(self.heard * 3))]
        if ends:
            self.heard = 0.0
        return heard


class Pool:
    @asynccontextmanager
    async def lend(self, count: int) -> AsyncIterator[list[Typist]]:
        await trio.lowlevel.checkpoint()
        yield [Typist() for _ in range(count)]


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
        stt_server = SttServer(Pool(), protocols=protocols, token=token)  # type: ignore[arg-type]
        findings: list[Finding] = []

        async def main() -> None:
            async with trio.open_nursery() as nursery:

                async def dial(host: str, port: int, tls: bool) -> trio.abc.Stream:
                    await trio.lowlevel.checkpoint()
                    ours, theirs = memory_stream_pair()
                    nursery.start_soon(stt_server.serve, theirs)
                    return ours

                sample = await read_sample(CLIP)
                await examine(Deepgram(KEY, url), sample, findings.append, slow=slow, connect=connect or dial)
                nursery.cancel_scope.cancel()

        run_virtual(main)
        assert KEY not in repr(findings)
        assert len({finding.check for finding in findings}) == len(findings)
        return {finding.check: finding for finding in findings}

    return run


def differing(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.verdict == "differs"}


def test_a_server_as_hearout_assumes_it(consult: Check) -> None:
    findings = consult(slow=True)
    assert {f.verdict for f in findings.values()} == {"ok"}, differing(findings)
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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("metadata"), {"Results"}),
        (results(channel_index=[0, 2]), {"Results"}),
        (results(metadata={"request_id": "another"}), {"Results"}),
        (without("speech_final"), {"Results", "speech_final"}),
        (results(speech_final=True), {"speech_final"}),
        (results(start="0.0"), {"messages", "interims", "segments", "word times", "punctuation", "speech_final"}),
        (drop(lambda m: m["type"] == "Results" and not m["is_final"]), {"interims"}),
        (drop(lambda m: m["type"] == "UtteranceEnd"), {"UtteranceEnd"}),
        (lambda m: m.update(last_word_end=0.111) if m["type"] == "UtteranceEnd" else None, {"UtteranceEnd"}),
        (lambda m: [m, {"type": "News"}], {"messages"}),
        (lower, {"punctuation"}),
        (in_hindi, set()),
        (backwards, {"word times"}),
        (untimed, {"word times"}),
        (shifted, {"segments"}),
        (results(from_finalize=False), {"Finalize"}),
    ],
)
def test_a_difference_is_found(consult: Check, change: Callable[[dict[str, Any]], Any], expected: set[str]) -> None:
    found = differing(consult(altering(change)))
    # UtteranceEnd and the words are compared with each other, so one may differ because of the other.
    assert expected <= found <= expected | {"UtteranceEnd"}


def test_no_speech_started(consult: Check) -> None:
    class Silent(V1Stream):
        def receive(self, message: str | bytes) -> list[Step]:
            return [s for s in super().receive(message) if not (isinstance(s, Send) and "SpeechStarted" in s.text)]

    assert differing(consult(Silent)) == {"SpeechStarted"}


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


def test_on_the_real_local_server(tmp_path: Path) -> None:
    """With the recogniser, on a socket, much faster than real time."""
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("i would like to cancel my appointment\ncould you repeat that please\n")
    findings: list[Finding] = []

    async def main() -> None:
        sample = await read_sample(CLIP)
        async with local_server(sentences=sentences) as url:
            await examine(Deepgram("any", url), sample, findings.append, speed=30)

    trio.run(main)
    verdicts = {finding.check: finding.verdict for finding in findings}
    skipped = {"KeepAlive", "wrong key", "punctuation"}
    assert {name for name, verdict in verdicts.items() if verdict == "skipped"} == skipped
    assert [finding for finding in findings if finding.verdict == "differs"] == []


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.register(parser.add_subparsers())
    args = parser.parse_args(["doctor", *arguments])
    return int(args.run(args))


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def pretend(dialect: Deepgram, recording: Any, report: Callable[[Finding], None], *, slow: bool) -> None:
        await trio.lowlevel.checkpoint()
        assert dialect.key == KEY
        report(Finding("one", "ok", "all right", {"after": 0.12345}))
        report(Finding("two", "differs" if slow else "skipped", "not quite"))

    monkeypatch.setattr(doctor, "examine", pretend)
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    assert command("--sample", str(CLIP)) == 0
    assert capsys.readouterr().out == "ok       one              all right\nskipped  two              not quite\n"
    assert command("--sample", str(CLIP), "--slow", "--json") == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"check": "one", "verdict": "ok", "detail": "all right", "after": 0.123},
        {"check": "two", "verdict": "differs", "detail": "not quite"},
    ]


def test_what_cannot_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, [0.0] * 32_000, 16_000)
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(UsageError, match="DEEPGRAM_API_KEY"):
        command("--sample", str(CLIP))
    with pytest.raises(UsageError, match=r"silence\.wav: less than 1\.2 s of speech"):
        command("--sample", str(silence))
    monkeypatch.setattr(doctor, "_SAMPLE", tmp_path / "none")
    with pytest.raises(UsageError, match="--sample"):
        command()
