"""``--vad`` of commands that listen."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from hearout.vad import SpeechGate, silero_gate, webrtc_gate

__all__ = ["VADS", "add_vad_argument", "chosen_vad"]

#: By name: makes the voice detection of one channel from a sample rate.
VADS: dict[str, Callable[[int], SpeechGate]] = {"webrtc": webrtc_gate, "silero": silero_gate}


def add_vad_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--vad``."""
    parser.add_argument(
        "--vad",
        choices=VADS,
        default="webrtc",
        help="what hears whether somebody speaks: webrtc (default), or silero, which hears a voice in noise; see "
        "hearout models",
    )


def chosen_vad(args: argparse.Namespace) -> Callable[[int], SpeechGate]:
    """The voice detection that the options ask for.

    Raises:
        UsageError: it cannot be used.
    """
    gate = VADS[args.vad]
    gate(16000)  # now, and not with the first call: is its model there?
    return gate
