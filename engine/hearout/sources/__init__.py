"""Where audio comes from: each source is an async iterator of PCM. Audio from the web: `hearout.sources.http`."""

from hearout.sources.base import AudioSource
from hearout.sources.encoded import audio_file
from hearout.sources.file import FileSource
from hearout.sources.microphone import Microphone
from hearout.sources.pacing import paced
from hearout.sources.push import PushSource
from hearout.sources.raw import ByteStream, RawSource, stdin_source
from hearout.sources.twilio import TwilioCall, serve_twilio, signed_by_twilio, to_mulaw, twilio_server
from hearout.sources.websocket import SocketCall, websocket_server

__all__ = [
    "AudioSource",
    "ByteStream",
    "FileSource",
    "Microphone",
    "PushSource",
    "RawSource",
    "SocketCall",
    "TwilioCall",
    "audio_file",
    "paced",
    "serve_twilio",
    "signed_by_twilio",
    "stdin_source",
    "to_mulaw",
    "twilio_server",
    "websocket_server",
]
