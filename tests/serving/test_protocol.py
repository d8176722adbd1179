"""The rules of the websocket as a server keeps them, on bytes."""

from __future__ import annotations

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request

from hearout.serving.protocol import ServerProtocol


def test_a_ping_counts_until_we_close() -> None:
    client, protocol = WSConnection(ConnectionType.CLIENT), ServerProtocol(1000)
    protocol.receive_data(client.send(Request(host="here", target="/")))
    assert [type(event) for event in protocol.events()] == [Request]
    client.receive_data(protocol.send(AcceptConnection()))
    assert [type(event) for event in client.events()] == [AcceptConnection]
    protocol.receive_data(client.send(Ping(b"?")))
    assert [type(event) for event in protocol.events()] == [Ping]
    protocol.send(CloseConnection(1000))
    protocol.receive_data(client.send(Ping(b"?")) + client.send(CloseConnection(1000)))
    assert [type(event) for event in protocol.events()] == [CloseConnection]
