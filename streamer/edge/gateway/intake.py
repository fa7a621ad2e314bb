"""From a message on a socket to the runner, and from its outputs back to acks and nacks.

It must not know how sockets come and go, nor how an input is judged or stored.

A message is judged as it arrives. The good pings of one turn of the loop, from whichever sockets, are handed in at its
end together: under load a turn brings several, and what is paid once for a batch is paid once for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from time import monotonic

from msgspec.structs import force_setattr

from streamer.core.events import Output, Ping, PingTaken, Refused, Report, ReportTaken
from streamer.core.rates import TokenBucket
from streamer.edge.clock import Clock
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.gateway.scope import Scope, error_about
from streamer.edge.gateway.socket import Socket, Tally
from streamer.edge.runner import Runner
from streamer.edge.wire import Close, WireError, decode_frame

LAST_INSTANT_MS = 2**53
PAUSE_S = 0.01
RELEASED = 100
"""While the journal or the peer is behind, so many sockets that wait to be read are looked at again this often."""
MOST_BUCKETS = 50_000
"""Drivers whose rate is remembered; beyond, those who have been silent long enough are forgotten."""

SAMPLED = 16
"""Every so many turns one is timed, for `/metrics`: timing each would be felt."""
TURN_PINGS = 500
"""So many are handed in before the turn ends: the engine should not wait for more."""


class Intake:
    """Reads the messages of all sockets; the pings of one turn stay together to the journal."""

    def __init__(
        self, runner: Runner, scope: Scope, settings: GatewaySettings, tally: Tally, phones: Clock | None,
        on_first_word: Callable[[Socket, str], None],
    ) -> None:  # fmt: skip
        """`phones` is the clock that phones go by, where the floor's is another (a replay): their instants are then
        moved by the difference. `on_first_word` hears of each driver that a gateway's socket begins to speak for.
        """
        self.runner = runner
        self.settings = settings
        self.tally = tally
        self._scope = scope
        self._phones = phones
        self._on_first_word = on_first_word
        self._buckets: dict[str, TokenBucket] = {}
        self._pings: list[Ping] = []
        self._sockets: list[Socket] = []
        """Good pings of this turn, not handed in yet, and whence each came."""
        self._in_turn = False
        self._turns = 0
        self._began_s = 0.0
        """When the first message of this turn came."""
        self._room = 0
        """So many pings may wait for the end of the turn: the journal may be behind, or about to be."""
        self._paused: dict[Socket, None] = {}
        self._looking: asyncio.TimerHandle | None = None

    def take(self, socket: Socket, message: bytes) -> None:
        """Reads one message; its pings wait for those that others send in the same turn of the loop."""
        if not self._in_turn:
            self._begin_turn(socket)
        pings, sockets, now_s = self._pings, self._sockets, self._began_s
        good = bad = 0
        if socket.rebuilt != self.runner.rebuilt:
            socket.rebuilt = self.runner.rebuilt
            socket.voices.clear()
        known = socket.known
        for item in decode_frame(message):
            if type(item) is Ping:
                good += 1
                # A known driver within its rate, as nearly all are, is let in without a further call.
                bucket = known.get(item.driver_id)
                if bucket is not None:
                    if not item.driver_id:
                        _complete(item, socket)
                    if bucket.take(now_s):
                        pings.append(item)
                        sockets.append(socket)
                        continue
                    self._limit(socket, item)
                elif self._may_enter(socket, item, now_s):
                    pings.append(item)
                    sockets.append(socket)
            elif type(item) is Report:
                good += 1
                if self._may_enter(socket, item, now_s):
                    self.hand_in()
                    pings, sockets = self._pings, self._sockets
                    self._hand_in_report(socket, item)
            elif isinstance(item, WireError):
                bad += 1
                socket.refuse(item)
            if not socket.is_open:
                break
        # Of a gateway's frame the good part counts: one phone behind it must not silence the rest.
        if bad and not (good and socket.owner.kind == "gateway"):
            socket.count_bad_frame()
        if len(pings) > self._room:
            self.hand_in()
            self._measure_room()
        if self._room < 0 or (socket.was_clogged and socket.is_clogged):
            self._pause(socket)

    def _begin_turn(self, socket: Socket) -> None:
        self._in_turn = True
        self._turns += 1
        self._began_s = monotonic()
        self._measure_room()
        socket.loop.call_soon(self._end_turn)

    def _measure_room(self) -> None:
        self._room = min(self.settings.backlog_bound - self.runner.backlog, TURN_PINGS)

    def _end_turn(self) -> None:
        self._in_turn = False
        self.hand_in()

    def _may_enter(self, socket: Socket, item: Ping | Report, now_s: float) -> bool:
        """Whether the token may speak for this driver, and is not doing so too often; if not, says so."""
        bucket = socket.voices.get(item.driver_id)
        if bucket is None or socket.owner.mall_ids:
            # Of a scoped gateway's drivers even the known have to be looked at: they move from mall to mall.
            refused = self._scope.refusal(socket.owner, item)
            if refused is None and bucket is None:
                refused = self._first_word(socket, item)
            if refused is not None:
                socket.refuse(refused)
                if socket.owner.kind == "driver":
                    socket.close(Close.NOT_YOURS, "a message names another driver")
                return False
            bucket = self._bucket(socket, item, now_s)
        if not item.driver_id:
            _complete(item, socket)
        if bucket.take(now_s):
            return True
        self._limit(socket, item)
        return False

    def _limit(self, socket: Socket, item: Ping | Report) -> None:
        socket.limit(error_about(item, "rate_limited", f"more than {self.settings.messages_per_s:g} messages a second"))

    def _first_word(self, socket: Socket, item: Ping | Report) -> WireError | None:
        """A driver is spoken for the first time on this socket: by a gateway, there is an end to how many."""
        if socket.owner.kind == "gateway":
            most = self.settings.gateway_drivers
            if len(socket.voices) >= most:
                return error_about(item, "overloaded", f"a gateway's socket speaks for up to {most} drivers")
            self._on_first_word(socket, item.driver_id)
        return None

    def _bucket(self, socket: Socket, item: Ping | Report, now_s: float) -> TokenBucket:
        driver_id = item.driver_id or socket.owner.name
        bucket = self._buckets.get(driver_id)
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets = {name: kept for name, kept in self._buckets.items() if not kept.is_full(now_s)}
            bucket = TokenBucket(self.settings.messages_per_s, self.settings.messages_burst, now_s)
            self._buckets[driver_id] = bucket
        if driver_id in self.runner.engine.state.drivers:
            # While the journal is full a new driver cannot be registered: then it is tried again with each message.
            socket.voices[item.driver_id] = bucket
        return bucket

    def hand_in(self) -> None:
        """Has the runner handle what waits for the end of the turn."""
        pings, sockets = self._pings, self._sockets
        if not pings:
            return
        self._pings, self._sockets = [], []
        self.tally.pings += len(pings)
        if self._turns % SAMPLED == 0:
            self.tally.age_s.add(((self._phones or self.runner).now_ms() - pings[-1].fix_ms) / 1000)
        fixes = None
        if self._phones is not None:
            fixes = [ping.fix_ms for ping in pings]
            for ping in pings:
                force_setattr(ping, "fix_ms", self._on_floor(ping.fix_ms))
        self.runner.submit_pings(pings, partial(self._answer_pings, sockets, pings, fixes))
        if self._turns % SAMPLED == 0:
            self.tally.state_s.add(monotonic() - self._began_s)

    def _answer_pings(
        self, sockets: Sequence[Socket], pings: Sequence[Ping], fixes: Sequence[int] | None, outputs: Sequence[Output]
    ) -> None:
        """`sockets` is whence each ping came; `fixes` are the phones' own `fix_ms`, where they were moved."""
        for socket, ping, output, fix_ms in zip(
            sockets, pings, outputs, fixes or [ping.fix_ms for ping in pings], strict=True
        ):
            if type(output) is PingTaken:
                socket.took_ping(ping.driver_id, ping.seq, fix_ms)
            elif isinstance(output, Refused):
                socket.refuse(error_about(ping, "internal", output.message, fix_ms), output.code, output.retryable)

    def _hand_in_report(self, socket: Socket, report: Report) -> None:
        self.tally.reports += 1
        fix_ms = report.fix_ms
        if self._phones is not None:
            force_setattr(report, "fix_ms", self._on_floor(fix_ms))
        self.runner.submit(report, partial(self._answer_report, socket, report, fix_ms))

    def _answer_report(self, socket: Socket, report: Report, fix_ms: int, outputs: Sequence[Output]) -> None:
        match outputs[0]:
            case ReportTaken(driver_id=driver_id, id=report_id):
                socket.took_report(driver_id, report_id)
            case Refused(code=code, message=message, retryable=retryable):
                socket.refuse(error_about(report, "internal", message, fix_ms), code, retryable)

    def _pause(self, socket: Socket) -> None:
        """Stops reading a socket, which is the only way to slow a sender down, until all have caught up."""
        self.tally.pauses += 1
        socket.connection.hold()
        self._paused[socket] = None
        self._look_later()

    def _look_later(self) -> None:
        if self._paused and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(PAUSE_S, self._look_again)

    def _look_again(self) -> None:
        """Lets some of the paused go on.

        One look for all of them, since neither the journal nor a write buffer says when it has caught up; and some at
        a time, or else they would be behind again at once.
        """
        self._looking = None
        if self.runner.backlog <= self.settings.backlog_bound:
            for socket in list(islice(self._paused, RELEASED)):
                del self._paused[socket]
                if socket.is_open and socket.is_clogged:
                    self._paused[socket] = None
                elif socket.is_open:
                    socket.connection.go_on()
        self._look_later()

    def _on_floor(self, fix_ms: int) -> int:
        phones_ms = self.runner.now_ms() if self._phones is None else self._phones.now_ms()
        return min(max(fix_ms + self.runner.now_ms() - phones_ms, 0), LAST_INSTANT_MS)


def _complete(item: Ping | Report, socket: Socket) -> None:
    """Completes a message that leaves out whom it is of: the decoded record becomes the engine's as it is, and nobody
    else holds it yet.
    """
    force_setattr(item, "driver_id", socket.owner.name)
