"""A parser of arguments that says what may have been meant."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from hearout.writing import meant, printable

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """Complains in one line, with the command or option that is near the one that there is not."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        # Each command looks at its own, before it complains of what is missing then: the one above does not know them.
        if self._subparsers is None:
            self._check_options(itertools.takewhile("--".__ne__, sys.argv[1:] if args is None else args))
        known, extra = super().parse_known_args(args, namespace)
        self._check_options(extra)
        return known, extra

    def _check_options(self, given: Iterable[str]) -> None:
        options = [option for option in self._option_string_actions if option.startswith("--")]
        for name, _, _ in (one.partition("=") for one in given if one.startswith("--")):
            if not any(option.startswith(name) for option in options):
                self.error(f"there is no option {printable(name)}{meant(name, options)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and isinstance(value, str) and value not in choices and (near := meant(value, choices)):
            what = "command" if isinstance(action, argparse._SubParsersAction) else action.metavar or "value"
            raise argparse.ArgumentError(action, f"there is no {what} {printable(repr(value))}{near}")
        super()._check_value(action, value)
