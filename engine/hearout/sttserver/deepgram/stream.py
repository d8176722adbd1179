"""Deepgram's live protocol ``/v1/listen``, the server's side of it. Pure: messages in, steps out.

All its times are on the audio clock of the connection, so nothing happens without audio but the idle timeout. A
*segment* is what one final result covers: it starts where the one before it ended, silence included, and holds at
most one utterance of the recogniser.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.sttserver.deepgram.connection import MODEL_INFO, MODEL_UUID, V1Connection, to_json
from hearout.sttserver.deepgram.options import V1Options
from hearout.sttserver.recogniser.pcm import PcmReader
from hearout.sttserver.recogniser.segmenter import FRAME_BYTES, Segmenter
from hearout.sttserver.steps import Ask, Decode, HeardWord, Send, Step

__all__ = ["Result", "V1Stream"]

_INTERIM_EVERY = 1.0  # seconds of audio; measured on Deepgram's interim results
# An utterance ends after a pause of this many seconds, whatever the endpointing: its words are then as good as they
# get, and UtteranceEnd needs finals.
_PAUSE = 1.0
# A long utterance ends at its first short pause, and a very long one anywhere: the time that the last pass takes,
# and the audio a client has to keep for a reconnect, grow with it.
_LONG, _TOO_LONG = 10.0, 20.0
_QUIET_SEGMENT = 4.0  # Deepgram sends an empty final every 3.5 to 5 seconds of silence


@dataclass(frozen=True)
class Result(Ask):
    """A ``Results`` message that waits for its words. ``start`` and ``end`` are its window of audio time."""

    start: float
    end: float
    is_final: bool
    speech_final: bool = False
    from_finalize: bool = False


class V1Stream(V1Connection):
    """One connection that a recogniser hears. The arguments are those of `V1Connection`.

    Raises:
        UsageError: soxr is missing, and the rate needs it.
    """

    def __init__(self, options: V1Options, request_id: str, created: str, *, idle_timeout: float | None = None) -> None:
        super().__init__(options, request_id, created, idle_timeout=idle_timeout)
        self.channels = options.recognisers
        self._reader = PcmReader(options.audio, mix=options.recognisers < options.audio.channels)
        self._channels = [_Channel(index, options, request_id) for index in range(self.channels)]

    def _hear(self, audio: bytes) -> list[Step]:
        return self._pass_on(self._reader.feed(audio))

    def _pass_on(self, audio: list[bytes]) -> list[Step]:
        return [step for channel, pcm in zip(self._channels, audio, strict=True) for step in channel.hear(pcm)]

    def _finalize(self, indexes: Sequence[int]) -> list[Step]:
        # All channels share one reader, so they are all brought up to date.
        steps = self._pass_on(self._reader.flush())
        for index in indexes:
            steps += self._channels[index].finalize()
        return steps

    def _tail(self) -> list[Step]:
        steps = self._pass_on(self._reader.flush())
        for channel in self._channels:
            steps += channel.finish()
        return steps

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        assert isinstance(ask, Result)
        return [to_json(message) for message in self._channels[ask.channel].report(ask, words)]


class _Channel:
    """Segments of one channel. `hear`, `finalize` and `finish` run ahead of `report` by what is being decoded."""

    def __init__(self, index: int, options: V1Options, request_id: str) -> None:
        self._index = index
        self._options = options
        self._request_id = request_id
        self._segmenter = Segmenter()
        self._rest = b""  # less than a frame
        self._start = 0.0  # of the open segment
        self._reported = 0.0  # up to here the client has results
        self._endpoint_owed = False  # speech was finalised before its silence was long enough
        self._new_audio = False  # since the last Finalize
        self._last_word_end: float | None = None  # of the finals, until UtteranceEnd told it

    @property
    def time(self) -> float:
        return self._segmenter.time

    def hear(self, pcm: bytes) -> Iterator[Step]:
        """Plan the decoding of audio and the results that fall due in it."""
        self._new_audio |= bool(pcm)
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % FRAME_BYTES
        self._rest = pcm[whole:]
        to_decode = bytearray()
        for at in range(0, whole, FRAME_BYTES):
            to_decode += self._segmenter.push(pcm[at : at + FRAME_BYTES])
            if self._options.vad_events and self._segmenter.onset is not None:
                yield self._speech_started(self._segmenter.onset)
            if due := self._due():
                if to_decode:
                    yield Decode(self._index, bytes(to_decode))
                    to_decode.clear()
                yield due
        if to_decode:
            yield Decode(self._index, bytes(to_decode))

    def _due(self) -> Result | None:
        segmenter, options = self._segmenter, self._options
        silence = round(segmenter.silence, 6)
        endpoint = options.endpointing is not None and silence >= options.endpointing
        if segmenter.utterance is not None:
            length = segmenter.time - segmenter.utterance
            if endpoint:
                return self._final(speech_final=True)
            if silence >= _PAUSE or (length >= _LONG and silence > 0) or length >= _TOO_LONG:
                self._endpoint_owed = True
                return self._final()
        elif (endpoint and self._endpoint_owed) or segmenter.time - self._start >= _QUIET_SEGMENT:
            return self._final(speech_final=endpoint)
        if options.interim_results and round(segmenter.time - self._reported, 6) >= _INTERIM_EVERY:
            self._reported = segmenter.time
            return Result(
                self._index, segmenter.utterance, ends=False, start=self._start, end=segmenter.time, is_final=False
            )
        return None

    def finalize(self) -> Iterator[Step]:
        """Plan the answer to Finalize; none is due when there was no audio since the last one."""
        if self._new_audio:
            self._new_audio = False
            # Deepgram's newest model sets speech_final here, older ones do not.
            yield from self._flush(from_finalize=True)

    def finish(self) -> Iterator[Step]:
        """Plan the last result of the stream."""
        if self._rest or self.time > self._start:
            yield from self._flush()

    def _flush(self, *, from_finalize: bool = False) -> Iterator[Step]:
        if self._rest and (pcm := self._segmenter.push(self._rest)):
            yield Decode(self._index, pcm)
        self._rest = b""
        yield self._final(speech_final=True, from_finalize=from_finalize)

    def _final(self, *, speech_final: bool = False, from_finalize: bool = False) -> Result:
        result = Result(
            self._index,
            self._segmenter.utterance,
            ends=True,
            start=self._start,
            end=self.time,
            is_final=True,
            speech_final=speech_final,
            from_finalize=from_finalize,
        )
        self._segmenter.end_utterance()
        self._start = self._reported = self.time
        if speech_final:
            self._endpoint_owed = False
        return result

    def report(self, result: Result, heard: Sequence[HeardWord]) -> Iterator[dict[str, Any]]:
        """The messages of a result, now that its words are known."""
        words = [self._word(result, word) for word in heard]
        yield self._results(result, words)
        # A gap is proven by what comes after it: the next word, or a window that reaches far enough.
        if self._options.utterance_end and self._options.interim_results and self._last_word_end is not None:
            gap = (words[0]["start"] if words else result.end) - self._last_word_end
            if gap >= self._options.utterance_end:
                yield {
                    "type": "UtteranceEnd",
                    "channel": [self._index, self._options.recognisers],
                    "last_word_end": self._last_word_end,
                }
                self._last_word_end = None
        if result.is_final and words:
            self._last_word_end = words[-1]["end"]

    def _word(self, result: Result, word: HeardWord) -> dict[str, Any]:
        assert result.utterance is not None
        # The pre-roll of an utterance may reach into the segment before it; its words are news of this one.
        start = max(result.start, result.utterance + word.start)
        end = max(start, result.utterance + word.end)
        out = {
            "word": word.plain,
            "start": round(start, 3),
            "end": round(end, 3),
            "confidence": round(word.confidence, 4),
        }
        if self._options.punctuated:
            out["punctuated_word"] = word.text
        return out

    def _results(self, result: Result, words: list[dict[str, Any]]) -> dict[str, Any]:
        confidence = sum(word["confidence"] for word in words) / len(words) if words else 0.0
        alternative = {
            "transcript": " ".join(word.get("punctuated_word", word["word"]) for word in words),
            "confidence": round(confidence, 4),
            "words": words,
        }
        message: dict[str, Any] = {
            "type": "Results",
            "channel_index": [self._index, self._options.recognisers],
            "duration": round(result.end - result.start, 6),
            "start": round(result.start, 6),
            "is_final": result.is_final,
        }
        if self._options.endpointing is not None:
            message["speech_final"] = result.speech_final
        return message | {
            "channel": {"alternatives": [alternative]},
            "metadata": {
                "request_id": self._request_id,
                "model_info": MODEL_INFO,
                "model_uuid": MODEL_UUID,
            },
            "from_finalize": result.from_finalize,
        }

    def _speech_started(self, onset: float) -> Send:
        message = {
            "type": "SpeechStarted",
            "channel": [self._index, self._options.recognisers],
            "timestamp": round(onset, 3),
        }
        return Send(to_json(message), self._index)
