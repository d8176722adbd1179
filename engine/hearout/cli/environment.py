"""Options of a command by environment variables: their names, and their values in place of the usual ones."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hearout.cli.parser import Parser
from hearout.errors import UsageError
from hearout.writing import meant, printable

__all__ = ["CommandParser", "by_variable"]

# Kubernetes tells every pod of the Services beside it: of one named hearout-serve-x in HEAROUT_SERVE_X_PORT and others.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_LINK = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|\w+_PORT=(tcp|udp|sctp)://"
)

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class CommandParser(Parser):
    """A command whose options also come from the environment, where the command line does not say them.

    What it parses has ``arguments``, the command line, and ``variables``, those that were used by their options.

    ``--port`` is ``PREFIX_PORT``, ``--log-format`` is ``PREFIX_LOG_FORMAT``. A flag is 1 or 0; an option that may be
    repeated has its values with blanks in between; a variable that is empty says nothing. Another name
    with that prefix is refused, as an option is that there is not.

    Args:
        variables: the prefix; None: no variables.
    """

    def __init__(self, *args: Any, variables: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prefix = variables

    def variables(self) -> dict[str, argparse.Action]:
        """The variables, and the options they stand for."""
        if self._prefix is None:
            return {}
        hidden = (argparse.SUPPRESS, *(a.help for a in self._actions if isinstance(a, argparse._HelpAction)))
        options = [action for action in self._actions if action.option_strings and action.help not in hidden]
        return {f"{self._prefix}_{action.dest.upper()}": action for action in options}

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does it.

        Raises:
            UsageError: a variable that no option has, or whose value cannot be.
        """
        self._check_names()
        said = {name: action for name, action in self.variables().items() if os.environ.get(name)}
        values = {action.dest: _value(name, action, os.environ[name]) for name, action in said.items()}
        self.set_defaults(**values)
        parsed, rest = super().parse_known_args(args, namespace)
        parsed.arguments = list(sys.argv[1:] if args is None else args)
        parsed.variables = {
            action.option_strings[-1]: name
            for name, action in said.items()
            if [getattr(parsed, action.dest)] == [values[action.dest]]  # in a list NaN is itself
        }
        return parsed, rest

    def _check_names(self) -> None:
        known = {action.option_strings[-1]: name for name, action in self.variables().items()}
        for name, value in os.environ.items():
            own = self._prefix is not None and name.startswith(f"{self._prefix}_") and value
            if not own or name in known.values() or _LINK.match(f"{name}={value}"):
                continue
            option = "--" + name.removeprefix(f"{self._prefix}_").lower().replace("_", "-")
            near = by_variable(meant(option, known), known)
            self.error(f"there is no option {printable(name)}{near}")


def by_variable(complaint: str, variables: Mapping[str, str]) -> str:
    """A complaint about options, by the names of the variables that they came from."""
    return re.sub(r"--[a-z][a-z-]*", lambda match: variables.get(match[0], match[0]), complaint)


def _value(name: str, action: argparse.Action, text: str) -> Any:
    if action.nargs == 0:
        if text.lower() not in (*_YES, *_NO):
            raise UsageError(f"{name}: {text!r}: give 1 or 0")
        return action.const if text.lower() in _YES else action.default
    if isinstance(action, argparse._AppendAction):
        return [_one(name, action, part) for part in text.split()]
    return _one(name, action, text)


def _one(name: str, action: argparse.Action, text: str) -> Any:
    kind = action.type if callable(action.type) else str
    try:
        value = kind(text)
    except ValueError:
        raise UsageError(f"{name}: {text!r} is not what it must be: {_KINDS.get(kind, action.dest)}") from None
    if action.choices is not None and value not in action.choices:
        raise UsageError(f"{name}: {text!r}: there are {', '.join(map(str, action.choices))}")
    return value


_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}
