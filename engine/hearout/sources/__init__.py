"""Where audio comes from: each source is an async iterator of PCM."""

from __future__ import annotations

from hearout.sources.base import AudioSource
from hearout.sources.file import FileSource
from hearout.sources.pacing import paced
from hearout.sources.push import PushSource
from hearout.sources.raw import ByteStream, RawSource, stdin_source

__all__ = ["AudioSource", "ByteStream", "FileSource", "PushSource", "RawSource", "paced", "stdin_source"]
