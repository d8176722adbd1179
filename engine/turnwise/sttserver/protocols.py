"""The protocols that the server speaks, each at its path, and what a handshake brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from turnwise.sttserver.script import Script
from turnwise.sttserver.steps import Stream
from turnwise.sttserver.v1 import V1Stream
from turnwise.sttserver.v1_options import parse_options
from turnwise.sttserver.v1_script import V1Script

__all__ = ["PROTOCOLS", "REFUSALS", "Handshake", "Protocol"]

REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("INVALID_QUERY_PARAMETER", "Bad Request: a parameter is not valid"),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "the project has no credit left"),
    403: ("INSUFFICIENT_PERMISSIONS", "the project may not use this model"),
    404: ("NOT_FOUND", "there is nothing here"),
    429: ("TOO_MANY_REQUESTS", "too many connections at once"),
    500: ("INTERNAL_SERVER_ERROR", "something went wrong"),
    503: ("SERVICE_UNAVAILABLE", "the service is overloaded"),
}
"""HTTP statuses that ``--refuse`` gives: the providers' code and a detail for each."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client that wants to be connected.

    Attributes:
        query: of the address, without the question mark.
        request_id: what this connection is called.
        created: time of the connection, RFC 3339.
        idle_timeout: seconds after which a quiet client is sent away; None: those of the provider.
    """

    query: str
    request_id: str
    created: str
    idle_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """One of `PROTOCOLS`.

    Attributes:
        path: where it is served.
        open: makes the stream of a connection, with a recogniser (script None) or a script; raises `Refused`.
    """

    path: str
    open: Callable[[Handshake, Script | None], Stream]


def _open_v1(handshake: Handshake, script: Script | None) -> Stream:
    options = parse_options(handshake.query)
    if script is None:
        return V1Stream(options, handshake.request_id, handshake.created, idle_timeout=handshake.idle_timeout)
    return V1Script(script, options, handshake.request_id, handshake.created, idle_timeout=handshake.idle_timeout)


PROTOCOLS: Mapping[str, Protocol] = {"deepgram": Protocol("/v1/listen", _open_v1)}
"""By the names that traces and the command line use."""
