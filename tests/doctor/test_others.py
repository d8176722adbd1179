"""``hearout doctor`` with those that are not Deepgram's first version: what they have, and what they lack."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from hearout.doctor.checks import Arrival, Conversation, Finding, cadence, segments, speakers
from hearout.doctor.examine import WRONG_KEY
from hearout.sttserver.flux.stream import FluxStream
from hearout.sttserver.protocols import PROTOCOLS, Handshake
from hearout.sttserver.soniox.stream import SonioxStream
from hearout.sttserver.steps import Close, Send, Step
from hearout.transcribers.base import Heard
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.flux import Flux
from hearout.transcribers.registry import PROVIDERS
from hearout.transcribers.soniox import Soniox
from hearout_policies.signals import Transcript, Word
from tests.doctor.patients import KEY, differing, examined, lacking
from tests.kit.paths import DOCS

Consult = Callable[..., dict[str, Finding]]
FLUX, SONIOX = "wss://api.example.com/v2/listen", "wss://api.example.com/transcribe-websocket"


@pytest.fixture
def flux(run_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Consult:
    """Examines Flux, whose server answers ForceEndTurn with these steps; None: as Flux does."""

    def run(forced: Sequence[Step] | None = None, **options: Any) -> dict[str, Finding]:
        if forced is not None:
            monkeypatch.setattr(FluxStream, "_force_end", lambda stream: list(forced))
        return run_virtual(partial(examined, Flux(KEY, FLUX), Flux(WRONG_KEY, FLUX), **options))  # type: ignore[no-any-return]

    return run


def test_flux_as_hearout_assumes_it(flux: Consult) -> None:
    findings = flux(slow=True)
    assert differing(findings) == set()
    assert lacking(findings) == {"SpeechStarted", "UtteranceEnd"}
    assert findings["turns"].detail == "2 started, 2 ended"
    assert findings["EndOfTurn"].verdict == "has"
    assert findings["ForceEndTurn"].verdict == "has"
    assert findings["ForceEndTurn"].figures["after"] < 0.3
    assert findings["second ForceEndTurn"].detail.startswith("answered empty")
    assert (findings["KeepAlive"].verdict, findings["wrong key"].detail) == ("skipped", "HTTP 401")
    assert "bad query" not in findings


@pytest.mark.parametrize(
    ("forced", "detail"),
    [
        ([], "not answered within 5 s; hearout waits for 1.2 s at each pause"),
        ([Close(1008, "not for you")], "refused: the server hung up, 1008 not for you"),
        (
            [Send('{"type": "Error", "code": "UNPARSABLE_CLIENT_MESSAGE", "description": "no"}'), Close(1008)],
            "refused: Error: UNPARSABLE_CLIENT_MESSAGE: no",
        ),
    ],
    ids=["silence", "hangs up", "refuses"],
)
def test_an_account_without_force_end_turn(flux: Consult, forced: list[Step], detail: str) -> None:
    findings = flux(forced)
    assert differing(findings) == set()
    assert findings["ForceEndTurn"] == Finding("ForceEndTurn", "lacks", detail)


def soniox(run_virtual: Callable[..., Any], stream: type[SonioxStream] = SonioxStream, **options: Any) -> Any:
    def open_stream(handshake: Handshake, script: object) -> SonioxStream:
        PROTOCOLS["soniox"].open(handshake, None)
        return stream(handshake.request_id, True, handshake.accepts)

    protocols = {"soniox": replace(PROTOCOLS["soniox"], open=open_stream)}
    dialect, stranger = Soniox(KEY, SONIOX), Soniox(WRONG_KEY, SONIOX)
    return run_virtual(partial(examined, dialect, stranger, protocols, **options))


def test_soniox_as_hearout_assumes_it(run_virtual: Callable[..., Any]) -> None:
    findings = soniox(run_virtual, slow=True)
    assert differing(findings) == set()
    assert lacking(findings) == {"SpeechStarted", "UtteranceEnd"}
    assert findings["<end>"].verdict == findings["finalize"].verdict == "has"
    assert findings["KeepAlive"].verdict == "ok"
    assert findings["wrong key"].detail == "HTTP 401"


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_on_its_own_protocol_is_as_hearout_assumes_it(
    run_virtual: Callable[..., Any], name: str
) -> None:
    """Whatever its protocol has not."""
    url = "wss://api.example.com" + PROTOCOLS[name].path
    known = PROVIDERS[name]
    findings = run_virtual(partial(examined, known.make(KEY, url), known.make(WRONG_KEY, url), slow=True))
    assert differing(findings) == set()
    assert findings["messages"].verdict == findings["segments"].verdict == findings["interims"].verdict == "ok"
    assert "without a type" not in findings["messages"].detail
    assert findings["KeepAlive"].verdict == ("skipped" if known.make(KEY).keepalive_after is None else "ok")


def test_the_class_of_the_documents_on_its_own_protocol(run_virtual: Callable[..., Any]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "own-transcriber.md").read_text("utf-8"), re.DOTALL)
    module: dict[str, Any] = {"__name__": "mine"}
    exec(blocks[0], module)
    url = "wss://api.example.com" + PROTOCOLS["assemblyai"].path
    findings = run_virtual(partial(examined, module["Assembly"](KEY, url), module["Assembly"](WRONG_KEY, url)))
    assert differing(findings) == set()
    assert findings["ForceEndpoint"].verdict == "has"
    assert findings["KeepAlive"].detail.startswith("the dialect sends none")


@pytest.mark.parametrize("name", ["openai", "elevenlabs"])
def test_words_that_are_never_final_where_results_have_no_place(run_virtual: Callable[..., Any], name: str) -> None:
    def is_final(news: Any) -> bool:
        return isinstance(news, Heard) and isinstance(news.signal, Transcript) and news.signal.is_final

    class Silenced(PROVIDERS[name].dialect):  # type: ignore[misc]
        def decode(self, message: Any, at: float, offset: float) -> Any:
            return [news for news in super().decode(message, at, offset) if not is_final(news)]

    url = "wss://api.example.com" + PROTOCOLS[name].path
    findings = run_virtual(partial(examined, Silenced(KEY, url), None))
    assert "segments" in differing(findings)
    assert "words of the last interim never became final" in findings["segments"].detail


def test_how_often_results_without_a_place_come_is_no_matter() -> None:
    """Between two of them nobody may have spoken."""
    untimed = Heard(0, Transcript(0.0, (Word("yes", 0.0, 0.0),), 0.0, 0.0, is_final=False, timed=False))
    arrivals = [Arrival(1.0 + 2.0 * number, {}, [untimed]) for number in range(4)]
    for several in (arrivals, arrivals[:1]):
        assert cadence(Conversation(tells_progress=False, audio=9.0, arrivals=several)).verdict == "ok"
    assert cadence(Conversation(audio=9.0, arrivals=arrivals)).verdict == "differs"


@pytest.mark.parametrize(("name", "why"), [("flux", "the dialect sends none"), ("soniox", "takes 15 s: add --slow")])
def test_why_the_keep_alive_is_not_tried(run_virtual: Callable[..., Any], name: str, why: str) -> None:
    url = "wss://api.example.com" + PROTOCOLS[name].path
    findings = run_virtual(partial(examined, PROVIDERS[name].make(KEY, url), None))
    assert findings["KeepAlive"].detail.startswith(why)


@pytest.mark.parametrize(
    ("labels", "verdict", "says"),
    [([None, None], "lacks", "2 words without a label, though"), (["1", None], "has", "1 of 2 words have one: 1")],
)
def test_labels_that_were_asked_for(labels: list[str | None], verdict: str, says: str) -> None:
    words = [Word("yes", 0.1 + n, 0.5 + n, speaker=label) for n, label in enumerate(labels)]
    finding = speakers(Conversation(audio=2.0, arrivals=[heard(0.0, 2.0, *words, final=True)]))
    assert finding.verdict == verdict
    assert finding.detail.startswith(says)


def test_labels_are_looked_for_where_they_were_asked_for(run_virtual: Callable[..., Any]) -> None:
    findings = run_virtual(partial(examined, Soniox(KEY, SONIOX, enable_speaker_diarization=True), None))
    assert findings["speakers"].verdict == "lacks"
    assert differing(findings) == set()


def heard(start: float, end: float, *words: Word, final: bool) -> Arrival:
    return Arrival(end, {}, [Heard(0, Transcript(end, words, start, end, is_final=final))])


@pytest.mark.parametrize(
    ("end", "strict", "verdict"), [(1.0, False, "ok"), (0.5, False, "differs"), (1.0, True, "differs")]
)
def test_all_words_must_become_final(end: float, strict: bool, verdict: str) -> None:
    """How windows lie is a matter of taste, but for those of whom it is known."""
    word = Word("yes", 0.6, 0.9)
    arrivals = [heard(0.0, 1.0, word, final=False), heard(0.2, end, *[word][: end > 0.6], final=True)]
    assert segments(Conversation(strict=strict, audio=3.0, arrivals=arrivals)).verdict == verdict


def test_a_server_that_hangs_up_when_it_is_asked_for_the_words(run_virtual: Callable[..., Any]) -> None:
    """hearout asks at every pause: this one is of no use to it."""

    class HangsUp(SonioxStream):
        def _finalize(self) -> list[Step]:
            return [Close(1011)]

    assert differing(soniox(run_virtual, HangsUp)) == {"finalize"}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ('{"error_code": 401, "error_type": "unauthenticated", "error_message": "Bad key."}', "ok"),
        ('{"error_code": 503, "error_type": "service_unavailable", "error_message": "Later."}', "differs"),
    ],
)
def test_a_key_that_is_refused_in_the_stream(run_virtual: Callable[..., Any], error: str, verdict: str) -> None:
    class Late(SonioxStream):
        wrong = False

        def receive(self, message: str | bytes) -> list[Step]:
            steps = super().receive(message)
            return [Send(error), Close(1000)] if self.wrong and isinstance(message, bytes) else steps

    def open_stream(handshake: Handshake, script: object) -> SonioxStream:
        stream = Late(handshake.request_id, True, handshake.accepts)
        stream.wrong = handshake.key == WRONG_KEY
        return stream

    protocols = {"soniox": replace(PROTOCOLS["soniox"], open=open_stream)}
    dialect, stranger = Soniox(KEY, SONIOX), Soniox(WRONG_KEY, SONIOX)
    finding = run_virtual(partial(examined, dialect, stranger, protocols, token=None))["wrong key"]
    assert finding.verdict == verdict
    assert finding.detail.startswith("refused in the stream: ")


def test_one_that_cannot_be_asked(run_virtual: Callable[..., Any]) -> None:
    class Mute(Deepgram):
        def finalize(self, channel: int | None = None) -> Any:
            return None

    url = "wss://api.example.com/v1/listen"
    findings = run_virtual(partial(examined, Mute(KEY, url), None))
    assert differing(findings) == set()
    assert lacking(findings) == {"Finalize"}
    assert findings["wrong key"].verdict == "skipped"
