"""Expectations by name, and from JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from hearout_policies.expect.amounts import Amount
from hearout_policies.expect.base import Expectation
from hearout_policies.expect.choices import OneOf, Open, YesNo
from hearout_policies.expect.dates import Date
from hearout_policies.expect.digits import Digits, Phone
from hearout_policies.expect.emails import Email
from hearout_policies.expect.letters import Code, Spelled
from hearout_policies.expect.names import Name
from hearout_policies.params import shown

__all__ = ["TYPES", "expectation"]

#: By name.
TYPES: Mapping[str, type[Any]] = {
    kind.name: kind for kind in (Digits, Phone, Code, Email, Spelled, YesNo, OneOf, Date, Amount, Name, Open)
}


def expectation(what: Expectation | Mapping[str, Any] | str) -> Expectation:
    """An expectation from its JSON form, ``{"type": "digits", "least": 10}``, or from its name alone.

    One that is made already is given back.

    Raises:
        ValueError: there is none of that name, or its fields are not right; the message says what there is.
    """
    if isinstance(what, tuple(TYPES.values())):
        return cast(Expectation, what)
    if isinstance(what, str):
        what = {"type": what}
    if not isinstance(what, Mapping):
        raise ValueError(f"an expectation is an object with a type, not {shown(what)}; types: {', '.join(TYPES)}")
    fields = dict(what)
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in TYPES:
        raise ValueError(f"there is no expectation {shown(kind)}; types: {', '.join(TYPES)}")
    known = {field.name: field for field in dataclasses.fields(TYPES[kind])}
    for name in fields:
        if name not in known:
            has = f"its fields: {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{kind} has no field {shown(name)}; {has}")
    for name, field in known.items():
        if name not in fields and field.default is dataclasses.MISSING:
            raise ValueError(f"{kind} needs {name!r}")
    return cast(Expectation, TYPES[kind](**fields))
