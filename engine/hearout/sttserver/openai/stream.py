"""OpenAI's realtime transcription ``/v1/realtime``, the server's side of it. Pure: messages in, steps out.

A commit ends an utterance of the recogniser, which is an item. Models whose name says that they are live show words
before: those that the recogniser has not changed since. Turn detection is not here: who wants it is refused.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.audio import AudioFormat
from hearout.fields import Fields, field_of, object_in
from hearout.sttserver.recogniser.listener import Listener
from hearout.sttserver.recogniser.pcm import PcmReader
from hearout.sttserver.script import Script
from hearout.sttserver.steps import Ask, Close, HeardWord, Refused, Send, Step

__all__ = ["OpenAIScript", "OpenAIStream"]

_IDLE_TIMEOUT = 600.0  # seconds; no limit is known, but a server wants its sockets back
_ROUNDING = 1e-6
_EVERY = 0.3  # seconds of audio between looks at the words
_LEAST = 0.1  # seconds of audio that a commit needs
_RATES = (8000, 16000, 24000)  # Hz; OpenAI takes the last only, others of its shape the others
_LIVE = ("gpt-live", "gpt-realtime")  # models that show words while they are said
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class OpenAIConnection(ABC):
    """Events of the client, errors and the end, whoever hears the audio.

    Args:
        session: what it is called.
        idle_timeout: seconds without a message; None: ten minutes.
    """

    authorised = True  # or it would have been refused
    channels: int

    def __init__(self, session: str, *, idle_timeout: float | None = None) -> None:
        self._session = session
        self._patience = idle_timeout or _IDLE_TIMEOUT
        self._quiet = 0.0  # seconds since the last message of the client
        self._audio = AudioFormat("linear16", _RATES[-1])
        self._model = ""
        self._bytes = 0
        self._committed = 0.0  # audio time of the last commit
        self._items = 0  # so many were committed

    @property
    def idle_timeout(self) -> float:
        return max(0.0, self._patience - self._quiet)

    @property
    def _received(self) -> float:
        """Seconds of audio."""
        return self._bytes / 2 / self._audio.sample_rate

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _hear(self, audio: bytes) -> list[Step]: ...

    @abstractmethod
    def _commit(self) -> list[Step]: ...

    @abstractmethod
    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]: ...

    def opening(self) -> list[Step]:
        return [_send("session.created", session={"id": self._session, "type": "transcription"})]

    def receive(self, message: str | bytes) -> list[Step]:
        self._quiet = 0.0
        event_id: Any = None
        try:
            data = object_in(message, "a client") if isinstance(message, str) else {}
            event_id = data.get("event_id")
            match data.get("type"):
                case "session.update" | "transcription_session.update":
                    return self._update(field_of(data, "session", dict, {}))
                case "input_audio_buffer.append":
                    audio = base64.b64decode(field_of(data, "audio", str, ""), validate=True)
                    self._bytes += len(audio)
                    return self._hear(audio) if audio else []
                case "input_audio_buffer.commit":
                    return self._end_item(event_id)
            raise ValueError(f"Invalid value: {data.get('type')!r}")
        except ValueError as error:
            return [_error(None, str(error), event_id)]

    def _update(self, session: dict[str, Any]) -> list[Step]:
        given = field_of(field_of(session, "audio", dict, {}), "input", dict, {})
        sound = Fields({name: value for name, value in given.items() if value is not None})
        if sound.mapping("turn_detection", None) is not None:
            raise ValueError("this server has no turn detection; send null")
        wanted = Fields(sound.mapping("format", {}))
        rate = wanted.whole("rate", _RATES[-1])
        if rate not in _RATES:
            raise ValueError(f'"rate" must be {", ".join(map(str, _RATES))}, not {rate}')
        self._model = str(Fields(sound.mapping("transcription", {})).string("model", ""))
        if self._audio.sample_rate != rate and self._bytes:
            raise ValueError("the format cannot change once there is audio")
        self._audio = AudioFormat("linear16", rate)
        self._begin()
        return [_send("session.updated", session=session | {"id": self._session})]

    def _end_item(self, event_id: Any) -> list[Step]:
        fresh = self._received - self._committed
        if fresh < _LEAST - _ROUNDING:
            said = f"buffer too small. Expected at least 100ms of audio, but buffer only has {1000 * fresh:.2f}ms."
            return [_error("input_audio_buffer_commit_empty", f"Error committing input audio buffer: {said}", event_id)]
        self._committed = self._received
        return self._commit()

    def _item(self, number: int) -> str:
        return f"item_{self._session[:8]}_{number}"

    def wait(self, seconds: float) -> list[Step]:
        self._quiet += seconds
        return [] if self._quiet < self._patience - _ROUNDING else [Close(1000)]

    def alive(self) -> None:
        return  # OpenAI counts messages

    def refuse(self, refused: Refused) -> list[Step]:
        return [_error(refused.code.lower(), refused.detail, None), Close(1000)]

    def failed(self) -> Close:
        return Close(1011, "the recogniser of this server stopped; connect again")


def _text(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


def _send(kind: str, **fields: Any) -> Send:
    return Send(_text(kind, **fields))


def _error(code: str | None, message: str, event_id: Any) -> Send:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": None, "event_id": event_id}
    return _send("error", error=error)


@dataclass(frozen=True)
class ItemAsk(Ask):
    """Look at the words of an item, and tell them.

    Attributes:
        number: of the item.
    """

    number: int


class OpenAIStream(OpenAIConnection):
    """One connection that a recogniser hears. The arguments are those of `OpenAIConnection`."""

    channels = 1

    def __init__(self, session: str, *, idle_timeout: float | None = None) -> None:
        super().__init__(session, idle_timeout=idle_timeout)
        self._listener = Listener(self._due)
        self._told = 0.0  # audio time of the last look
        # What was reported, which lags behind what is planned:
        self._seen: list[str] = []
        self._shown = 0
        self._begin()

    def _begin(self) -> None:
        self._reader = PcmReader(self._audio)

    def _hear(self, audio: bytes) -> list[Step]:
        (pcm,) = self._reader.feed(audio)
        return list(self._listener.hear(pcm))

    def _due(self) -> ItemAsk | None:
        segmenter = self._listener.segmenter
        if segmenter.utterance is None or not self._model.startswith(_LIVE):
            return None
        return self._look() if round(segmenter.time - self._told, 6) >= _EVERY else None

    def _look(self, *, ends: bool = False) -> ItemAsk:
        segmenter = self._listener.segmenter
        ask = ItemAsk(0, segmenter.utterance, ends, self._items)
        if ends:
            segmenter.end_utterance()
        self._told = segmenter.time
        return ask

    def _commit(self) -> list[Step]:
        return list(self._finish())

    def _finish(self) -> Iterator[Step]:
        (pcm,) = self._reader.flush()
        yield from self._listener.hear(pcm)
        yield from self._listener.flush()
        item, before = self._item(self._items), self._item(self._items - 1) if self._items else None
        yield Send(_text("input_audio_buffer.committed", item_id=item, previous_item_id=before), 0)
        yield self._look(ends=True)
        self._items += 1

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        assert isinstance(ask, ItemAsk)
        texts, item = [word.text for word in words], self._item(ask.number)
        if ask.ends:
            self._seen, self._shown = [], 0
            text = " ".join(texts)
            return [_text(f"{_TRANSCRIPTION}.completed", item_id=item, content_index=0, transcript=text)]
        steady = [new for new, old in zip(texts, self._seen, strict=False) if new == old]
        steady, self._seen = steady if texts[: len(steady)] == steady else [], texts
        fresh, first = steady[self._shown :], self._shown == 0
        if not fresh:
            return []
        self._shown = len(steady)
        delta = " ".join(fresh) if first else " " + " ".join(fresh)
        return [_text(f"{_TRANSCRIPTION}.delta", item_id=item, content_index=0, delta=delta)]


class OpenAIScript(OpenAIConnection):
    """One connection that a script answers."""

    channels = 0

    def __init__(self, script: Script, session: str, *, idle_timeout: float | None = None) -> None:
        super().__init__(session, idle_timeout=idle_timeout)
        self._play = script.open()
        self._own_greeting = script.has("session.created")

    def opening(self) -> list[Step]:
        return [] if self._own_greeting else super().opening()

    def _begin(self) -> None:
        return

    @property
    def idle_timeout(self) -> float:
        return min(self._play.patience, super().idle_timeout)

    def wait(self, seconds: float) -> list[Step]:
        return self._play.wait(seconds) + super().wait(seconds)

    def _hear(self, audio: bytes) -> list[Step]:
        return self._play.hear(self._received)

    def _commit(self) -> list[Step]:
        if not self._play.spent:
            return self._play.finalize()
        # A client that waits for the end has only this to wait for.
        return [_error("input_audio_buffer_commit_empty", "the script is over", None)]

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("a script asks no recogniser")
