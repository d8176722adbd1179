"""``hearout listen`` with Deepgram, Flux and Soniox when something is wrong: one line, and what was heard before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hearout.cli import listen
from hearout.cli.main import main
from hearout.link.settings import LinkSettings
from hearout.session.session import open_session
from tests.kit.commandline import Outcome
from tests.kit.serving import playing

RATE = 16_000
KEY = "a-key-that-nobody-must-see"
PATHS = {"deepgram": "/v1/listen", "flux": "/v2/listen", "soniox": "/transcribe-websocket"}
VARIABLES = {"deepgram": "DEEPGRAM_API_KEY", "flux": "DEEPGRAM_API_KEY", "soniox": "SONIOX_API_KEY"}

Hear = Callable[..., Outcome]


@pytest.fixture
def hear(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hear:
    """``hearout listen`` in this process, to 4 s of silence: the words are the server's. It tries once."""
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable, KEY)
    settings = LinkSettings(replay_speed=None, first_budget=0.0, budget=0.0)
    monkeypatch.setattr(listen, "open_session", partial(open_session, link=settings))

    def run(stt: str, server: str, *options: str, channels: int = 1) -> Outcome:
        path = tmp_path / "line.wav"
        soundfile.write(path, np.zeros((4 * RATE, channels), "int16"), RATE)
        url = f"ws://{server}{PATHS[stt]}"
        status = main(["listen", str(path), "--speed", "max", "--stt", stt, "--url", url, *options])
        done = Outcome(status, *capsys.readouterr())
        assert KEY not in done.out + "".join(done.err)
        return done

    return run


def token(text: str, start: int, end: int, *, final: bool) -> dict[str, Any]:
    return {"text": text, "start_ms": start, "end_ms": end, "is_final": final}


def heard(tokens: list[dict[str, Any]], final: int, total: int, **more: Any) -> dict[str, Any]:
    progress = {"tokens": tokens, "final_audio_proc_ms": final, "total_audio_proc_ms": total}
    return {"t": total / 1000, "stt": progress | more}


SEND = heard([token(" Send", 500, 800, final=True), token(" it.", 800, 1000, final=False)], 800, 1100)
IN_FLUX = {
    "t": 1.1,
    "stt": {
        "type": "TurnInfo",
        "event": "Update",
        "turn_index": 0,
        "audio_window_start": 0.0,
        "audio_window_end": 1.0,
        "transcript": "Send it.",
        "words": [],
        "end_of_turn_confidence": 0.1,
    },
}


@pytest.mark.parametrize("stt", PATHS)
def test_a_wrong_key_is_named_by_its_variable(hear: Hear, stt: str) -> None:
    with playing(stt=stt, token="another") as server:
        done = hear(stt, server)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err
    assert line.startswith("hearout: 127.0.0.1 refused the connection: HTTP 401 (")
    assert f"; check the key in {VARIABLES[stt]}" in line
    assert ("region" in line) == (stt == "soniox")


@pytest.mark.parametrize("held", [[], SEND["stt"]["tokens"]], ids=["no tokens", "tokens"])
def test_a_wrong_key_in_an_error_frame_comes_after_the_words(hear: Hear, held: list[Any]) -> None:
    error = {"error_code": 401, "error_type": "unauthenticated", "error_message": f"Bad key {KEY}."}
    with playing(*([SEND] if not held else []), heard(held, 800, 1500, **error), stt="soniox") as server:
        done = hear("soniox", server)
    assert (done.status, done.texts) == (1, ["Send it."])
    assert "check the key in SONIOX_API_KEY; it works in the region of its project only" in done.err[-1]
    assert len([line for line in done.err if "check the key" in line]) == 1


@pytest.mark.parametrize(("stt", "said"), [("soniox", SEND), ("flux", IN_FLUX)])
@pytest.mark.parametrize("policy", ["balanced", "provider", "push_to_talk"])
def test_closed_in_mid_turn_and_for_good(
    hear: Hear, stt: str, said: dict[str, Any], policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    with playing(said, {"t": 1.5, "link": "lost"}, stt=stt) as server:
        done = hear(stt, server, "--policy", policy, "--record", str(trace))
    assert (done.status, done.texts) == (1, ["Send it."])
    assert done.err[-1].startswith("hearout: ")
    assert "gave up" in done.err[-1]
    assert main(["replay", str(trace)]) == 0
    assert "Send it." in capsys.readouterr().out, "the trace tells how the turn ended"


@pytest.mark.parametrize(
    ("stt", "says"),
    [
        ("soniox", "Soniox: it transcribes one channel, and mixes more; open a session for each"),
        ("flux", "Flux: it transcribes one channel; open a session for each channel"),
    ],
)
def test_audio_that_a_provider_does_not_take(hear: Hear, stt: str, says: str) -> None:
    done = hear(stt, "127.0.0.1:1", channels=2)
    assert (done.status, done.out) == (2, "")
    (line,) = done.err
    assert line.startswith(f"hearout: {says}")


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "check the options"),
        (402, "the account has no credit left"),
        (403, "get a new key into SONIOX_API_KEY"),
    ],
)
def test_a_refusal_by_soniox_has_its_remedy(hear: Hear, status: int, remedy: str) -> None:
    with playing(SEND, stt="soniox", refuse=status) as server:
        done = hear("soniox", server)
    assert done.status == 1
    (line,) = done.err
    assert f"HTTP {status}" in line
    assert line.endswith(remedy)
