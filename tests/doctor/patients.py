"""Servers to examine, in memory and in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio
from trio.testing import memory_stream_pair

from hearout.doctor.checks import Finding
from hearout.doctor.examine import examine
from hearout.doctor.sample import read_sample
from hearout.sttserver.protocols import Protocol
from hearout.sttserver.server import SttServer
from hearout.sttserver.steps import HeardWord
from hearout.transcribers.base import Dialect
from tests.kit.paths import DATA

KEY = "dg-secret-key"
CLIP = DATA / "two_sentences.flac"


class Typist:
    """Instead of a recogniser: hears a word in every third of a second of speech."""

    def __init__(self) -> None:
        self.heard = 0.0

    def decode(self, pcm: bytes) -> None:
        self.heard += len(pcm) / 32_000

    async def words(self, *, ends: bool, pauses: bool = False) -> list[HeardWord]:
        await trio.lowlevel.checkpoint()
        heard = [HeardWord("yes.", i / 3, (i + 0.9) / 3, 1.0) for i in range(int(self.heard * 3))]
        if ends:
            self.heard = 0.0
        return heard


class Pool:
    async def lend(self, count: int) -> list[Typist]:
        await trio.lowlevel.checkpoint()
        return [Typist() for _ in range(count)]


async def examined(
    dialect: Dialect,
    stranger: Dialect | None,
    protocols: Mapping[str, Protocol] | None = None,
    *,
    token: str | None = KEY,
    slow: bool = False,
    connect: Callable[..., Any] | None = None,
) -> dict[str, Finding]:
    """The findings by name, about a server that speaks ``protocols``."""
    stt_server = SttServer(Pool(), protocols=protocols, token=token)  # type: ignore[arg-type]
    findings: list[Finding] = []
    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int, tls: bool) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            nursery.start_soon(stt_server.serve, theirs)
            return ours

        sample = await read_sample(CLIP)
        await examine(dialect, sample, findings.append, stranger=stranger, slow=slow, connect=connect or dial)
        nursery.cancel_scope.cancel()
    assert KEY not in repr(findings)
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: finding for finding in findings}


def differing(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.verdict == "differs"}


def lacking(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.verdict == "lacks"}
