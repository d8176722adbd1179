"""What docs/threads.md shows, run as it stands there."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from hearout import Deepgram, threads
from tests.kit.paths import ROOT
from tests.kit.provider import Source, audio
from tests.kit.serving import playing
from tests.threads.test_host import SAID

PAGE = (ROOT / "docs/threads.md").read_text()
MICROPHONE, LINE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Deepgram is the scripted server."""
    with playing(SAID) as address:

        def open_session(source: Any, transcriber: Deepgram) -> Any:
            there = Deepgram("k", f"ws://{address}/v1/listen", sample_rate=transcriber.sample_rate)
            return real(source, there, vad=None)

        real = threads.open_session
        monkeypatch.setattr(threads, "open_session", open_session)
        yield


@pytest.mark.usefixtures("local")
def test_the_microphone_in_ten_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("hearout.sources.Microphone", lambda: Source(0.5))
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    exec(MICROPHONE, {})
    assert capsys.readouterr().out == "hello.\n"
    assert len([line for line in MICROPHONE.splitlines() if line]) <= 10


@pytest.mark.usefixtures("local")
def test_audio_of_ones_own() -> None:
    names: dict[str, Any] = {}
    exec(LINE, names)
    said: list[str] = []
    names["listen"]([audio(0, 0.5)[:160]] * 25, "k", said.append)
    assert said == ["hello."]


def test_names_on_the_page_exist() -> None:
    for name in re.findall(r"session\.(\w+)", PAGE):
        assert hasattr(threads.Session, name), name
    assert all(ast.parse(code) for code in (MICROPHONE, LINE))
