"""Compressed files on disk, by FFmpeg's libraries."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trio

from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.sources.encoded import EncodedFile, audio_file
from hearout.sources.file import FileSource
from tests.kit.web_audio import RATE, assert_same_speech, encode, sample, speech


@pytest.mark.parametrize("kind", ["m4a", "aac", "webm"])
def test_files_that_libsndfile_does_not_read(tmp_path: Path, run_virtual: Callable[..., bytes], kind: str) -> None:
    data = encode(speech(), "mp4", "aac", 44_100) if kind == "m4a" else sample(kind)  # index last: it can be sought
    (tmp_path / f"a.{kind}").write_bytes(data)
    source = audio_file(tmp_path / f"a.{kind}")
    assert isinstance(source, EncodedFile)
    assert source.duration == pytest.approx(2.0, abs=0.2)
    assert_same_speech(np.frombuffer(run_virtual(join, source), np.int16), RATE)


async def join(source: EncodedFile) -> bytes:
    return b"".join([pcm async for pcm in source])


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav", "opus"])
def test_files_that_libsndfile_reads(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(sample(kind))
    assert isinstance(audio_file(tmp_path / "a"), FileSource)


def test_bad_files_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole.m4a").write_bytes(sample("m4a"))
    (tmp_path / "half.m4a").write_bytes(encode(speech(), "mp4", "aac", 44_100)[:9000])
    with pytest.raises(UsageError, match=r"half\.m4a: not audio that can be decoded \(Invalid data"):
        audio_file(tmp_path / "half.m4a")
    with pytest.raises(UsageError, match=r"missing\.m4a: no such file"):
        audio_file(tmp_path / "missing.m4a")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"compressed audio needs PyAV: pip install 'hearout\[av\]'"):
        audio_file(tmp_path / "whole.m4a")


def test_a_file_may_be_dropped_half_way(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(sample("m4a"))
    source = audio_file(tmp_path / "a.m4a")
    assert trio.run(source.__aiter__().__anext__)
    del source  # warnings are errors
    gc.collect()


def test_a_file_that_is_cut_off_gives_what_it_has_and_a_warning(
    tmp_path: Path, run_virtual: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    data = encode(speech(), "mp4", "aac", 44_100, movflags="frag_keyframe+empty_moov", frag_duration="100000")
    whole = encode(speech(), "webm", "libopus", 48_000)
    (tmp_path / "a.webm").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a.m4a").write_bytes(data[: len(data) // 2])
    for name in ("a.webm", "a.m4a"):
        heard = len(run_virtual(join, audio_file(tmp_path / name))) / 2 / RATE
        assert 0.6 < heard < 1.4, name
    assert "a.webm: cut off: it holds " in caplog.text


def test_without_httpx_there_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("hearout.sources.http", "hearout.sources.http_stream"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert main(["listen", "https://127.0.0.1/?key=secret"]) == 2
    assert capsys.readouterr().err == "hearout: listening to the web needs httpx: pip install 'hearout[http]'\n"
