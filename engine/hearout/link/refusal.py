"""Why there is no connection (any more), in one line without secrets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from wsproto import ConnectionType, WSConnection
from wsproto.events import RejectConnection, RejectData, Request
from wsproto.utilities import RemoteProtocolError

from hearout.backoff import may_pass
from hearout.link.secrets import masked, redact
from hearout.transcribers.base import Dialect

__all__ = ["LinkFailure", "refusal_in"]

# What to do about a refusal; a dialect may know better. From 500 on, another attempt may help without.
_REMEDIES = {
    200: "check the url: this is no websocket",
    400: "check the options",
    401: "check the key",
    402: "the account has no credit left",
    403: "the key has no right to use this model or feature",
    404: "check the url",
    429: "too many connections at once",
}


class LinkFailure(Exception):
    """A connection could not be opened, or ended.

    Attributes:
        detail: one line, without secrets.
        permanent: another attempt with the same settings would fail too.
        retry_after: seconds which the server asks us to wait; None when it does not.
        remedy: what the user can do about it; empty when nothing is known.
        planned: it is no failure; the connection was left in time for another one.
    """

    def __init__(
        self,
        detail: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        remedy: str = "",
        planned: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.permanent = permanent
        self.retry_after = retry_after
        self.remedy = remedy
        self.planned = planned


def refusal_in(answer: bytes | bytearray, dialect: Dialect, host: str) -> LinkFailure | None:
    """What is wrong with an ``answer`` to the handshake, which may lack its end; None when it says too little."""
    http = WSConnection(ConnectionType.CLIENT)
    http.send(Request(host=host, target="/"))
    try:
        http.receive_data(bytes(answer))
    except RemoteProtocolError as error:
        # What the handshake was asked with is not known here: an answer to that is no answer to this.
        why = str(error) if str(error) != "Bad accept token" else "its answer does not fit the question"
        return LinkFailure(f"{host} is no websocket server: {why}")
    with suppress(RemoteProtocolError):  # a body may end with the connection; else it is not whole
        http.receive_data(None)
    refusal, body = None, b""
    for event in http.events():
        if isinstance(event, RejectConnection):
            refusal = event
        elif isinstance(event, RejectData):
            body += event.data
    if refusal is None:
        return None
    status = refusal.status_code
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in refusal.headers}
    line = f"{host} refused the connection: HTTP {status}"
    if said := redact(headers.get("dg-error") or _body_text(body, dialect), dialect):
        line += f" ({said})"
    remedies: Mapping[int, str] = _REMEDIES | getattr(dialect, "remedies", {})
    if remedy := remedies.get(status):
        line += "; " + remedy
    permanent = status >= 200 and not may_pass(status)
    return LinkFailure(line, permanent=permanent, retry_after=_retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now; the header has seconds or a date (RFC 9110, 10.2.3). None where it says nothing of use."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        until, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)
        # The server's clock against itself, where it tells it: ours may be wrong.
        seconds = (until - now).total_seconds() if until else math.nan
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000", or none: HTTP knows UTC only


def _body_text(body: bytes, dialect: Dialect) -> str:
    text = masked(body.decode("utf-8", "replace"), dialect)  # before anything is cut
    try:
        data = json.loads(text)
        return ": ".join(str(data[key]) for key in ("err_code", "err_msg", "error_message") if key in data)
    except (ValueError, TypeError, RecursionError):
        return text[:200]
