"""What a server grants to those who connect."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server grants. Seconds and bytes.

    A connection holds at most ``message * (queue + 2)`` bytes that nobody has read yet. When the queue is full nothing
    more is read from the socket, and TCP makes the sender wait: live audio comes late then, but none is dropped.

    Attributes:
        connections: that were let in, at the same time; who comes later gets 503.
        busy: the share that the event loop may take of the time that the machine gives it. Who would make it more gets
            503, too, before those who are there suffer from it: 99 of 100 frames were on time up to 0.88
            (docs/benchmarks-load.md), and some must be left. `math.inf`: no such limit.
        lag: seconds by which the loop may be late, likewise: a frame, which a core of its own keeps to up to 0.93. A
            shared one is late before it is busy.
        strangers: connections at the same time that have not said yet who they are. They take no place of those who
            are let in: when there are too many, the one that has waited longest is closed.
        strangers_per_address: likewise from one address, or from one network of IPv6 (/64).
        message: the largest that is taken. Each of its frames counts for one byte at least.
        queue: messages.
        handshake: most time until a stranger's request is there, and TLS before it.
        start: most time until the message that says what comes.
        idle: after so long without a message a ping asks for a sign of life.
        ping: and so long it may take. Then the connection counts as lost.
        send: most time for sending one message; who does not read for so long is gone.
    """

    connections: int = 100
    busy: float = 0.7
    lag: float = 0.02
    strangers: int = 512
    strangers_per_address: int = 256
    message: int = 2**16
    queue: int = 64
    handshake: float = 10.0
    start: float = 10.0
    idle: float = 30.0
    ping: float = 10.0
    send: float = 10.0
