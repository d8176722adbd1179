"""The example of docs/asyncio.md, over a real socket, and what the page says."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import re
import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hearout
from hearout import aio
from tests.kit.asyncio_runs import assert_no_trio, loop_factory
from tests.kit.paths import ROOT
from tests.kit.serving import playing

EXAMPLE = ROOT / "examples/asyncio_turns.py"
PAGE = (ROOT / "docs/asyncio.md").read_text()


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("asyncio_turns", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(text: str, start: float, end: float) -> dict[str, Any]:
    words = [{"word": text, "start": start, "end": end}]
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 0.0,
        "duration": end,
        "is_final": True,
        "speech_final": True,
        "channel": {"alternatives": [{"transcript": text, "words": words}]},
    }


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_two_calls(kind: str, example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / f"call{number}.wav") for number in range(2)]
    for path in paths:
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(bytes(16_000))
    said = {"t": 0.3, "stt": result("hello.", 0.1, 0.2)}
    with playing(said) as address, asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
        runner.run(example.main(paths, f"ws://{address}/v1/listen"))
        assert_no_trio()
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line for line in lines if "prepare" not in line) == [
        f"{path}: hello. [endpointing]" for path in paths
    ]


def test_the_page_shows_the_example() -> None:
    (shown,) = re.findall(r"```python\n(async def listen.*?)```", PAGE, re.DOTALL)
    (function,) = [node for node in ast.parse(EXAMPLE.read_text()).body if getattr(node, "name", None) == "listen"]
    assert shown.strip() == ast.get_source_segment(EXAMPLE.read_text(), function)


def test_names_on_the_page_exist() -> None:
    for name in re.findall(r"`aio\.(\w+)", PAGE):
        assert hasattr(aio, name), name
    for name in re.findall(r"`hearout\.(\w+)", PAGE):
        assert hasattr(hearout, name), name
    for name in re.findall(r"`source\.(\w+)", PAGE):
        assert hasattr(aio.PushSource, name), name
    for name in re.findall(r"`session\.(\w+)", PAGE):
        assert hasattr(aio.Session, name), name
