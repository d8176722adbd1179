"""The parts of a session: what is none of them is told in one line, with the right call."""

from __future__ import annotations

import os

from hearout.audio import AudioFormat
from hearout.errors import UsageError
from hearout.transcribers.registry import PROVIDERS
from hearout.writing import shown

__all__ = ["check_source", "check_the_rest", "check_transcriber"]


def check_source(source: object) -> None:
    """``source`` is an `AudioSource`, by its looks.

    Raises:
        UsageError: it is not.
    """
    if isinstance(source, type):
        raise UsageError(f"{source.__name__} is a class, no source of audio yet: {source.__name__}(...) is one")
    if isinstance(source, str | os.PathLike):
        raise UsageError(f"{shown(source)} is no source of audio: {_source_for(os.fspath(source))} is one")
    if isinstance(source, AudioFormat):
        raise UsageError("an AudioFormat is no source of audio: PushSource(format) is one")
    if isinstance(source, bytes | bytearray):
        raise UsageError("bytes are no source of audio: push them to a PushSource(format)")
    if not all(hasattr(source, name) for name in ("sample_rate", "channels", "__aiter__")):
        raise UsageError(
            f"{_kind(source)} is no source of audio, which is the first argument: FileSource(path) is one, or "
            "PushSource(format)"
        )


def check_transcriber(transcriber: object) -> None:
    """``transcriber`` is a `Dialect`, by its looks.

    Raises:
        UsageError: it is not.
    """
    if isinstance(transcriber, type):
        name = transcriber.__name__
        raise UsageError(f"{name} is a class, no transcriber yet: {name}(key) is one")
    if isinstance(transcriber, str):
        provider = PROVIDERS.get(transcriber.lower())
        name = "Deepgram" if provider is None else provider.dialect.__name__
        raise UsageError(f"a str is no transcriber: {name}(key) is one")  # it may be the key
    if not all(hasattr(transcriber, name) for name in ("sample_rate", "channels", "address", "audio")):
        raise UsageError(f"{_kind(transcriber)} is no transcriber, which is the second argument: Deepgram(key) is one")


def check_the_rest(vad: object, ear: object, recorder: object) -> None:
    """Each is None, or what its argument takes, by its looks.

    Raises:
        UsageError: it is not.
    """
    if not (vad is None or callable(vad)):
        raise UsageError(f"vad takes webrtc_gate, silero_gate, or a function of that kind, not {shown(vad)}")
    for name, part, method, right in (
        ("ear", ear, "listen", "an ear, such as SmartTurn()"),
        ("recorder", recorder, "write", "a Recorder(path, header)"),
    ):
        if part is not None and (isinstance(part, type) or not hasattr(part, method)):
            raise UsageError(f"{name} takes {right}, not {shown(part)}")


def _source_for(text: object) -> str:
    if text == "mic":
        return "Microphone()"
    if text == "-":
        return "stdin_source(format)"
    if isinstance(text, str) and text.lower().startswith(("http://", "https://")):
        return "what http_source(url) gives"
    return f"FileSource({shown(text)})"


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"a{'n' * (name[0] in 'AEIOaeiou')} {name}"
