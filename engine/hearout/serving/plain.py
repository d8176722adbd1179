"""Plain requests on the port of a websocket server: what a browser, a health check or a scraper asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import h11

from hearout.serving.authorise import Upgrade
from hearout.serving.line import Line
from hearout.writing import printable

__all__ = ["Pages", "PlainAnswer", "PlainRequests", "first_of_each"]


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """What a plain request gets.

    Attributes:
        kind: its ``Content-Type``.
        headers: further ones.
    """

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


#: By path, without the query: makes the answer to one request. Everybody who can connect may ask: what is not for
#: everybody must look at the request's headers itself.
Pages = Mapping[str, Callable[[Upgrade], PlainAnswer]]


class PlainRequests:
    """Answers GET and HEAD, one request a connection. Who asks is a stranger to the server, and has no more time.

    Args:
        pages: what there is.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def answer(self, line: Line, remote: str) -> bool:
        """Answer the request that comes first, if it is a plain one.

        One that asks for a websocket, or is none at all, is left for who reads the line next.
        """
        http = h11.Connection(h11.SERVER)
        try:
            while (request := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await line.peek())
        except h11.RemoteProtocolError:
            return False
        if not isinstance(request, h11.Request) or _is_upgrade(request):
            return False
        answer = self._answer(request, remote)
        head = h11.Response(
            status_code=answer.status,
            headers=[
                ("content-type", answer.kind),
                ("content-length", str(len(answer.body))),
                ("connection", "close"),
                *answer.headers,
            ],
        )
        data = http.send(head) or b""
        if request.method != b"HEAD":
            data += http.send(h11.Data(data=answer.body)) or b""
        await line.send_all(data)
        return True

    def _answer(self, request: h11.Request, remote: str) -> PlainAnswer:
        target = request.target.decode("latin-1")
        path = target.partition("?")[0]
        if request.method not in (b"GET", b"HEAD"):
            return PlainAnswer(b"only GET and HEAD are answered here\n", status=405, headers=(("allow", "GET, HEAD"),))
        if path not in self._pages:
            return PlainAnswer(f"there is no {printable(path, 100)} here\n".encode(), status=404)
        return self._pages[path](Upgrade(target, first_of_each(request.headers), remote))


def _is_upgrade(request: h11.Request) -> bool:
    return first_of_each(request.headers).get("upgrade", "").lower() == "websocket"


def first_of_each(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; of equal ones the first counts."""
    first: dict[str, str] = {}
    for name, value in headers:
        first.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return first
