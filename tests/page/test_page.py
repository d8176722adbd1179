"""The page in a real browser, without a window: its microphone plays a recording, and a script plays the transcriber.

It takes as long as the recording. Whisper in the transcriber's place: docs/page.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import trio

from hearout import as_dict, read_trace, replay
from tests.kit.browser import CHROMIUM, Tab, browsing
from tests.kit.callers import heard
from tests.kit.commandline import COMMAND, environment
from tests.kit.paths import ROOT
from tests.kit.serving import playing

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

SAMPLE = ROOT / "samples" / "order.flac"
TEXT = "i would like a large coffee and a bottle of water"
LEAD = 1.5  # seconds of silence before the sample, in which the agent begins to speak
LENGTH = 5.2  # seconds of the sample: its first turn, and silence


def script() -> list[dict[str, Any]]:
    """Interim results by and by, and the final one."""
    words = json.loads(SAMPLE.with_suffix(".json").read_text())["turns"][0]["words"]
    begin, spoken = LEAD + words[0]["start"], [word["text"] for word in words]
    ends = [LEAD + word["end"] for word in words]
    assert " ".join(spoken) == TEXT
    interims = [
        heard(ends[n - 1] + 0.2, " ".join(spoken[:n]), begin, ends[n - 1], final=False) for n in range(3, len(words), 2)
    ]
    return [*interims, heard(ends[-1] + 0.35, TEXT, begin, ends[-1])]


TOKEN = "s3cret, of Zoë"


@contextmanager
def serving(url: str, *, refuses: bool = False) -> Iterator[str]:
    """The address that ``hearout serve --page`` says to open; of whom it ``refuses`` it complains."""
    command = [*COMMAND, "serve", "--page", "--port", "0", "--stt", "deepgram", "--url", url]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment(HEAROUT_TOKEN=TOKEN)
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("listening on ws://")
            _, address, rest = process.stdout.readline().split(" ", 2)
            assert rest == "in a browser, and give it the token\n"
            yield address
        finally:
            process.terminate()
            told = process.communicate(timeout=30)
    *complaints, last = told[1].splitlines()
    assert (told[0], last) == ("", "hearout: stopped")
    assert bool(complaints) == refuses
    assert all("refused with 403: not authorised" in line for line in complaints)
    assert TOKEN not in told[1]


def test_speaking_into_it(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    recording = tmp_path / "voice.wav"
    quiet = [0] * round(LEAD * rate)
    soundfile.write(recording, np.array([*quiet, *samples[: round(LENGTH * rate)]], np.int16), rate)

    async def main(address: str) -> None:
        with trio.fail_after(120):  # on a machine that others use, too
            async with browsing(recording) as tab:
                await tab.size(360, 740, mobile=True)
                await tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
                await tab.call("Page.navigate", url=f"{address}#{quote(TOKEN)}")
                await speak(tab)
                await look(tab)
                await drag(tab)
                trace = await download(tab, tmp_path)
                assert trace == TEXT
                await tab.run(click("listen"))
                await tab.until("document.getElementById('state')?.textContent === 'Stopped.'")
                ours = (address, address.replace("http:", "ws:"), f"blob:{address}")
                assert [url for url in tab.requests if not url.startswith(ours)] == []
                assert tab.complaints == []
                page = ROOT / "engine/hearout/page/index.html"
                await tab.call("Page.navigate", url=page.as_uri())
                await tab.until(
                    "/opened as a file.*hearout serve --page/.test(document.getElementById('state')?.textContent)"
                )

    with playing(*script()) as host, serving(f"ws://{host}/v1/listen") as address:
        trio.run(main, address)


def click(name: str) -> str:
    return f"document.getElementById('{name}').click()"


async def speak(tab: Tab) -> None:
    """The agent speaks, the recording cuts in; other settings meanwhile."""
    await tab.until("window.page")
    assert await tab.run("location.hash") == ""
    await tab.run(click("listen"))
    await tab.until("page.line?.began && !document.getElementById('speak').disabled")
    await tab.run(click("speak"))
    await tab.until("document.getElementById('agent').textContent === 'The agent speaks.'")
    await tab.run("document.getElementById('preset').value = 'fast'")
    await tab.run("document.getElementById('preset').dispatchEvent(new Event('change'))")
    await tab.until("document.getElementById('words').textContent.includes('a large coffee')")
    await tab.until("document.getElementById('agent').textContent.startsWith('You cut in with')")
    await tab.until("document.querySelector('#turns li')")


async def look(tab: Tab) -> None:
    """What the turn says, and that all of it is on a narrow screen, bright or dark."""
    shown = await tab.run("document.querySelector('#turns li').textContent")
    assert TEXT in shown
    assert "over the agent" in shown
    assert "ends in a plain word (“water”)" in shown
    assert "under fast, 0.4 s a cutoff, webrtc" in shown
    assert "fast, 0.4 s a cutoff, webrtc" in await tab.run("document.getElementById('comparison').innerText")
    assert "Transcription latency 0." in await tab.run("document.getElementById('behind').innerText")
    width, screen = await tab.run("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= screen == 360
    colour = "getComputedStyle(document.body).backgroundColor"
    assert await tab.run(colour) == "rgb(255, 255, 255)"
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert await tab.run(colour) == "rgb(20, 25, 31)"


async def drag(tab: Tab) -> None:
    """A finger on the timeline looks back, by as many pixels as it goes."""
    assert await tab.run("page.timeline.back") == 0
    await tab.run("page.timeline.canvas.scrollIntoView()")
    x, y = await tab.run("(({x, y}) => [x, y + 20])(page.timeline.canvas.getBoundingClientRect())")
    for kind, *points in [
        ("touchStart", x + 10),
        *(("touchMove", x + 10 + 30 * n) for n in (1, 2, 3, 4)),
        ("touchEnd",),
    ]:
        await tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": at, "y": y} for at in points])
    assert await tab.run("page.timeline.back * page.timeline.scale") == pytest.approx(
        120, abs=40
    )  # the first is for the browser


async def download(tab: Tab, folder: Path) -> str:
    """The texts of the turns in the trace that it gives, replayed."""
    await tab.run(click("download"))
    while not (found := list(folder.glob("hearout-*.jsonl"))):  # noqa: ASYNC110, ASYNC240 (another program writes it)
        await trio.sleep(0.1)
    trace = read_trace(found[0])
    assert trace.header.source == "hearout serve"
    return " ".join(as_dict(event)["text"] for event in replay(trace).of_type("turn_completed"))
