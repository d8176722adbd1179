"""The link in virtual time, over real websockets on streams in memory."""

from __future__ import annotations

import json
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from hearout.errors import SessionError
from hearout.link.buffer import ReplayBuffer
from hearout.link.link import Link
from hearout.link.settings import LinkSettings
from hearout.link.socket import open_stream
from hearout.nursery import open_background
from hearout.transcribers.base import WireMessage
from hearout.transcribers.coverage import Coverage
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.signals import Signal, Transcript
from hearout_policies.words import join
from tests.kit.provider import Plan, Provider, audio

KEY = "dg-secret-key"
SPEECH = [("one", 0.5, 0.9), ("two", 1.0, 1.4), ("three", 1.5, 1.9), ("four", 4.0, 4.4), ("five", 4.5, 4.9)]
TEXT = "one two three four five"


class Owner:
    """Collects what the link tells; the session clock is trio's."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.results: list[tuple[int, Transcript]] = []
        self.stamps: list[float] = []
        self.looks = 0

    def now(self) -> float:
        self.looks += 1
        return trio.current_time() + self.looks * 1e-6  # a real clock never shows the same time twice

    def sent(self, message: WireMessage) -> None:
        self.told.append(("sent", json.loads(message).get("type", "")))

    def received(self, at: float, message: WireMessage) -> None:
        self.stamps.append(at)

    def transcribed(self, channel: int, signal: Signal) -> None:
        if isinstance(signal, Transcript):
            self.results.append((channel, signal))

    def link_lost(self, detail: str) -> None:
        self.told.append(("lost", detail))

    def link_restored(self, audio: float) -> None:
        self.told.append(("restored", audio))

    def audio_lost(self, start: float, end: float) -> None:
        self.told.append(("audio lost", start, end))

    def warn(self, detail: str) -> None:
        self.told.append(("warning", detail))

    def kinds(self) -> list[str]:
        return [entry[0] for entry in self.told]

    def text(self, channel: int = 0) -> str:
        return join(w for number, r in self.results if r.is_final and number == channel for w in r.words)


Script = Callable[[Link, Provider, Owner], Awaitable[None]]


async def speak(link: Link, start: float, end: float, channels: int = 1) -> None:
    """Feed audio in real time."""
    began = trio.current_time()
    for i in range(round((end - start) / 0.02)):
        await trio.sleep_until(began + (i + 1) * 0.02)
        link.feed(audio(start + i * 0.02, start + (i + 1) * 0.02, channels))


@pytest.fixture
def converse(run_virtual: Callable[..., Any]) -> Callable[..., tuple[Provider, Owner, Link]]:
    """Run a link against a provider with ``plans`` while ``script`` uses it; errors come out bare."""

    def run(script: Script, *plans: Plan, words: Any = (SPEECH,), **settings: Any) -> tuple[Provider, Owner, Link]:
        async def main() -> tuple[Provider, Owner, Link]:
            owner = Owner()
            error: SessionError | None = None
            async with trio.open_nursery() as outer:
                provider = Provider(outer, words, plans or (Plan(),))
                link = Link(
                    Deepgram(KEY, channels=len(words)),
                    16000,
                    owner,
                    settings=LinkSettings(**settings),
                    connect=provider.connect,
                    rng=random.Random(7),
                )
                try:
                    async with open_background() as nursery:
                        nursery.start_soon(link.run)
                        await script(link, provider, owner)
                except SessionError as exc:
                    error = exc
                await trio.testing.wait_all_tasks_blocked()
                assert all("hang" in task.name for task in outer.child_tasks)  # nobody is left over
                outer.cancel_scope.cancel()
            if error is not None:
                error.add_note(str(provider.connections))
                raise error
            return provider, owner, link

        return run_virtual(main)  # type: ignore[no-any-return]

    return run


async def whole_speech(link: Link, provider: Provider, owner: Owner) -> None:
    await speak(link, 0.0, 6.0)
    await link.finish()


def test_everything_is_heard_and_the_end_is_clean(converse: Callable[..., Any]) -> None:
    provider, owner, link = converse(whole_speech)
    assert owner.text() == TEXT
    assert owner.told == [("sent", "CloseStream")]
    assert link.stats.connections == 1
    path, headers = provider.requests[0]
    assert path.startswith("/v1/listen?model=nova-3&")
    assert headers[b"authorization"] == b"Token " + KEY.encode()


def test_a_message_has_one_time_stamp(converse: Callable[..., Any]) -> None:
    _, owner, _ = converse(whole_speech)
    assert len(owner.results) > 3
    assert {result.at for _, result in owner.results} < set(owner.stamps)


def test_audio_goes_in_messages_of_100_ms_and_its_rest_before_a_finalize(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 1.26)
        link.finalize()
        await speak(link, 1.26, 2.0)
        await link.finish()

    provider, _, _ = converse(script)
    sent = [(what, at) for _, _, what, at in provider.log]
    where = sent.index(("Finalize", 1.26))
    assert sent[where - 2 : where + 2] == [("audio", 1.2), ("audio", 1.26), ("Finalize", 1.26), ("audio", 1.36)]
    assert provider.of("Finalize")[0][0] == pytest.approx(1.26)
    assert [at for what, at in sent if what == "audio"][:3] == [0.1, 0.2, 0.3]


def test_finalize_per_channel(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 1.46, channels=2)
        link.finalize(1)
        await trio.sleep(0.1)
        assert owner.text(0) == ""
        assert owner.text(1) == "hello"
        await link.finish()

    _, owner, _ = converse(script, words=(SPEECH[:3], [("hello", 0.4, 1.3)]))
    assert owner.text(0) == "one two"


def test_a_rest_of_audio_does_not_wait_for_more(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 0.34)
        await trio.sleep(0.51)
        assert provider.of("audio")[-1][3] == 0.34
        await trio.sleep(1)
        await speak(link, 0.34, 0.4)
        assert provider.of("audio")[-1][3] == 0.36  # nobody knows whether more will come
        await link.finish()

    converse(script)


def test_keepalive_from_the_connection_on_when_there_is_no_audio(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await trio.sleep(13)
        await link.finish()

    provider, _, _ = converse(script)
    assert [t for t, _, _, _ in provider.of("KeepAlive")] == [4.0, 8.0, 12.0]


@pytest.mark.parametrize("drop", [0.1, 1.2, 1.7, 2.2, 2.5, 4.2, 5.9])
def test_a_drop_loses_nothing_and_doubles_nothing(converse: Callable[..., Any], drop: float) -> None:
    _, owner, link = converse(whole_speech, Plan(drop_at=drop), Plan())
    assert owner.text() == TEXT
    assert owner.kinds()[:2] == ["lost", "restored"]
    assert link.stats.losses == 1
    spans = [r.start for _, r in owner.results if r.is_final]
    assert spans == sorted(spans)


@pytest.mark.parametrize("messages", range(1, 12))
def test_a_drop_after_any_message(converse: Callable[..., Any], messages: int) -> None:
    _, owner, _ = converse(whole_speech, Plan(drop_after_messages=messages), Plan())
    assert owner.text() == TEXT


def test_flapping(converse: Callable[..., Any]) -> None:
    rng = random.Random(3)
    plans = [Plan(drop_after_messages=rng.randint(1, 3)) for _ in range(6)]
    _, owner, link = converse(whole_speech, *plans, Plan())
    assert owner.text() == TEXT
    assert link.stats.losses >= 3


def test_trouble_now_and_then_does_not_use_up_the_budget(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 40.0)
        await link.finish()

    plans = [Plan(drop_at=at) for at in range(4, 40, 4)]
    _, _, link = converse(script, *plans, Plan(), budget=5.0)
    assert link.stats.losses == len(plans)


def test_replay_is_no_faster_than_allowed_and_catches_up(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 60.0)
        await link.finish()

    down = [Plan(error=OSError(111, "Connection refused"))] * 4
    provider, owner, link = converse(script, Plan(drop_at=4.2), *down, Plan())
    assert owner.text() == TEXT
    replay = [(t, at) for t, number, _, at in provider.of("audio") if number > 1]
    begin, first = replay[0]
    assert link.stats.replayed > 1
    for t, at in replay:
        assert at - first <= (t - begin) * 1.25 + 0.1  # one message
    assert replay[-1][0] == pytest.approx(60.0, abs=0.1)  # live again
    assert link.stats.losses == 1


def test_speech_before_the_first_connection_is_kept(converse: Callable[..., Any]) -> None:
    refused = Plan(error=OSError(111, "Connection refused"))
    _, owner, _ = converse(whole_speech, refused, refused, refused, Plan())
    assert owner.text() == TEXT
    assert owner.told[:2] == [
        ("lost", "cannot connect to api.deepgram.com:443: Connection refused"),
        ("restored", 0.0),
    ]


def test_an_outage_longer_than_the_buffer_says_what_is_lost(converse: Callable[..., Any]) -> None:
    plans = [Plan(drop_at=0.4)] + [Plan(status=503)] * 3 + [Plan()]
    _, owner, link = converse(whole_speech, *plans, keep=2.0)
    (lost,) = [entry for entry in owner.told if entry[0] == "audio lost"]
    _, start, end = lost
    assert start == 0.0
    assert ("restored", end) in owner.told
    assert end == pytest.approx(link.stats.lost)
    expected = [w for w, s, e in SPEECH if (s + e) / 2 >= end]
    assert 0 < len(expected) < 5
    assert owner.text() == " ".join(expected)


def test_channels_that_were_ahead_are_not_doubled(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 4.0, channels=2)
        await link.finish()

    slow = [("and", 0.2, 0.8), ("so", 0.9, 1.5), ("on", 1.6, 2.6), ("until", 2.6, 3.5)]
    quick = [("yes", 0.3, 0.6), ("no", 2.9, 3.3)]
    _, owner, _ = converse(script, Plan(drop_at=1.7), Plan(), words=(slow, quick))
    assert owner.text(0) == "and so on until"
    assert owner.text(1) == "yes no"
    assert ("restored", 0.0) in owner.told


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (400, [(b"dg-error", b"Bad Request: no such model")], b"", "no such model); check the options"),
        (401, [], b'{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials."}', "INVALID_AUTH: Invalid cred"),
        (401, [], b"", "HTTP 401; check the key"),
        (402, [], b"no money", "(no money); the account has no credit left"),
        (403, [(b"dg-error", KEY.encode())], b"", "(***); the key has no right"),
        (404, [], b"", "check the url"),
    ],
)
def test_a_refusal_for_good(converse: Callable[..., Any], status: int, headers: Any, body: bytes, says: str) -> None:
    with pytest.raises(SessionError) as info:
        converse(whole_speech, Plan(status=status, headers=headers, body=body))
    assert says in str(info.value)
    assert KEY not in str(info.value)
    assert info.value.__notes__ == ["1"]  # connections


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_refusal_for_now(converse: Callable[..., Any], status: int) -> None:
    _, owner, _ = converse(whole_speech, Plan(status=status), Plan(status=status), Plan())
    assert owner.text() == TEXT
    assert str(status) in owner.told[0][1]
    assert owner.kinds().count("lost") == 1


def test_retry_after_is_respected(converse: Callable[..., Any]) -> None:
    provider, _, _ = converse(whole_speech, Plan(status=429, headers=[(b"retry-after", b"3")]), Plan())
    assert provider.of("audio")[0][0] >= 3.0


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (Plan(error=socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (Plan(error=ssl.SSLError("handshake failure")), "handshake failure"),
        (Plan(hang_up_handshake=True), "it hung up in the handshake"),
        (Plan(hang_handshake=True), "no answer within 5 s"),
        (Plan(status=429), "too many connections at once"),
    ],
)
def test_it_gives_up_when_the_budget_is_used_up(converse: Callable[..., Any], plan: Plan, says: str) -> None:
    with pytest.raises(SessionError, match=r"; gave up after \d+ s") as info:
        converse(whole_speech, plan)
    assert says in str(info.value)


def test_pauses_between_attempts_grow(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await trio.sleep_forever()

    with pytest.raises(SessionError) as info:
        converse(script, Plan(status=503), first_budget=60.0)
    assert 12 <= int(info.value.__notes__[0]) <= 30


def test_half_open(converse: Callable[..., Any]) -> None:
    _, owner, _ = converse(whole_speech, Plan(freeze_at=1.2), Plan())
    assert owner.text() == TEXT
    assert ("lost", "no sign of life from the transcriber for 5 s") in owner.told


def test_a_server_that_answers_pings_but_no_audio(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 30.0)
        await link.finish()

    _, owner, _ = converse(script, Plan(silent=True), Plan())
    assert owner.text() == TEXT
    assert "has not answered for" in owner.told[0][1]


def test_silence_without_audio_is_no_fault(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 0.4)
        await trio.sleep(60)
        await link.finish()

    _, _, link = converse(script)
    assert link.stats.losses == 0


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1011, "Deepgram did not receive audio data ... net0001"), (1001, "")]
)
def test_a_close_that_nobody_asked_for(converse: Callable[..., Any], code: int, reason: str) -> None:
    _, owner, _ = converse(whole_speech, Plan(close=(code, reason), close_at=1.2), Plan())
    assert owner.text() == TEXT
    assert owner.told[0] == ("lost", f"the transcriber hung up: {code} {reason}".strip())


def test_audio_it_cannot_read_is_for_good(converse: Callable[..., Any]) -> None:
    with pytest.raises(SessionError, match="1008 DATA-0000"):
        converse(whole_speech, Plan(close=(1008, "DATA-0000"), close_at=1.2), Plan())


def test_nonsense_is_counted_and_survived(converse: Callable[..., Any]) -> None:
    error = json.dumps({"type": "Error", "description": f"odd {KEY}"})
    extra = ["{", "[]", '{"type":"Results"}', '{"type":"News"}', error]
    _, owner, link = converse(whole_speech, Plan(extra=extra))
    assert owner.text() == TEXT
    assert link.stats.not_understood == 3
    assert owner.kinds() == ["warning", "warning", "sent"]
    assert owner.told[1] == ("warning", "the transcriber reports: odd ***")


def test_a_huge_message_ends_the_connection_only(converse: Callable[..., Any]) -> None:
    _, owner, _ = converse(whole_speech, Plan(extra=["x" * 2**21]), Plan())
    assert owner.text() == TEXT
    assert "1009" in owner.told[0][1]


def test_no_end_from_the_server(converse: Callable[..., Any]) -> None:
    _, owner, link = converse(whole_speech, Plan(never_end=True))
    assert owner.text() == TEXT
    assert link.stats.connections == 1


def test_a_drop_after_close_stream_fetches_the_tail(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        await speak(link, 0.0, 4.96)
        await link.finish()

    # The finals of 0-2.2 s, then interims; the answer to CloseStream is the 4th message and never comes.
    _, owner, _ = converse(script, Plan(drop_after_messages=3, delay=0.0), Plan())
    assert owner.text() == TEXT


def test_settle_waits_for_the_answers(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        for i in range(60):
            link.feed(audio(i * 0.1, (i + 1) * 0.1, channels=4))
            await link.settle()
            assert provider.of("audio")[-1][3] == pytest.approx((i + 1) * 0.1)
            assert all(r.end <= (i + 1) * 0.1 + 1e-9 for _, r in owner.results)
            if i == 22:  # the endpoint of 1.9 s is due at 2.2 s
                assert [owner.text(channel) for channel in range(4)] == ["one two three"] * 4
        assert trio.current_time() == 0.0
        await link.finish()

    _, owner, _ = converse(script, words=[SPEECH] * 4, replay_speed=None)
    assert owner.text() == TEXT


def test_settle_survives_a_drop(converse: Callable[..., Any]) -> None:
    async def script(link: Link, provider: Provider, owner: Owner) -> None:
        for i in range(60):
            link.feed(audio(i * 0.1, (i + 1) * 0.1))
            await link.settle()
        await link.finish()

    _, owner, _ = converse(script, Plan(drop_at=1.2), Plan(drop_at=4.6), Plan(), replay_speed=None)
    assert owner.text() == TEXT


def test_a_result_covers_no_audio_that_was_not_sent() -> None:
    coverage = Coverage(1)
    lie = Transcript(at=0.0, words=(), start=0.0, end=1e6, is_final=True)
    assert coverage.admit(0, lie, sent=2.5) is lie
    assert coverage.until == 2.5


def test_the_buffer_is_a_window() -> None:
    buffer = ReplayBuffer(4, most=5)
    buffer.append(b"".join(bytes([i] * 4) for i in range(4)))
    assert buffer.read(1, 3) == bytes([1] * 4 + [2] * 4)
    buffer.release(2)
    buffer.append(bytes([4] * 4 + [5] * 4 + [6] * 4 + [7] * 4))
    assert (buffer.first, buffer.end) == (3, 8)
    assert buffer.read(3, 4) == bytes([3] * 4)
    buffer.release(100)
    assert (buffer.first, buffer.end) == (8, 8)
    for start, stop in ((7, 8), (8, 9)):
        with pytest.raises(ValueError, match="are not in 8 to 8"):
            buffer.read(start, stop)
    with pytest.raises(ValueError, match="no whole frames"):
        buffer.append(b"123")


def test_no_connection_on_the_real_network() -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await listeners[0].aclose()
        with pytest.raises(OSError, match="127"):
            await open_stream("127.0.0.1", port, False)

    trio.run(main)


def test_a_server_without_tls_is_not_talked_to() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, answer, listeners)
            with pytest.raises(trio.BrokenResourceError):
                await open_stream("127.0.0.1", listeners[0].socket.getsockname()[1], True)
            nursery.cancel_scope.cancel()

    trio.run(main)
