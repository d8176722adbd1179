"""The sender: what is due is sent by whoever brings it, the rest by its task, and all in order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hearout.link.buffer import ReplayBuffer
from hearout.link.connection import Connection
from hearout.link.link import Link
from hearout.link.sender import Sender
from hearout.link.settings import LinkSettings
from hearout.link.watchdog import Watchdog
from hearout.nursery import open_background
from hearout.transcribers.base import WireMessage
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.hearing import Hearing
from tests.faults.server import RATE, pcm
from tests.kit.provider import Provider, audio
from tests.kit.streams import PONG, Given, Willing, frames, half, over, whole
from tests.link.test_link import SPEECH, Owner

KEY = "dg-secret-key"
SETTLING = 0.01  # seconds
Run = Callable[..., Any]


class Desk:
    """A sender, with what it takes to have it send."""

    def __init__(self, stream: Given, owner: Any, channels: int = 1) -> None:
        self.connection = over(stream)
        self.buffer = ReplayBuffer(2 * channels, 10**7)
        settings = LinkSettings(replay_speed=None)
        dialect = Deepgram(KEY, channels=channels)
        self.sender = Sender(dialect, RATE, settings, owner, self.buffer, Hearing(dialect))
        self.sender.begin(trio.current_time(), 0, Watchdog(settings, None, trio.current_time(), 0.0))

    def feed(self, count: int) -> None:
        end = self.buffer.end
        self.buffer.append(pcm(end, end + count))
        if self.buffer.end >= self.sender.pump_at:  # as `Link.feed` does
            self.sender.pump()

    async def run(self) -> bool:
        async def settle(connection: Connection) -> None:
            await trio.sleep(SETTLING)

        return await self.sender.run(self.connection, (), settle)


def test_what_is_due_is_sent_by_who_brings_it(run_virtual: Run) -> None:
    async def main() -> None:
        stream, owner = Willing(whole), Owner()
        desk = Desk(stream, owner)
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
            desk.feed(4000)
            assert frames(stream.sent) == [pcm(0, 1600), pcm(1600, 3200)]
            desk.sender.mark("finalize")
            assert frames(stream.sent)[2:] == [pcm(3200, 4000), '{"type":"Finalize"}']
            assert owner.told == [("sent", "Finalize")]

    run_virtual(main)


@pytest.mark.parametrize("seed", range(30))
def test_audio_and_marks_go_in_order_whatever_the_stream_takes(seed: int, run_virtual: Run) -> None:
    rng = random.Random(seed)

    async def main() -> tuple[bytearray, list[tuple[str, int]]]:
        willing = Willing(lambda size: rng.choice([size, rng.randrange(size), 0]))
        stream = willing if seed % 3 else Given()
        desk, expected = Desk(stream, Owner()), []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.run)
            for number in range(100):
                match rng.choice(["feed", "feed", "feed", "finalize", "message", "settle", "gate", "sleep", "pong"]):
                    case "feed":
                        desk.feed(rng.choice([1, 320, 1600, 5000]))
                    case "finalize":
                        expected.append(("Finalize", desk.buffer.end))
                        desk.sender.mark("finalize")
                    case "message":
                        expected.append((f"message {number}", desk.buffer.end))
                        desk.sender.mark("message", message=json.dumps({"type": f"message {number}"}))
                    case "settle":
                        desk.sender.mark("settle")
                    case "pong":
                        nursery.start_soon(desk.connection._stream.send_all, PONG)
                    case "gate" if stream.gate.is_set():
                        stream.shut()
                    case "gate":
                        stream.gate.set()
                    case "sleep":
                        await trio.sleep(rng.choice([0.0, 0.001, 0.05, 0.3]))
            stream.gate.set()
            expected.append(("CloseStream", desk.buffer.end))
            desk.sender.mark("close")
        return stream.sent, expected

    sent, expected = run_virtual(main)
    heard, told = 0, []
    for payload in frames(sent):
        if payload == b"!":
            continue
        if isinstance(payload, bytes):
            assert 0 < len(payload) <= 3200
            assert payload == pcm(heard, heard + len(payload) // 2)
            heard += len(payload) // 2
        elif (kind := json.loads(payload)["type"]) != "KeepAlive":
            told.append((kind, heard))
    assert told == expected


def test_what_takes_time_is_waited_for(run_virtual: Run) -> None:
    async def main() -> None:
        stream = Willing(whole)
        desk = Desk(stream, Owner())
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
            desk.sender.mark("settle")
            await wait_all_tasks_blocked()
            desk.feed(1600)
            desk.sender.mark("finalize")
            assert not stream.sent
            await trio.sleep(SETTLING)
            await wait_all_tasks_blocked()
            assert frames(stream.sent) == [pcm(0, 1600), '{"type":"Finalize"}']

    run_virtual(main)


@pytest.mark.parametrize("how", ["closed", "broken", "cancelled"])
def test_behind_the_end_nothing_is_sent(how: str, run_virtual: Run) -> None:
    async def main() -> None:
        stream = Given(error=trio.BrokenResourceError()) if how == "broken" else Willing(whole)
        desk = Desk(stream, Owner())
        desk.feed(1600)
        if how == "closed":
            desk.sender.mark("close")
        with trio.move_on_after(1.0) as patience:
            assert await desk.run() == (how == "closed")
        assert patience.cancelled_caught == (how == "cancelled")
        sent = bytes(stream.sent)
        desk.feed(1600)
        desk.sender.mark("finalize")
        assert stream.sent == sent
        assert desk.sender.outbox.waiting == 1600

    run_virtual(main)


@pytest.mark.parametrize("share", [whole, half])
def test_the_owner_may_ask_for_more_when_it_is_told_of_something(share: Callable[[int], int], run_virtual: Run) -> None:
    """`LinkOwner` says so."""

    class Eager(Owner):
        desk: Desk

        def sent(self, message: WireMessage) -> None:
            super().sent(message)
            if len(self.told) == 1:
                self.desk.sender.mark("finalize", 1)

    async def main() -> None:
        stream, owner = Willing(share), Eager()
        owner.desk = desk = Desk(stream, owner, channels=2)
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
            desk.sender.mark("finalize", 0)
            await wait_all_tasks_blocked()
        assert [json.loads(text)["channel"] for text in frames(stream.sent)] == [0, 1]

    run_virtual(main)


def test_more_audio_at_once_than_is_kept_is_a_loss_and_no_error(run_virtual: Run) -> None:
    async def main() -> None:
        owner = Owner()
        async with trio.open_nursery() as outer:
            provider = Provider(outer, (SPEECH,))
            link = Link(Deepgram(KEY), RATE, owner, settings=LinkSettings(keep=2.0), connect=provider.connect)
            async with open_background() as nursery:
                nursery.start_soon(link.run)
                await wait_all_tasks_blocked()
                link.feed(audio(0.0, 3.0))
                link.feed(audio(3.0, 4.0))
                await link.finish()
            outer.cancel_scope.cancel()
        lost = ("lost", "the transcriber does not take the audio")
        assert owner.told[:3] == [lost, ("audio lost", 0.0, 2.0), ("restored", 2.0)]

    run_virtual(main)
