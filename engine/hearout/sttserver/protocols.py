"""The protocols that the server speaks, each at its path, and what a handshake brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hearout.sttserver.assemblyai.options import parse_query
from hearout.sttserver.assemblyai.stream import AssemblyAIScript, AssemblyAIStream
from hearout.sttserver.deepgram.options import parse_options
from hearout.sttserver.deepgram.script import V1Script
from hearout.sttserver.deepgram.stream import V1Stream
from hearout.sttserver.elevenlabs.options import parse_elevenlabs_options
from hearout.sttserver.elevenlabs.stream import ElevenLabsScript, ElevenLabsStream
from hearout.sttserver.flux.options import parse_flux_options
from hearout.sttserver.flux.stream import FluxScript, FluxStream
from hearout.sttserver.openai.stream import OpenAIScript, OpenAIStream
from hearout.sttserver.script import Script
from hearout.sttserver.soniox.options import SLUGS
from hearout.sttserver.soniox.stream import SonioxScript, SonioxStream
from hearout.sttserver.steps import Refused, Stream

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
        key: which came with it; None: none.
        accepts: is a key good?
        idle_timeout: seconds after which a quiet client is sent away; None: those of the provider.
    """

    query: str
    request_id: str
    created: str
    key: str | None
    accepts: Callable[[str], bool]
    idle_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """One of `PROTOCOLS`.

    Attributes:
        path: where it is served.
        open: makes the stream of a connection, with a recogniser (script None) or a script; raises `Refused`.
        refusal: the JSON body of a refused handshake.
    """

    path: str
    open: Callable[[Handshake, Script | None], Stream]
    refusal: Callable[[Refused, str], dict[str, object]]


def _deepgram_refusal(refused: Refused, request_id: str) -> dict[str, object]:
    return {"err_code": refused.code, "err_msg": refused.detail, "request_id": request_id}


def _soniox_refusal(refused: Refused, request_id: str) -> dict[str, object]:
    return {
        "error_code": refused.status,
        "error_type": SLUGS.get(refused.status, refused.code.lower()),
        "error_message": refused.detail,
        "request_id": request_id,
    }


def _check_key(handshake: Handshake) -> None:
    if handshake.key is None:
        raise Refused(401, "INVALID_AUTH", "send the header 'Authorization: Token <key>'")
    if not handshake.accepts(handshake.key):
        raise Refused(401, "INVALID_AUTH", "Invalid credentials.")


def _open_soniox(handshake: Handshake, script: Script | None) -> Stream:
    if handshake.key is not None:  # or else it must stand in the start message
        _check_key(handshake)
    authorised, accepts, timeout = handshake.key is not None, handshake.accepts, handshake.idle_timeout
    if script is None:
        return SonioxStream(handshake.request_id, authorised, accepts, idle_timeout=timeout)
    return SonioxScript(script, handshake.request_id, authorised, accepts, idle_timeout=timeout)


def _open_v1(handshake: Handshake, script: Script | None) -> Stream:
    _check_key(handshake)
    options = parse_options(handshake.query)
    if script is None:
        return V1Stream(options, handshake.request_id, handshake.created, idle_timeout=handshake.idle_timeout)
    return V1Script(script, options, handshake.request_id, handshake.created, idle_timeout=handshake.idle_timeout)


def _open_flux(handshake: Handshake, script: Script | None) -> Stream:
    _check_key(handshake)
    options, timeout = parse_flux_options(handshake.query), handshake.idle_timeout
    if script is None:
        return FluxStream(options, handshake.request_id, idle_timeout=timeout)
    return FluxScript(script, options, handshake.request_id, idle_timeout=timeout)


def _open_assemblyai(handshake: Handshake, script: Script | None) -> Stream:
    _check_key(handshake)
    options, timeout = parse_query(handshake.query), handshake.idle_timeout
    if script is None:
        return AssemblyAIStream(options, handshake.request_id, idle_timeout=timeout)
    return AssemblyAIScript(script, options, handshake.request_id, idle_timeout=timeout)


def _assemblyai_refusal(refused: Refused, request_id: str) -> dict[str, object]:
    return {"error": refused.detail}


def _open_elevenlabs(handshake: Handshake, script: Script | None) -> Stream:
    authorised = handshake.key is not None and handshake.accepts(handshake.key)
    options, timeout = parse_elevenlabs_options(handshake.query), handshake.idle_timeout
    if script is None:
        return ElevenLabsStream(options, handshake.request_id, authorised, idle_timeout=timeout)
    return ElevenLabsScript(script, options, handshake.request_id, authorised, idle_timeout=timeout)


def _elevenlabs_refusal(refused: Refused, request_id: str) -> dict[str, object]:
    return {"detail": {"status": refused.code.lower(), "message": refused.detail}}


def _open_openai(handshake: Handshake, script: Script | None) -> Stream:
    _check_key(handshake)
    if script is None:
        return OpenAIStream(handshake.request_id, idle_timeout=handshake.idle_timeout)
    return OpenAIScript(script, handshake.request_id, idle_timeout=handshake.idle_timeout)


def _openai_refusal(refused: Refused, request_id: str) -> dict[str, object]:
    return {"error": {"type": "invalid_request_error", "code": refused.code.lower(), "message": refused.detail}}


PROTOCOLS: Mapping[str, Protocol] = {
    "deepgram": Protocol("/v1/listen", _open_v1, _deepgram_refusal),
    "flux": Protocol("/v2/listen", _open_flux, _deepgram_refusal),
    "soniox": Protocol("/transcribe-websocket", _open_soniox, _soniox_refusal),
    "openai": Protocol("/v1/realtime", _open_openai, _openai_refusal),
    "assemblyai": Protocol("/v3/ws", _open_assemblyai, _assemblyai_refusal),
    "elevenlabs": Protocol("/v1/speech-to-text/realtime", _open_elevenlabs, _elevenlabs_refusal),
}
"""By the names that traces and the command line use."""
