"""Rows as eot-bench's data has them: https://huggingface.co/datasets/livekit/eot-bench-data

A row is one turn of somebody who talks to an agent: ``id``, ``audio`` (bytes of a file, samples, or the name of a file
beside it), ``silence_spans`` (``start`` and ``end``, seconds), of which the last is the true end and all others are
pauses within the turn, and perhaps ``words`` (``word``, ``start``, ``end``) and ``language``. Rows of another
language than English are left out. Files of rows are ``.parquet``, which needs pyarrow, or ``.jsonl``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from benchmarks.endpointing.conversations import Span, SpokenTurn, SpokenWord
from benchmarks.endpointing.recorded import Recording, Sound, made_up_turn
from benchmarks.people.sound import LEAD, ready
from hearout.errors import UsageError

__all__ = ["files", "load"]

_SHORTEST = 0.02  # seconds; two silences nearer to each other have no speech in between


def files(directory: Path) -> list[Path]:
    """Those of a folder that have rows."""
    return sorted(file for file in directory.rglob("*") if file.suffix in (".parquet", ".jsonl"))


def load(paths: Sequence[Path]) -> list[Recording]:
    """All turns in English.

    Raises:
        UsageError: a file cannot be read, or a row has not what it needs.
    """
    found = []
    for path in paths:
        for number, row in enumerate(_rows(path), 1):
            try:
                if str(row.get("language") or "en").lower().startswith("en"):
                    found.append(_recording(row, path.parent))
            except (KeyError, TypeError, ValueError, AttributeError, OSError, soundfile.LibsndfileError) as error:
                what = f"there is no {error}" if isinstance(error, KeyError) else error
                raise UsageError(f"{path}: row {number} is not as eot-bench's are: {what}") from None
    if not found:
        raise UsageError(f"{paths[0]}: there are no rows in English")
    return found


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".jsonl":
        try:
            yield from [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from None
        return
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{path}: reading it needs pyarrow: pip install pyarrow") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(16):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _recording(row: Mapping[str, Any], directory: Path) -> Recording:
    sound, rate = ready(*_sound(row["audio"], directory))
    silences = sorted((LEAD + float(a), LEAD + float(b)) for a, b in _columns(row["silence_spans"], "start", "end"))
    if not silences:
        raise ValueError("silence_spans is empty")
    end = silences[-1][0]
    edges = [LEAD, *(time for silence in silences[:-1] for time in silence), end]
    speech = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= _SHORTEST]
    if not speech:
        raise ValueError("no speech before the last of silence_spans")
    words = _words(row.get("words") or (), speech)
    key = str(row["id"])
    turn = _turn(words, speech) if words else made_up_turn(speech, Random(f"words/{key}"))
    return Recording(key, (turn,), sound, rate)


def _sound(audio: Any, directory: Path) -> tuple[Sound, int]:
    if isinstance(audio, str):
        audio = {"path": audio}
    if audio.get("array") is not None:
        samples = np.asarray(audio["array"], np.float64)
        return np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16), int(audio["sampling_rate"])
    source = io.BytesIO(audio["bytes"]) if audio.get("bytes") else directory / audio["path"]
    sound, rate = soundfile.read(source, dtype="int16", always_2d=True)
    return sound, rate


def _columns(items: Any, *names: str) -> Iterator[tuple[Any, ...]]:
    """From a list of objects, or an object of lists, as older versions of the datasets library write them."""
    if isinstance(items, Mapping):
        return zip(*(items[name] for name in names), strict=True)
    return (tuple(item[name] for name in names) for item in items)


def _words(items: Any, speech: Sequence[Span]) -> list[SpokenWord]:
    """Each in the stretch of speech that it is nearest to; a recogniser's times know little of silences."""
    found: list[SpokenWord] = []
    for text, begin, stop in _columns(items, "word", "start", "end"):
        start, end = LEAD + float(begin), LEAD + float(stop)
        middle = (start + end) / 2
        first, last = min(speech, key=lambda span: max(span[0] - middle, middle - span[1], 0.0))
        start = min(max(start, first, found[-1].end if found else 0.0), last)
        found.append(SpokenWord(str(text).strip(), round(start, 3), round(max(start, min(end, last)), 3)))
    return found


def _turn(words: Sequence[SpokenWord], speech: Sequence[Span]) -> SpokenTurn:
    """From the first word to the end of speech, which is the last one's."""
    last = SpokenWord(words[-1].text, words[-1].start, speech[-1][1])
    holds = [(a[1], b[0]) for a, b in pairwise(speech) if a[1] > words[0].start]
    return SpokenTurn((*words[:-1], last), tuple(holds), ())
