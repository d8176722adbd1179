"""Final and non-final tokens as they come: the example of Soniox's older gRPC API, on hearout.

python examples/soniox_live.py talk.wav                       # with SONIOX_API_KEY
arecord -q -f S16_LE -r 16000 | python examples/soniox_live.py -
hearout stt-server &                                         # or without a key
python examples/soniox_live.py talk.wav --url ws://127.0.0.1:8765/transcribe-websocket
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

import trio

from hearout import AudioFormat, FileSource, HearoutError, Soniox, TurnCompleted, open_session, paced, stdin_source


class LiveTranscript:
    """All final tokens so far, and the non-final ones of the last result."""

    final = ""
    non_final = ""

    # Gets every record of the session's trace; under "stt" is what Soniox sent.
    def write(self, record: Mapping[str, Any]) -> None:
        tokens = [t for t in record.get("stt", {}).get("tokens", ()) if t["text"] not in ("<end>", "<fin>")]
        if tokens:
            self.final += "".join(token["text"] for token in tokens if token["is_final"])
            self.non_final = "".join(token["text"] for token in tokens if not token["is_final"])
            print(f"Final: {self.final}\nNon-final: {self.non_final}\n-----")


async def transcribe(source: Any, soniox: Soniox) -> None:
    transcript = LiveTranscript()
    async with open_session(paced(source), soniox, recorder=transcript) as session:
        async for event in session:
            if isinstance(event, TurnCompleted):  # what the older API could not tell
                print(f"Turn: {event.text}\n-----")
    print(f"Latest transcript: {transcript.final}{transcript.non_final}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print Soniox's final and non-final tokens as they come.")
    parser.add_argument("audio", help="an audio file, or - for linear16 at 16 kHz on standard input")
    parser.add_argument("--url", help="another endpoint than Soniox's own; or its regions': see docs/providers.md")
    args = parser.parse_args()
    try:
        source = stdin_source(AudioFormat("linear16", 16000, 1)) if args.audio == "-" else FileSource(args.audio)
        key = os.environ.get("SONIOX_API_KEY", "any" if args.url else "")  # the local server takes any
        trio.run(transcribe, source, Soniox(key, args.url, source.sample_rate))
    except HearoutError as error:
        sys.exit(f"soniox_live: {error}")


if __name__ == "__main__":
    main()
