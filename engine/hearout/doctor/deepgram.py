"""What hearout assumes of the messages of Deepgram's version 1, beyond what `hearout.doctor.checks` asks of all."""

from __future__ import annotations

from hearout.doctor.checks import COVERED, Conversation, Finding, differs, ok

__all__ = ["DEEPGRAM_CHECKS"]

_KEYS = {"type", "channel_index", "start", "duration", "is_final", "speech_final", "channel", "metadata"}
_MORE_KEYS = {"from_finalize", "entities"}


def shape(c: Conversation) -> Finding:
    """Results have the keys and types that are documented."""
    results = c.of_type("Results")
    wrong: list[str] = []
    more: set[str] = set()
    for data in (arrival.data for arrival in results):
        if missing := _KEYS - data.keys():
            wrong.append("without " + ", ".join(sorted(missing)))
        if data.get("speech_final") is True and data.get("is_final") is not True:
            wrong.append("speech_final on a result that is not final, where it is ignored")
        more |= data.keys() - _KEYS
        channel, index = data.get("channel"), data.get("channel_index")
        if not (isinstance(channel, dict) and isinstance(channel.get("alternatives"), list)):
            wrong.append('"channel" is no object with alternatives')
        if not (isinstance(index, list) and len(index) == 2 and index[1] == c.channels):
            wrong.append(f'"channel_index" is {str(index)[:30]}, not [number, {c.channels}]')
        metadata = data.get("metadata")
        if not (isinstance(metadata, dict) and metadata.get("request_id") == c.request_id):
            wrong.append("the request id is not that of the handshake")
    if wrong:
        return differs(
            "Results", f"{len(wrong)} oddities in {len(results)}: {'; '.join(list(dict.fromkeys(wrong))[:3])}"
        )
    if not results:
        return differs("Results", "none came")
    unknown = ", ".join(sorted(more - _MORE_KEYS))
    return ok("Results", f"{len(results)} as documented" + (f"; keys that are new: {unknown[:100]}" if unknown else ""))


def metadata(c: Conversation) -> Finding:
    """Metadata comes once, as the last message, and agrees on how much audio there was."""
    found = c.of_type("Metadata")
    if len(found) != 1 or found[0] is not c.arrivals[-1]:
        return differs("Metadata", f"{len(found)} came, not one at the end")
    duration = found[0].data.get("duration")
    detail = f"says {duration} s of audio, {c.audio:.2f} s were sent"
    good = isinstance(duration, int | float) and abs(duration - c.audio) <= COVERED
    return (ok if good else differs)("Metadata", detail)


#: For a conversation as `hearout.doctor.checks.SPEECH_CHECKS` looks at.
DEEPGRAM_CHECKS = (shape, metadata)
