"""A parser of arguments that says in one line what is wrong with them, and what may have been meant."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from hearout.errors import UsageError
from hearout.writing import meant, printable

__all__ = ["Parser"]

_MISSING = "the following arguments are required: "
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


class Parser(argparse.ArgumentParser):
    """Complains by a `UsageError`, with the command or option that is near the one that there is not."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        args = sys.argv[1:] if args is None else args
        # Each command looks at its own, before it complains of what is missing then: the one above does not know them.
        if self._subparsers is None:
            self._check_options(itertools.takewhile("--".__ne__, args))
        else:
            self._check_options(itertools.takewhile(_is_option, args))
        known, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"there is no place for {printable(extra[0])}")
        return known, extra

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where to look.

        Raises:
            UsageError: always.
        """
        message = re.sub(r"^argument (\S+): ", r"\1: ", message)
        if message.startswith(_MISSING):
            message = f"{self.prog.removeprefix('hearout ')} needs {message.removeprefix(_MISSING)}"
        more = "" if "did you mean" in message else f"; see {self.prog} --help"
        raise UsageError(printable(message) + more)

    def _check_options(self, given: Iterable[str]) -> None:
        options = list(self._option_string_actions)
        for one in filter(_is_option, given):
            # -ofile is -o file, --out is --output: as argparse has it.
            name = one.partition("=")[0] if one.startswith("--") else one[:2]
            if not any(option.startswith(name) for option in options):
                self.error(f"there is no option {printable(name)}{meant(name, options)}")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            if action.type not in _KINDS:
                raise
            raise argparse.ArgumentError(action, f"{arg_string!r} is not {_KINDS[action.type]}") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and isinstance(value, str) and value not in choices:
            is_command = isinstance(action, argparse._SubParsersAction)
            what = "command" if is_command else action.metavar or "value"
            near = meant(value, choices) or f": there are {', '.join(choices)}"
            message = f"there is no {what} {printable(repr(value))}{near}"
            if is_command:
                self.error(message)
            raise argparse.ArgumentError(action, message)
        super()._check_value(action, value)


def _is_option(argument: str) -> bool:
    """To argparse: a number below zero and a text with blanks are none."""
    return re.match(r"-[^\d.]", argument) is not None and " " not in argument
