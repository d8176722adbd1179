"""Nothing but `hearout models get` and the transcriber's own address is ever contacted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hearout.models.known import folder
from tests.kit.paths import SAMPLES

#: Keeps in ``TOLD`` whom Python looks up or connects to, in whatever process it is on the path of.
HOOK = """
import json, os, sys
def tell(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        with open(os.environ["TOLD"], "a") as file:
            file.write(json.dumps([event, [repr(one) for one in arguments[-5:]]]) + chr(10))
sys.addaudithook(tell)
"""


def run(tmp_path: Path, *command: str) -> list[str]:
    """Run Python with HOOK; returns whom it and its children asked for, but on this machine."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    told = tmp_path / "told"
    told.touch()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "TOLD": str(told),
        "HEAROUT_MODELS": str(folder()),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path / "home"),
    }
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in told.read_text().splitlines()]
    return [str(event) for event in events if "127.0.0.1" not in str(event)]


def test_listening_asks_for_nobody(tmp_path: Path) -> None:
    """With all that has a model; the recogniser's own process has the hook, too."""
    pytest.importorskip("onnxruntime")
    listen = ["listen", str(SAMPLES / "phone_number.wav"), "--speed", "max", "--ear", "--vad", "silero"]
    assert run(tmp_path, "-m", "hearout", *listen, "--record", str(tmp_path / "trace.jsonl")) == []
    assert "127.0.0.1" in (tmp_path / "told").read_text()  # the hook works
    # What reports out of sight of Python keeps what it has to report here.
    assert not list(tmp_path.rglob("*onnxruntime*"))


def test_onnxruntime_reports_nothing_but_where_the_application_wants_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    told = "import os; from hearout.models.onnx import runtime; runtime(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for said, left in ((None, "1"), ("0", "0")):
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        environment |= {} if said is None else {"ORT_DISABLE_TELEMETRY": said}
        command = [sys.executable, "-c", told]
        assert subprocess.check_output(command, env=environment, text=True).strip() == left
