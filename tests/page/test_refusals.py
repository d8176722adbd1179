"""What the page says when it is not let in, in a real browser; and that a proxy may have put it below a path."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from urllib.parse import quote, urlsplit

import pytest
import trio

from tests.kit.browser import CHROMIUM, Tab, browsing
from tests.kit.serving import playing
from tests.page.test_page import TOKEN, click, serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

PATH = "/voice/"


async def below_a_path(port: int | None, client: trio.SocketStream) -> None:
    """A proxy: one request, of which it takes `PATH` away, and what follows it both ways."""

    async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()

    asked = bytes(await client.receive_some())
    try:
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", port or 80) as server,
            trio.open_nursery() as nursery,
        ):
            await server.send_all(asked.replace(PATH.encode(), b"/", 1))
            nursery.start_soon(copy, client, server)
            nursery.start_soon(copy, server, client)
    except* (OSError, trio.BrokenResourceError):
        pass


async def listen(tab: Tab) -> None:
    await tab.until("!document.getElementById('listen').disabled")
    await tab.run(click("listen"))


async def says(tab: Tab, words: str) -> None:
    await tab.until(f"document.getElementById('state').textContent === {words!r}")


def test_what_it_says_when_it_is_not_let_in() -> None:
    async def main(server: ExitStack, address: str) -> None:
        with trio.fail_after(120):  # on a machine that others use, too
            async with trio.open_nursery() as nursery, browsing() as tab:
                proxy = partial(below_a_path, urlsplit(address).port)
                (listener, *_) = await nursery.start(partial(trio.serve_tcp, proxy, 0, host="127.0.0.1"))
                await speak(tab, f"http://127.0.0.1:{listener.socket.getsockname()[1]}{PATH}")
                await trio.to_thread.run_sync(server.close)
                await says(tab, "the server is shutting down")
                await listen(tab)
                await says(tab, "The server cannot be reached: does it run still?")
                nursery.cancel_scope.cancel()

    with playing() as host, ExitStack() as server:
        trio.run(main, server, server.enter_context(serving(f"ws://{host}/v1/listen", refuses=True)))


async def speak(tab: Tab, address: str) -> None:
    """Without a token, with a wrong one, with the right one."""
    await tab.call("Page.navigate", url=address)
    await tab.until("window.page")
    await listen(tab)
    await says(tab, "The server wants its token.")
    await tab.run("location.hash = 'another'")
    await tab.until("!location.hash")
    await listen(tab)
    await says(tab, "The server did not take this token.")
    await tab.run(f"location.hash = {quote(TOKEN)!r}")
    await tab.until("!location.hash")
    await listen(tab)
    await tab.until("page.line?.began")
    assert {url for url in tab.requests if url.startswith("ws:")} == {address.replace("http:", "ws:")}
