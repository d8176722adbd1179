"""``python -m hearout.sttserver``: the local server by itself."""

from __future__ import annotations

import argparse
import sys

from hearout.sttserver.command import DESCRIPTION, add_arguments, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hearout.sttserver",
        description=DESCRIPTION,
    )
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
