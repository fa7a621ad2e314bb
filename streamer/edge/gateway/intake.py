"""From a message on a socket to the runner, and from its outputs back to acks and nacks.

It must not know how sockets come and go, nor how an input is judged or stored.
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
"""Every so many frames one is timed, for `/metrics`: timing each would be felt."""


class Intake:
    """Reads the messages of all sockets; the pings of one frame stay together to the journal."""

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
        self._frames = 0
        self._paused: dict[Socket, None] = {}
        self._looking: asyncio.TimerHandle | None = None

    def take(self, socket: Socket, message: bytes) -> None:
        """Reads one message; its pings go to the runner together, as far as no report stands between them."""
        now_s = monotonic()
        pings: list[Ping] = []
        good = bad = 0
        if socket.rebuilt != self.runner.rebuilt:
            socket.rebuilt = self.runner.rebuilt
            socket.voices.clear()
        # Who a scoped gateway may speak for changes: none of its drivers is known beforehand.
        known: dict[str, TokenBucket] = {} if socket.owner.mall_ids else socket.voices
        for item in decode_frame(message):
            if type(item) is Ping:
                good += 1
                # A known driver within its rate, as nearly all are, is let in without a further call.
                bucket = known.get(item.driver_id) if item.driver_id else None
                if bucket is not None and bucket.take(now_s):
                    pings.append(item)
                    continue
                if bucket is not None:
                    self._limit(socket, item)
                elif self._may_enter(socket, item, now_s):
                    pings.append(item)
            elif type(item) is Report:
                good += 1
                if self._may_enter(socket, item, now_s):
                    self._hand_in(socket, pings)
                    pings = []
                    self._hand_in_report(socket, item)
            elif isinstance(item, WireError):
                bad += 1
                socket.refuse(item)
            if not socket.is_open:
                break
        self._hand_in(socket, pings)
        self._frames += 1
        if self._frames % SAMPLED == 0:
            self.tally.state_s.add(monotonic() - now_s)
        # Of a gateway's frame the good part counts: one phone behind it must not silence the rest.
        if bad and not (good and socket.owner.kind == "gateway"):
            socket.count_bad_frame()
        if self._is_behind(socket):
            self._pause(socket)

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
            # The decoded record becomes the engine's, as it is; nobody else holds it yet, so it may be completed.
            force_setattr(item, "driver_id", socket.owner.name)
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

    def _hand_in(self, socket: Socket, pings: list[Ping]) -> None:
        if not pings:
            return
        self.tally.pings += len(pings)
        if self._frames % SAMPLED == 0:
            self.tally.age_s.add(((self._phones or self.runner).now_ms() - pings[-1].fix_ms) / 1000)
        fixes = None
        if self._phones is not None:
            fixes = [ping.fix_ms for ping in pings]
            for ping in pings:
                force_setattr(ping, "fix_ms", self._on_floor(ping.fix_ms))
        self.runner.submit_pings(pings, partial(self._answer_pings, socket, pings, fixes))

    def _answer_pings(
        self, socket: Socket, pings: Sequence[Ping], fixes: Sequence[int] | None, outputs: Sequence[Output]
    ) -> None:
        """`fixes` are the phones' own `fix_ms`, where they were moved."""
        fixes = fixes or [ping.fix_ms for ping in pings]
        for ping, fix_ms, output in zip(pings, fixes, outputs, strict=True):
            if type(output) is PingTaken:
                socket.took_ping(ping.driver_id, ping.seq, fix_ms)
            elif isinstance(output, Refused):
                socket.refuse(error_about(ping, "internal", output.message, fix_ms), output.code, output.retryable)
        socket.acknowledge_soon()

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

    def _is_behind(self, socket: Socket) -> bool:
        return self.runner.backlog > self.settings.backlog_bound or socket.is_clogged

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
