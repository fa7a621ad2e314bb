"""One socket of a driver or a gateway: what is said on it, when it is acknowledged, and when it is closed.

It must not know the engine or the journal: it is told what was taken, and what to say.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import cast

from msgspec import UNSET, Struct, UnsetType, field

from streamer.core.rates import TokenBucket
from streamer.edge.accounts import TokenOwner
from streamer.edge.connection import DirectConnection
from streamer.edge.gateway.acks import AckRounds
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.measures import Histogram
from streamer.edge.wire import CODES, Ack, Close, Code, Nack, ServerMessage, WireError, encode, encode_all

STATE_BOUNDS_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
AGE_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


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
    state_s: Histogram = field(default_factory=lambda: Histogram(STATE_BOUNDS_S))
    """From the first frame of a turn read to its pings in the state, in seconds."""
    age_s: Histogram = field(default_factory=lambda: Histogram(AGE_BOUNDS_S))
    """From a fix, by the phone's clock, to the state: of the last ping of a turn, in seconds."""
    nacks: Counter[str] = field(default_factory=Counter)
    closed: Counter[int] = field(default_factory=Counter)


class Socket:
    """Talks to one peer. Nothing here waits: a peer that lets its write buffer grow is closed."""

    def __init__(
        self, connection: DirectConnection, owner: TokenOwner, settings: GatewaySettings, tally: Tally,
        rounds: AckRounds,
    ) -> None:  # fmt: skip
        self.connection = connection
        self.owner = owner
        self.settings = settings
        self.tally = tally
        self.voices: dict[str, TokenBucket] = {}
        """Drivers that have been spoken for on this socket, by the `driver_id` of their messages."""
        # Who a scoped gateway may speak for changes: none of its drivers is known beforehand.
        self.known: Mapping[str, TokenBucket] = {} if owner.mall_ids else self.voices
        """Those of them whose messages need no further look at whose they are."""
        self.was_clogged = False
        """Whether it was after the last that was said; a cheaper thing to ask than `is_clogged`."""
        self.rebuilt = 0
        """The runner's count of rebuilds when `voices` began: what it rests on may be gone after the next."""
        self.taken = self.refused = 0
        self.loop = asyncio.get_running_loop()
        """Kept, since asking costs a system call, and every ping asks."""
        self._rounds = rounds
        self._next_ack_s = 0.0
        """The earliest instant of the next ack, of the loop's clock."""
        self._is_waiting = False
        """Whether it was asked for already."""
        self._highest: dict[str, int] = {}
        """The highest durable `seq` of each driver."""
        self._due: dict[str, None] = {}
        """Drivers with pings to acknowledge by it."""
        self._due_fixes: dict[str, int] = {}
        """Drivers with pings to acknowledge that have no `seq`, and the latest such `fix_ms`."""
        self._stalling: asyncio.TimerHandle | None = None
        now_s = self.loop.time()
        self._bad_frames = TokenBucket(settings.bad_frames_per_min / 60, settings.bad_frames_per_min, now_s)
        self._refusals = TokenBucket(settings.refusals_per_min / 60, settings.refusals_per_min, now_s)

    @property
    def is_open(self) -> bool:
        """Whether anything can be said."""
        return self.connection.is_open

    @property
    def is_clogged(self) -> bool:
        """Whether the peer is behind with reading; what it sends had better wait too."""
        return self.is_open and self.unread > self.settings.write_soft_bytes

    # ------------------------------------------------------------ saying

    def send(self, message: ServerMessage) -> None:
        """Says something; a closed socket swallows it, since its peer will ask again."""
        self._say(encode(message))

    def _say(self, *texts: bytes) -> None:
        self.connection.say(*texts)
        unread = self.unread
        self.was_clogged = unread > self.settings.write_soft_bytes
        if unread > self.settings.write_hard_bytes:
            self.connection.transport.abort()
        elif self.was_clogged and self._stalling is None:
            self._stalling = self.loop.call_later(self.settings.slow_grace_s, self._judge_reader)

    def took_ping(self, driver_id: str, seq: int | None, fix_ms: int) -> None:
        """A ping is durable (or was already): it is acknowledged as soon as the last ack is old enough.

        The weak spot of a cumulative number: it speaks for every lower one that was sent before it. So a phone has
        to send in the order of `seq`, as PROTOCOL says.
        """
        self.taken += 1
        if seq is None:
            self._due_fixes[driver_id] = fix_ms
        else:
            highest = self._highest
            if seq > highest.get(driver_id, -1):
                highest[driver_id] = seq
            self._due[driver_id] = None
        if not self._is_waiting:
            self._is_waiting = True
            self._rounds.wait(self, self._next_ack_s)

    def acknowledge(self) -> None:
        """Sends the acks that are due, in one piece: for a gateway's fifty drivers one write instead of fifty."""
        self._is_waiting = False
        highest, addressee = self._highest, self._addressee
        if self.owner.kind == "gateway":
            acks = [Ack(highest[driver_id], UNSET, UNSET, driver_id) for driver_id in self._due]
        else:
            acks = [Ack(highest[driver_id]) for driver_id in self._due]
        for driver_id, fix_ms in self._due_fixes.items():
            acks.append(Ack(seq=None, fix_ms=fix_ms, driver_id=addressee(driver_id)))
        self._due.clear()
        self._due_fixes.clear()
        if acks and self.is_open:
            self._ack(*acks)
            self._next_ack_s = self.loop.time() + self.settings.ack_interval_s

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
        if self.owner.kind == "driver" and not self._refusals.take(self.loop.time()):
            self.close(Close.FLOODING, "too many messages")
        else:
            self.refuse(error, "rate_limited", retryable=True)

    def count_bad_frame(self) -> None:
        """One more frame with an error in it; too many close the socket."""
        if not self._bad_frames.take(self.loop.time()):
            self.close(Close.BROKEN_RULES, "too many bad frames")

    def _ack(self, *acks: Ack) -> None:
        self.tally.acks += len(acks)
        self._say(*encode_all(acks))

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
        if self._stalling is not None:
            self._stalling.cancel()

    def _judge_reader(self) -> None:
        self._stalling = None
        if self.is_clogged:
            self.close(Close.SLOW_READER, "unread messages pile up")

    @property
    def unread(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self.connection.unread
