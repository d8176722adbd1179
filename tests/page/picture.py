"""The picture in docs/page.md: the page in a browser without a window, after it has heard a recording, with Whisper.

``python -m tests.page.picture docs/page.png`` takes as long as the recording; it prints the turns that the page shows.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import soundfile
import trio

from tests.kit.browser import browsing
from tests.kit.commandline import COMMAND, environment
from tests.kit.paths import ROOT

_AFTER = 0.1  # seconds of the last pause, for what is waited for


async def taken(address: str, *, dark: bool) -> bytes:
    """A PNG."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "voice.wav"
        samples, rate = soundfile.read(ROOT / "samples" / "order.flac", dtype="int16")
        soundfile.write(recording, samples, rate)
        async with browsing(recording) as tab:
            await tab.size(640, 960)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await tab.call("Emulation.setEmulatedMedia", features=[scheme])
            await tab.call("Page.navigate", url=address)
            await tab.until("window.page")
            await tab.run("document.getElementById('listen').click()")
            await tab.until("document.querySelectorAll('#turns li').length > 1")
            await tab.run("document.querySelector('#turns details').open = true")
            await tab.until("(page.outlook && !page.outlook.speaking) || page.line.now > 14")
            await trio.sleep(_AFTER)
            shot = await tab.call("Page.captureScreenshot", format="png")
            await tab.run("document.getElementById('listen').click()")
            await tab.until("document.getElementById('state').textContent === 'Stopped.'")
            print(await tab.run("[...document.querySelectorAll('#turns summary')].map((e) => e.innerText).join('\\n')"))
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    server = [*COMMAND, "serve", "--page", "--port", "0"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            address = process.stdout.readline().split()[1]
            Path(sys.argv[1]).write_bytes(trio.run(partial(taken, address, dark="--dark" in sys.argv)))
        finally:
            process.terminate()
