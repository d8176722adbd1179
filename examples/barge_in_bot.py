"""A bot that can be interrupted: prepares its answer early, speaks on over an "okay", is silent at once when a user has
more to say, and goes on where it was when that came to nothing.

    python examples/barge_in_bot.py samples/barge_in.flac      # or: mic

Needs ``hearout[local]``. The bot cannot tell its own voice from the user's: with ``mic``, wear headphones.
"""

from __future__ import annotations

import sys
from typing import Any

import trio
from speech import Speech

import hearout
from hearout.sources import Microphone

MENU = "Coffee, tea and hot chocolate, small or large; cake with apples or with cherries, which my colleague made this "
MENU += "morning; and until ten o'clock fresh bread with cheese, with honey or with jam. What may I bring you?"


def answer_to(text: str) -> str:
    return MENU if "order" in text else f"You said: {text}."


async def converse(source: hearout.AudioSource, transcriber: hearout.Dialect, **options: Any) -> None:
    """Until the audio ends; ``options`` are those of `open_session`."""
    async with hearout.open_session(source, transcriber, **options) as session, trio.open_nursery() as nursery:

        def tell(line: str) -> None:
            print(f"{session.now:6.2f} s  {line}", flush=True)

        def heard(speech: Speech, speaking: bool) -> None:
            if speaking:
                session.agent_started()
            else:
                session.agent_stopped()
            tell(f"agent {'speaks' if speaking else 'is silent'}, {speech.left:.1f} s left: {speech.text[:40]}")

        answer: Speech | None = None
        draft: Speech | None = None
        async for event in session:
            match event:
                case hearout.TurnPredicted(text=text):
                    tell(f"an answer is prepared to: {text}")
                    draft = Speech(nursery, answer_to(text), heard)
                case hearout.TurnResumed() if draft:
                    tell("the user goes on, that answer is dropped")
                    draft.drop()
                    draft = None
                case hearout.TurnUpdated(interrupts=True) | hearout.TurnStarted(agent_speaking=False) if answer:
                    answer.halt()  # the user has more to say than "okay", or spoke first
                case hearout.TurnAbandoned() | hearout.TurnCompleted(backchannel=True) if answer:
                    tell(f"that was nothing: {getattr(event, 'text', 'no words')}")
                    if draft:
                        draft.drop()
                    draft = None
                    answer.go()
                case hearout.TurnCompleted(text=text):
                    tell(f"user: {text}")
                    if answer:
                        answer.drop()
                    answer, draft = draft or Speech(nursery, answer_to(text), heard), None
                    answer.go()


async def main(path: str) -> None:
    source = Microphone() if path == "mic" else hearout.paced(hearout.FileSource(path))
    async with hearout.local_server() as url:
        await converse(source, hearout.Deepgram("any-key", url, source.sample_rate))


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (hearout.HearoutError, KeyboardInterrupt) as error:
        sys.exit(f"barge_in_bot: {str(error) or 'stopped'}")
