"""Where audio comes from: each source is an async iterator of PCM."""

from __future__ import annotations

from turnwise.sources.base import AudioSource
from turnwise.sources.file import FileSource
from turnwise.sources.pacing import paced
from turnwise.sources.push import PushSource
from turnwise.sources.raw import ByteStream, RawSource, stdin_source

__all__ = ["AudioSource", "ByteStream", "FileSource", "PushSource", "RawSource", "paced", "stdin_source"]
