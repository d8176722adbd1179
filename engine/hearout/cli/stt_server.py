"""``hearout stt-server``."""

from __future__ import annotations

import argparse

from hearout.sttserver import command

__all__ = ["register"]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "stt-server", help="run the local recogniser as a server", description=command.DESCRIPTION
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
