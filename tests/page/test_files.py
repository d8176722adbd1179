"""What the page's server gives, without a browser."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import soundfile

from hearout.cli.main import main
from hearout.cli.page import page_settings
from hearout.cli.voice import VADS
from hearout.errors import UsageError
from hearout.page.files import pages
from hearout.serving import PlainAnswer, Upgrade
from hearout_policies.policy import PRESETS, Policy, preset
from tests.kit.paths import ROOT

FOLDER = ROOT / "engine" / "hearout" / "page"
SENTENCE = FOLDER / "sentence.flac"


def settings(policy: Policy, **more: Any) -> dict[str, Any]:
    return page_settings("local", policy, "webrtc", **{"token": False} | more)


def got(path: str, policy: Policy | None = None) -> PlainAnswer:
    return pages(settings(policy or Policy()))[path](Upgrade(path, {}, "somebody"))


def test_all_that_the_page_loads_is_there_and_guarded() -> None:
    index = got("/").body.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', index)
    scripts = "".join(path.read_text() for path in FOLDER.glob("*.js"))
    loaded += re.findall(r'(?:addModule|answer)\("([^"]+)"\)', scripts)
    loaded += re.findall(r'"(\w+\.flac)"', scripts)
    served = pages({})
    assert {f"/{name}" for name in loaded} | {"/"} == {*served, "/healthz"}  # which every server has
    for path in served:
        headers = dict(got(path).headers)
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
    assert got("/").kind == "text/html; charset=utf-8"
    assert got("/worklet.js").kind == "text/javascript; charset=utf-8"


def test_the_agent_says_what_stands_in_the_box() -> None:
    box = re.search("<textarea[^>]*>(.*)</textarea>", (FOLDER / "index.html").read_text())
    assert box is not None
    said = runpy.run_path(str(ROOT / "samples" / "make_samples.py"))["SENTENCE"]
    texts = (turn.text for turn in said.turns)
    assert re.findall(r"[a-z]+", box[1].lower()) == re.findall("[a-z]+", " ".join(texts))
    samples, rate = soundfile.read(SENTENCE, dtype="int16")
    assert 5 < len(samples) / rate < 12


@pytest.mark.parametrize("path", sorted({*FOLDER.glob("*.*")} - {SENTENCE}), ids=lambda path: path.name)
def test_no_file_names_another_host_or_makes_markup(path: Path) -> None:
    text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://(?!localhost)|innerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert len(text.splitlines()) <= 400


def test_the_settings_are_what_the_server_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(rate: int) -> Any:
        raise UsageError("it is not installed")

    monkeypatch.setitem(VADS, "silero", missing)
    told = json.loads(got("/settings.json", preset("fast")).body)
    assert [one["name"] for one in told["presets"]] == list(PRESETS)
    assert {one["name"]: one["price"] for one in told["presets"]}["provider"] is None
    assert told["policy"] == {"preset": "fast", "price": 0.4, "settings": {"base": "fast"}}
    assert told["vads"] == [{"name": "webrtc", "why": None}, {"name": "silero", "why": "it is not installed"}]
    own = preset("patient").replace({"silence.price": 2.5})
    assert settings(own)["policy"]["preset"] is None
    assert Policy.from_dict(settings(own)["policy"]["settings"]) == own


def test_another_preset_is_for_the_same_line() -> None:
    line = {"only_speaker": "first", "backchannels": ["aha"]}
    told = settings(Policy().replace(line | {"language": "es"}))
    assert told["policy"]["preset"] == "balanced"
    for one in (*told["presets"], told["policy"]):
        policy = Policy.from_dict(one["settings"])
        assert (policy.only_speaker, policy.backchannels) == ("first", {"aha"})
        assert policy.language is None  # so a session keeps its own, whose table may be larger than a message
    assert Policy.from_dict(told["presets"][1]["settings"]) == preset("fast").replace(line)


def test_a_voice_detection_that_is_not_there_is_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(rate: int) -> Any:
        raise UsageError("it is not installed")

    monkeypatch.setitem(VADS, "silero", missing)
    assert main(["serve", "--page", "--vad", "silero"]) == 2
    assert capsys.readouterr().err == "hearout: it is not installed\n"
