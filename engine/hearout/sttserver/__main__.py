"""``python -m hearout.sttserver``: the local server by itself."""

from __future__ import annotations

import argparse
import sys

from hearout.sttserver.command import add_arguments, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hearout.sttserver",
        description="A speech recogniser on this machine that speaks the live protocols of Deepgram and Soniox.",
    )
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
