"""One socket of a driver or a gateway: what is said on it, when it is acknowledged, and when it is closed.

It must not know the engine or the journal: it is told what was taken, and what to say.
"""

import asyncio
from collections import Counter
from typing import cast

from msgspec import UNSET, Struct, UnsetType, field
from websockets.protocol import State

from streamer.edge.accounts import TokenOwner
from streamer.edge.connection import DirectConnection
from streamer.edge.gateway.limits import GatewaySettings, TokenBucket
from streamer.edge.wire import CODES, Ack, Close, Code, Nack, ServerMessage, WireError, encode


class Tally(Struct):
    """What the gateway counted since it began, for `/metrics`. `nacks` is by code, `closed` by close code."""

    opened: int = 0
    refused: int = 0
    turned_away: int = 0
    """Handshakes asked to come back, in a rush or because all places were taken."""
    pauses: int = 0
    """Times a socket was not read because the journal or its peer was behind."""
    pings: int = 0
    reports: int = 0
    acks: int = 0
    nacks: Counter[str] = field(default_factory=Counter)
    closed: Counter[int] = field(default_factory=Counter)


class Pending(Struct):
    """What is durable and not yet acknowledged of one driver: the highest `seq`, or the latest ping without one."""

    seq: int | None = None
    fix_ms: int | None = None


class Socket:
    """Talks to one peer. Nothing here waits: a peer that lets its write buffer grow is closed."""

    def __init__(
        self, connection: DirectConnection, owner: TokenOwner, settings: GatewaySettings, tally: Tally
    ) -> None:
        self.connection = connection
        self.owner = owner
        self.settings = settings
        self.tally = tally
        self.spoken_for: set[str] = set()
        """Drivers that this gateway has spoken for on this socket."""
        self.taken = self.refused = 0
        self._loop = asyncio.get_running_loop()
        self._ack_interval_s = settings.ack_interval_s
        self._acked_s = -settings.ack_interval_s
        self._acking: asyncio.TimerHandle | None = None
        self._pending: dict[str, Pending] = {}
        self._highest: dict[str, int] = {}
        self._stalling: asyncio.TimerHandle | None = None
        now_s = self._loop.time()
        self._bad_frames = TokenBucket(settings.bad_frames_per_min / 60, settings.bad_frames_per_min, now_s)
        self._refusals = TokenBucket(settings.refusals_per_min / 60, settings.refusals_per_min, now_s)

    @property
    def is_open(self) -> bool:
        """Whether anything can be said."""
        return self.connection.state is State.OPEN

    @property
    def is_clogged(self) -> bool:
        """Whether the peer is behind with reading; what it sends had better wait too."""
        return self.is_open and self._unread() > self.settings.write_soft_bytes

    # ------------------------------------------------------------ saying

    def send(self, message: ServerMessage) -> None:
        """Says something; a closed socket swallows it, since its peer will ask again."""
        self._say(encode(message))

    def _say(self, *texts: bytes) -> None:
        self.connection.say(*texts)
        unread = self._unread()
        if unread > self.settings.write_hard_bytes:
            self.connection.transport.abort()
        elif unread > self.settings.write_soft_bytes and self._stalling is None:
            self._stalling = self._loop.call_later(self.settings.slow_grace_s, self._judge_reader)

    def took_ping(self, driver_id: str, seq: int | None, fix_ms: int) -> None:
        """A ping is durable (or was already): acknowledge it soon, together with its neighbours.

        The weak spot of a cumulative number: it speaks for every lower one that was sent before it. So a phone has
        to send in the order of `seq`, as PROTOCOL says.
        """
        self.taken += 1
        pending = self._pending.get(driver_id)
        if pending is None:
            pending = self._pending[driver_id] = Pending()
        if seq is None:
            pending.fix_ms = fix_ms
        else:
            pending.seq = self._highest[driver_id] = max(seq, self._highest.get(driver_id, -1))
        if self._acking is None and self.is_open:
            # Even when an ack is due at once, it waits for the rest of this commit.
            wait_s = self._acked_s + self._ack_interval_s - self._loop.time()
            self._acking = self._loop.call_later(max(0.0, wait_s), self.acknowledge)

    def acknowledge(self) -> None:
        """Sends the acks that are due, in one piece: for a gateway's fifty drivers one write instead of fifty."""
        if self._acking is not None:
            self._acking.cancel()
            self._acking = None
        pending, self._pending = self._pending, {}
        acks: list[Ack] = []
        for driver_id, what in pending.items():
            if what.seq is not None:
                acks.append(Ack(seq=what.seq, driver_id=self._addressee(driver_id)))
            if what.fix_ms is not None:
                acks.append(Ack(seq=None, fix_ms=what.fix_ms, driver_id=self._addressee(driver_id)))
        self._ack(*acks)
        self._acked_s = self._loop.time()

    def took_report(self, driver_id: str, report_id: str) -> None:
        """A report is durable."""
        self.taken += 1
        self._ack(Ack(id=report_id, driver_id=self._addressee(driver_id)))

    def refuse(self, error: WireError, code: str = "", retryable: bool = False) -> None:
        """Answers a message that had no effect; `code` replaces the error's with one the engine gave."""
        code = code or error.code
        known = cast(Code, code) if code in CODES else "internal"
        driver_id = UNSET if error.driver_id is None else self._addressee(error.driver_id)
        if error.id is not None:
            nack = Nack(known, retryable, error.message, id=error.id, driver_id=driver_id)
        elif error.seq is None and error.fix_ms is not None:
            nack = Nack(known, retryable, error.message, seq=None, fix_ms=error.fix_ms, driver_id=driver_id)
        else:
            nack = Nack(known, retryable, error.message, seq=error.seq, driver_id=driver_id)
        self.refused += 1
        self.tally.nacks[known] += 1
        self.send(nack)

    def limit(self, error: WireError) -> None:
        """Answers a message over its driver's rate, or closes a driver that does not stop."""
        # A gateway carries many drivers, and one of them must not silence the rest.
        if self.owner.kind == "driver" and not self._refusals.take(self._loop.time()):
            self.close(Close.FLOODING, "too many messages")
        else:
            self.refuse(error, "rate_limited", retryable=True)

    def count_bad_frame(self) -> None:
        """One more frame with an error in it; too many close the socket."""
        if not self._bad_frames.take(self._loop.time()):
            self.close(Close.BROKEN_RULES, "too many bad frames")

    def _ack(self, *acks: Ack) -> None:
        self.tally.acks += len(acks)
        self._say(*map(encode, acks))

    def _addressee(self, driver_id: str) -> str | UnsetType:
        return driver_id if self.owner.kind == "gateway" else UNSET

    # ------------------------------------------------------------ closing

    def close(self, code: Close, reason: str) -> None:
        """Says what is still to be acknowledged, then goodbye."""
        if self.is_open:
            self.acknowledge()
            self.connection.end(code, reason)

    def left(self) -> None:
        """The connection is over: nothing is timed any more."""
        for timer in (self._acking, self._stalling):
            if timer is not None:
                timer.cancel()

    def _judge_reader(self) -> None:
        self._stalling = None
        if self.is_clogged:
            self.close(Close.SLOW_READER, "unread messages pile up")

    def _unread(self) -> int:
        transport = self.connection.transport
        return 0 if transport.is_closing() else transport.get_write_buffer_size()
