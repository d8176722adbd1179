"""Transcribers of others: a class named ``package.module:Class``, or a name that an installed package brings.

A package brings a name by an entry point of the group ``hearout.transcribers``. Nothing is imported before its name is
asked for, so one that is broken harms only its own name; a built-in one cannot be replaced. What a class must have is
in ``docs/providers.md``; everything that is wrong with one is a `UsageError` of one line.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hearout.errors import UsageError
from hearout.transcribers.base import Dialect
from hearout.transcribers.foreign import code_of_others
from hearout.transcribers.provider import NO_KEY, Provider, parameters_of
from hearout.transcribers.registry import PROVIDERS
from hearout.writing import shown

__all__ = ["brought", "imported", "named", "provider_of"]

_GROUP = "hearout.transcribers"
_GIVEN = ("key", "sample_rate", "channels")
_METHODS = [name for name, value in vars(Dialect).items() if not name.startswith("_") and callable(value)]
_VALUES = [*Dialect.__annotations__, *(n for n, value in vars(Dialect).items() if isinstance(value, property))]


@cache
def named(name: str) -> Provider | None:
    """The provider of this name: built in, or brought by a package; None: neither.

    Raises:
        UsageError: what a package brings cannot be used.
    """
    if name in PROVIDERS:
        return PROVIDERS[name]
    found = [point for point in entry_points(group=_GROUP) if point.name == name]
    if not found:
        return None
    if len(found) > 1:
        packages = " and ".join(sorted({_package(point) for point in found}))
        raise UsageError(f"{name}: {len(found)} entry points bring it, of {packages}: name one as package.module:Class")
    (point,) = found
    reference = f"{point.module}:{point.attr}"
    said = f"{name}, brought by {_package(point)} as {reference}"
    provider = provider_of(_attribute(*_parts(reference, said), said), said)
    if provider.name != name:
        raise UsageError(f"{said}: the class calls itself {shown(provider.name)}: both must have the same name")
    return provider


def brought() -> list[tuple[str, str]]:
    """Names that packages bring, each with its package."""
    return sorted((point.name, _package(point)) for point in entry_points(group=_GROUP))


def imported(reference: str) -> Provider:
    """The provider whose dialect is ``package.module:Class``, in the current directory or installed.

    Raises:
        UsageError: there is no such class, or it cannot be used.
    """
    module, attribute = _parts(reference, reference)
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does
    return provider_of(_attribute(module, attribute, reference), reference)


def provider_of(dialect: Any, said: str = "") -> Provider:
    """The provider of a class, after a look at it and at one that it makes; ``said`` stands for it in errors.

    Raises:
        UsageError: it is none.
    """
    said = said or str(getattr(dialect, "__qualname__", "transcriber"))
    if not isinstance(dialect, type):
        raise UsageError(f"{said}: it must be a class, not {shown(dialect)}")
    _refuse_missing(said, dialect, ["name", *_METHODS])
    name = getattr(dialect, "name", None)
    if not (isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name)):
        raise UsageError(f"{said}: its class attribute name must be a word in lower case, not {shown(name)}")
    known = PROVIDERS.get(name)
    if name == "local" or (known and not issubclass(dialect, known.dialect)):
        raise UsageError(f'{said}: hearout has a transcriber "{name}" of its own: give the class another name')
    owner = getattr(dialect, "key_owner", known.owner if known else dialect.__name__)
    variable = getattr(dialect, "key_variable", known.variable if known else None)
    if not isinstance(owner, str) or not isinstance(variable, str | None):
        raise UsageError(f"{said}: key_owner and key_variable must be text")
    wanted = [parameter for parameter, needed in parameters_of(dialect).items() if needed]
    if strange := [parameter for parameter in wanted if parameter not in _GIVEN]:
        raise UsageError(
            f"{said}: its constructor wants {_list(strange)}: only {_list(_GIVEN)} may be without a default"
        )
    if variable is None and "key" in wanted:
        raise UsageError(f'{said}: it wants a key: a class attribute, key_variable = "...", must name its variable')
    provider = Provider(dialect, owner, variable)
    with code_of_others(f"{said}: it cannot be made"):
        _refuse_missing(said, provider.make(NO_KEY), _VALUES)
    return provider


def _refuse_missing(said: str, it: object, members: Iterable[str]) -> None:
    missing = [member for member in members if not hasattr(it, member)]
    if missing:
        raise UsageError(f"{said}: no dialect, as it has no {', no '.join(missing)}; see hearout.Dialect")
    odd = [member for member in members if member in _METHODS and not callable(getattr(it, member))]
    if odd:
        raise UsageError(f"{said}: no dialect, as {', '.join(odd)} cannot be called; see hearout.Dialect")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist else "a package without a name"


def _parts(reference: str, said: str) -> tuple[str, str]:
    module, colon, attribute = reference.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise UsageError(f"{said}: a class is named as package.module:Class")
    return module, attribute


def _attribute(module: str, attribute: str, said: str) -> Any:
    """The attribute of the module, which is imported."""
    parents = [module.rsplit(".", count)[0] for count in range(module.count(".") + 1)]
    with code_of_others(f"{said}: its import failed"):
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in parents:
                raise
            raise UsageError(
                f"{said}: there is no module {error.name}, neither in this directory nor among the installed packages"
            ) from None
        for part in attribute.split("."):
            if not hasattr(found, part):
                names = difflib.get_close_matches(part, [name for name in vars(found) if not name.startswith("_")], 1)
                hint = f"; did you mean {names[0]}?" if names else ""
                raise UsageError(f"{said}: {shown(found.__name__)[1:-1]} has no {part}{hint}")
            found = getattr(found, part)
    return found
