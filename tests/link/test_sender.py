"""The sender: what is due is sent, and all in order."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed

from hearout.link.link import Link
from hearout.link.outbox import ChoreKind
from hearout.link.progress import Progress
from hearout.link.sender import Sender
from hearout.link.settings import LinkSettings
from hearout.link.watchdog import Watchdog
from hearout.nursery import open_background
from hearout.transcribers.assemblyai import AssemblyAI
from hearout.transcribers.base import Dialect, Heard, WireMessage
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout_policies.signals import Transcript
from tests.faults.server import RATE, pcm
from tests.kit.provider import Provider, audio
from tests.link.test_link import SPEECH, Owner

KEY = "dg-secret-key"
SETTLING = 0.01  # seconds
Run = Callable[..., Any]


class Socket:
    """A websocket that keeps what is sent. Sending takes until ``gate`` is set; nothing goes when it is ``closed``."""

    def __init__(self, *, closed: bool = False) -> None:
        self.sent: list[WireMessage] = []
        self.closed = closed
        self.gate = trio.Event()
        self.gate.set()

    def shut(self) -> None:
        self.gate = trio.Event()

    async def send(self, message: WireMessage) -> None:
        await trio.lowlevel.checkpoint()
        await self.gate.wait()
        if self.closed:
            raise ConnectionClosed(None)
        self.sent.append(message)


class Desk:
    """A sender, with what it takes to have it send."""

    def __init__(self, socket: Socket, owner: Any, dialect: Dialect | None = None) -> None:
        settings = LinkSettings(replay_speed=None, keep=10**7 / RATE)
        self.progress = Progress(dialect or Deepgram(KEY), RATE, settings, owner)
        self.buffer = self.progress.buffer
        watchdog = Watchdog(settings, None, trio.current_time(), 0.0)
        self.sender = Sender(cast(Any, socket), self.progress, watchdog, 0, self.settle)

    async def settle(self) -> None:
        await trio.sleep(SETTLING)

    def feed(self, count: int) -> None:
        end = self.buffer.end
        self.buffer.append(pcm(end, end + count))
        if self.buffer.end >= self.sender.wake_at:  # as `Link.feed` does
            self.sender.wake()

    def mark(self, kind: ChoreKind, channel: int | None = None, message: str = "") -> None:
        self.progress.outbox.mark(kind, channel, message)  # as `Link` does
        self.sender.wake()

    async def run(self) -> bool:
        return await self.sender.run(())


def test_what_is_due_is_sent_at_once(run_virtual: Run) -> None:
    async def main() -> None:
        socket, owner = Socket(), Owner()
        desk = Desk(socket, owner)
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
            desk.feed(4000)
            await wait_all_tasks_blocked()
            assert socket.sent == [pcm(0, 1600), pcm(1600, 3200)]
            desk.mark("finalize")
            await wait_all_tasks_blocked()
            assert socket.sent[2:] == [pcm(3200, 4000), '{"type":"Finalize"}']
            assert owner.told == [("sent", "Finalize")]
            assert trio.current_time() == 0.0

    run_virtual(main)


def test_what_is_too_short_for_the_provider_is_filled_up_with_silence(run_virtual: Run) -> None:
    """And its clock, which the silence moves, is known."""

    async def main() -> None:
        socket, owner = Socket(), Owner()
        desk = Desk(socket, owner, AssemblyAI(KEY))
        hearing = desk.progress.hearing
        hearing.begin(0.0)
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            desk.feed(1600 + 320)
            desk.mark("finalize")
            await wait_all_tasks_blocked()
            assert socket.sent == [pcm(0, 1600), pcm(1600, 1920) + bytes(2 * 480), '{"type":"ForceEndpoint"}']
            assert owner.told == [("sent", "Silence"), ("sent", "ForceEndpoint")]
            desk.feed(800)
            desk.mark("finalize")
            await wait_all_tasks_blocked()
            assert socket.sent[3] == pcm(1920, 2720), "long enough"
        word = {"text": "late", "start": 150, "end": 180, "word_is_final": True}
        turn = {"type": "Turn", "turn_order": 0, "end_of_turn": True, "words": [word]}
        ((heard,),) = [hearing.hear(json.dumps(turn), 1.0, 1.0)]
        assert isinstance(heard, Heard)
        assert isinstance(heard.signal, Transcript)
        assert heard.signal.words[0].start == pytest.approx(0.12), "0.03 s of silence were inserted at 0.12 s"

    run_virtual(main)


def test_options_that_change_what_messages_mean_are_told_of(run_virtual: Run) -> None:
    async def main() -> None:
        socket, owner = Socket(), Owner()
        desk = Desk(socket, owner, AssemblyAI(KEY, format_turns=True))
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
        assert owner.told == [("sent", "Options")]
        assert socket.sent == [], "the provider is told in the address"

    run_virtual(main)


def test_a_segment_that_is_too_short_for_the_provider_is_filled_up_with_silence(run_virtual: Run) -> None:
    """0.3 s from one Finalize to the next, and to the end."""

    async def main() -> None:
        socket, owner = Socket(), Owner()
        desk = Desk(socket, owner, ElevenLabs(KEY))
        hearing = desk.progress.hearing
        hearing.begin(0.0)
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            desk.feed(4800)
            desk.mark("finalize")
            await wait_all_tasks_blocked()
            assert chunks(socket) == [1600, 1600, 1600, "commit"], "long enough"
            desk.feed(1600)
            desk.mark("finalize")
            desk.mark("finalize")
            desk.mark("close")
            await wait_all_tasks_blocked()
            assert chunks(socket)[4:] == [1600, 3200, "commit", 4800, "commit", 4800, "commit"]
            assert owner.told == [("sent", ""), ("sent", "Silence"), ("sent", "")] + 2 * [
                ("sent", "Silence"),
                ("sent", ""),
            ]
        word = {"text": "late", "start": 0.35, "end": 0.65}
        late = {"message_type": "committed_transcript_with_timestamps", "text": "late", "words": [word]}
        (heard,) = hearing.hear(json.dumps(late), 1.0, 1.0)
        assert isinstance(heard, Heard)
        assert isinstance(heard.signal, Transcript)
        assert heard.signal.words[0].end == pytest.approx(0.4), "silence was inserted at 0.4 s"

    run_virtual(main)


def chunks(socket: Socket) -> list[int | str]:
    """Frames of the audio that ElevenLabs is sent, and its commits."""
    messages = [json.loads(message) for message in socket.sent]
    return ["commit" if m["commit"] else len(base64.b64decode(m["audio_base_64"])) // 2 for m in messages]


@pytest.mark.parametrize("seed", range(30))
def test_audio_and_marks_go_in_order_however_long_sending_takes(seed: int, run_virtual: Run) -> None:
    rng = random.Random(seed)

    async def main() -> tuple[list[WireMessage], list[tuple[str, int]]]:
        socket = Socket()
        desk, expected = Desk(socket, Owner()), []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.run)
            for number in range(100):
                match rng.choice(["feed", "feed", "feed", "finalize", "message", "settle", "gate", "sleep"]):
                    case "feed":
                        desk.feed(rng.choice([1, 320, 1600, 5000]))
                    case "finalize":
                        expected.append(("Finalize", desk.buffer.end))
                        desk.mark("finalize")
                    case "message":
                        expected.append((f"message {number}", desk.buffer.end))
                        desk.mark("message", message=json.dumps({"type": f"message {number}"}))
                    case "settle":
                        desk.mark("settle")
                    case "gate" if socket.gate.is_set():
                        socket.shut()
                    case "gate":
                        socket.gate.set()
                    case "sleep":
                        await trio.sleep(rng.choice([0.0, 0.001, 0.05, 0.3]))
            socket.gate.set()
            expected.append(("CloseStream", desk.buffer.end))
            desk.mark("close")
        return socket.sent, expected

    sent, expected = run_virtual(main)
    heard, told = 0, []
    for payload in sent:
        if isinstance(payload, bytes):
            assert 0 < len(payload) <= 3200
            assert payload == pcm(heard, heard + len(payload) // 2)
            heard += len(payload) // 2
        elif (kind := json.loads(payload)["type"]) != "KeepAlive":
            told.append((kind, heard))
    assert told == expected


def test_what_takes_time_is_waited_for(run_virtual: Run) -> None:
    async def main() -> None:
        socket = Socket()
        desk = Desk(socket, Owner())
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
            desk.mark("settle")
            await wait_all_tasks_blocked()
            desk.feed(1600)
            desk.mark("finalize")
            assert not socket.sent
            await trio.sleep(SETTLING)
            await wait_all_tasks_blocked()
            assert socket.sent == [pcm(0, 1600), '{"type":"Finalize"}']

    run_virtual(main)


@pytest.mark.parametrize("how", ["closed", "broken", "cancelled"])
def test_behind_the_end_nothing_is_sent(how: str, run_virtual: Run) -> None:
    async def main() -> None:
        socket = Socket(closed=how == "broken")
        desk = Desk(socket, Owner())
        desk.feed(1600)
        if how == "closed":
            desk.mark("close")
        with trio.move_on_after(1.0) as patience:
            assert await desk.run() == (how == "closed")
        assert patience.cancelled_caught == (how == "cancelled")
        sent = list(socket.sent)
        desk.feed(1600)
        desk.mark("finalize")
        await wait_all_tasks_blocked()
        assert socket.sent == sent
        assert desk.progress.outbox.waiting == 1600

    run_virtual(main)


def test_the_owner_may_ask_for_more_when_it_is_told_of_something(run_virtual: Run) -> None:
    """`LinkOwner` says so."""

    class Eager(Owner):
        desk: Desk

        def sent(self, message: WireMessage) -> None:
            super().sent(message)
            if len(self.told) == 1:
                self.desk.mark("finalize", 1)

    async def main() -> None:
        socket, owner = Socket(), Eager()
        owner.desk = desk = Desk(socket, owner, Deepgram(KEY, channels=2))
        async with open_background() as nursery:
            nursery.start_soon(desk.run)
            await wait_all_tasks_blocked()
            desk.mark("finalize", 0)
            await wait_all_tasks_blocked()
        assert [json.loads(text)["channel"] for text in socket.sent] == [0, 1]

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
