"""A parser of arguments that says what may have been meant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hearout.writing import meant, printable

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """Complains in one line, with the command or option that is near the one that there is not."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        # Each command looks at its own: the one above it does not know its options.
        known, extra = super().parse_known_args(args, namespace)
        for name in extra:
            if name.startswith("--"):
                options = [option for option in self._option_string_actions if option.startswith("--")]
                self.error(f"there is no option {printable(name)}{meant(name.partition('=')[0], options)}")
        return known, extra

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and isinstance(value, str) and value not in choices and (near := meant(value, choices)):
            what = "command" if isinstance(action, argparse._SubParsersAction) else action.metavar or "value"
            raise argparse.ArgumentError(action, f"there is no {what} {printable(repr(value))}{near}")
        super()._check_value(action, value)
