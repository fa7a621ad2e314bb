"""Cables between programs: they delay, keep order, break, and are noticed to be broken at different times at both ends.

It must not know what is said. `ServerEnd` stands where the product has a `DirectConnection`, with the same behaviour;
what TCP never does (reorder or repeat within a connection) does not happen here either.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from streamer.edge.connection import DirectConnection
from streamer.edge.connection import Sink as MessageSink
from tests.faults.simulation.loop import SimulatedLoop

NEXT_S = 1e-6
"""Two messages of a cable never arrive at one instant: the loop would not say which comes first."""
HARD_LOSS = 1006


class Peer(Protocol):
    """The client's end: a phone, a gateway or a dashboard."""

    def opened(self) -> None:
        """The handshake was accepted."""

    def heard(self, text: bytes) -> None:
        """A message has come."""

    def ended(self, code: int) -> None:
        """The connection is over; 1006 when nobody said goodbye."""


class Line:
    """One direction of a cable."""

    def __init__(self, loop: SimulatedLoop, rng: Random, slow_s: float) -> None:
        self._loop = loop
        self._rng = rng
        self._slow_s = slow_s
        self._last_s = 0.0
        self.cut_s: float | None = None
        """What would arrive after this instant is lost."""

    def carry(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` when the message arrives, if it does."""
        delay_s = self._rng.uniform(0.001, self._slow_s) if self._rng.random() < 0.9 else self._rng.uniform(0.0, 2.0)
        self._last_s = max(self._last_s + NEXT_S, self._loop.time() + delay_s)
        self._loop.call_at(self._last_s, self._arrive, deliver)

    def _arrive(self, deliver: Callable[[], None]) -> None:
        if self.cut_s is None or self._loop.time() < self.cut_s:
            deliver()


class Cable:
    """A connection between a peer and one run of the server."""

    def __init__(self, loop: SimulatedLoop, rng: Random, peer: Peer) -> None:
        slow_s = rng.choice((0.02, 0.05, 0.3))
        self.loop = loop
        self.rng = rng
        self.peer = peer
        self.up = Line(loop, rng, slow_s)
        self.down = Line(loop, rng, slow_s)
        self.server: ServerEnd | None = None
        self.is_over = False
        """The peer knows that the connection ended; it has heard its last."""

    def send(self, text: bytes) -> None:
        """The peer says something."""
        self.up.carry(lambda: self.server.arrived(text) if self.server is not None else None)

    def say(self, text: bytes) -> None:
        """The server says something."""
        self.down.carry(lambda: None if self.is_over else self.peer.heard(text))

    def cut(self) -> None:
        """Somebody pulled it out: each direction falls silent by itself, and each end notices in its own time."""
        if self.up.cut_s is not None:
            return
        now_s = self.loop.time()
        for line in (self.up, self.down):
            line.cut_s = now_s + self.rng.choice((0.0, 0.0, self.rng.uniform(0.0, 1.0)))
        self.loop.call_later(self.rng.uniform(0.0, 3.0), self.over, HARD_LOSS)
        if self.server is not None:
            self.loop.call_later(self.rng.uniform(0.0, 20.0), self.server.lost)

    def over(self, code: int) -> None:
        """The peer learns that the connection ended."""
        if not self.is_over:
            self.is_over = True
            self.peer.ended(code)


class ServerEnd:
    """The server's end of a cable, as the gateway knows it."""

    ended = DirectConnection.ended
    unread = DirectConnection.unread

    def __init__(self, cable: Cable, said: Callable[["ServerEnd", bytes], None]) -> None:
        loop = cable.loop
        self.cable = cable
        self.state = State.OPEN
        self.close_code: int | None = None
        self.fault: Exception | None = None
        self.ending: asyncio.Future[None] = loop.create_future()
        self.connection_lost_waiter: asyncio.Future[None] = loop.create_future()
        self.transport = Transport(self)
        self.remote_address = ("simulated", 0)
        self.is_dead = False
        """The program this end belongs to has crashed."""
        self.is_welcome = False
        self.nacked: set[tuple[str, int]] = set()
        """(driver id, seq) of the pings refused on this connection."""
        self._said = said
        self._sink: MessageSink | None = None
        self._held: list[bytes] = []
        self._is_held = False

    # ------------------------------------------------------------ what the gateway calls

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN

    def claim(self) -> bool:
        return True

    def respond(self, status: int, text: str) -> Response:
        return Response(int(status), "", Headers(), text.encode())

    def listen(self, sink: MessageSink) -> None:
        self._sink = sink
        self.go_on()

    def say(self, *texts: bytes) -> None:
        if self.state is State.OPEN and not self.is_dead:
            for text in texts:
                self._said(self, text)
                self.cable.say(text)

    def hold(self) -> None:
        self._is_held = True

    def go_on(self) -> None:
        self._is_held = False
        held, self._held = self._held, []
        for message in held:
            self.arrived(message)

    def end(self, code: int, reason: str) -> None:
        if self.state is State.OPEN and not self.is_dead:
            self.state = State.CLOSING
            self.close_code = int(code)
            self.ending.set_result(None)
            self.cable.down.carry(lambda: self._goodbye(int(code)))

    # ------------------------------------------------------------ what the cable calls

    @property
    def is_listening(self) -> bool:
        """Whether a message that came now would be handed to the gateway."""
        return self.state is State.OPEN and not self.is_dead

    def arrived(self, message: bytes) -> None:
        """A message has come up the cable; one that was said goodbye to is no longer listened to."""
        if not self.is_listening:
            return
        if self._sink is None or self._is_held:
            self._held.append(message)
            return
        try:
            self._sink(message)
        except Exception as error:
            self.fault = error
            self.end(CloseCode.INTERNAL_ERROR, "internal error")

    def lost(self) -> None:
        """The server learns that the connection is over."""
        if not self.is_dead and self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.close_code = self.close_code or HARD_LOSS
            if not self.connection_lost_waiter.done():
                self.connection_lost_waiter.set_result(None)

    def _goodbye(self, code: int) -> None:
        self.cable.over(code)
        self.cable.up.carry(self.lost)


class Transport:
    """As much of a transport as the gateway asks for. Nobody here stops reading; a suite of its own does."""

    def __init__(self, end: ServerEnd) -> None:
        self._end = end

    def is_closing(self) -> bool:
        return self._end.state is State.CLOSED

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._end.lost()


def handshake(token: str) -> Request:
    """The request a driver's or a gateway's program opens its socket with."""
    return Request("/v1/drivers", Headers({"Authorization": f"Bearer {token}"}))
