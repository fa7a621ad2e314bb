"""The driver gateway (PROTOCOL §2): checks who calls, hands messages to the runner, tells drivers their routes.

It must not know how an input is judged or stored: it submits, and speaks when the runner says it is durable.

    handshake   origin? -> token? -> upgrade
    opening     register the driver -> wait for what was handled before -> welcome, route -> listen
    message     well formed? -> whose? -> not too many? -> runner -> ack, nack
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from weakref import WeakKeyDictionary

import structlog
from msgspec.structs import force_setattr
from websockets.http11 import Request, Response

from streamer.core.errors import StorageError
from streamer.core.events import Output, Ping, PingTaken, Refused, Report, ReportTaken, RouteChanged
from streamer.edge.accounts import Accounts, TokenOwner
from streamer.edge.clock import Clock, WallClock
from streamer.edge.connection import DirectConnection
from streamer.edge.gateway.limits import GatewaySettings, TokenBucket
from streamer.edge.gateway.routes import route_now, route_of
from streamer.edge.gateway.scope import Scope, covers, error_about
from streamer.edge.gateway.socket import Socket, Tally
from streamer.edge.runner import Heard, Runner
from streamer.edge.sockets import bearer_of, come_back, origin_allowed, peer_of, unauthorized
from streamer.edge.wire import Close, Route, Welcome, WireError, decode_frame

log = structlog.get_logger("gateway")

PATH = "/v1/drivers"
LAST_INSTANT_MS = 2**53
SETTLE_S = 1.0
"""At the end, acks wait this long for their commit; a journal that takes longer has stopped."""
RUSH_S = 10.0
FULL_S = 30.0
"""Those turned away in a rush come back within the first, those who find all places taken within the second."""
PAUSE_S = 0.01
"""While the journal or the peer is behind, a socket that waits to be read is looked at again this often."""


class Gateway:
    """All driver and gateway sockets of one floor.

    Attributes:
        tally: what was counted, for `/metrics`.
        drivers: the live socket of each driver; there is never a second one.
    """

    def __init__(
        self, runner: Runner, accounts: Accounts, settings: GatewaySettings | None = None, *,
        own_clock: bool = False, wall: Clock | None = None,
    ) -> None:  # fmt: skip
        """`own_clock`: the floor does not run on the wall's clock (a replay), but phones do; their instants are then
        moved by the difference as they come in.
        """
        self.runner = runner
        self.accounts = accounts
        self.settings = settings or GatewaySettings()
        self.wall = wall or WallClock()
        self._scope = Scope(runner, accounts)
        self.tally = Tally()
        self.drivers: dict[str, Socket] = {}
        self._own_clock = own_clock
        self._sockets: dict[Socket, None] = {}
        self._gateways: dict[Socket, None] = {}
        self._callers: WeakKeyDictionary[DirectConnection, TokenOwner] = WeakKeyDictionary()
        self._buckets: dict[str, TokenBucket] = {}
        self._handshakes: TokenBucket | None = None
        self._closing = False
        self._accounts_version = accounts.version()
        self._watching: asyncio.Task[None] | None = None
        runner.listen(self._heard)

    # ------------------------------------------------------------ handshake

    def check_request(self, connection: DirectConnection, request: Request) -> Response | None:
        """Lets a handshake through (None), or answers it: 403 for a foreign page, 401 without a good token, 503 in a
        rush.
        """
        if self._closing:
            return connection.respond(503, "closing\n")
        if not origin_allowed(request.headers, self.settings.origins):
            self.tally.refused += 1
            return connection.respond(403, "this origin may not connect\n")
        token = bearer_of(request.headers)
        try:
            owner = self.accounts.owner(token) if token else None
        except StorageError:
            return connection.respond(503, "tokens cannot be checked now\n")
        if owner is None or owner.kind == "api":
            self.tally.refused += 1
            return unauthorized(connection, "a driver's or a gateway's token is needed, and not a revoked one")
        # After the token, so that strangers cannot use up the places of drivers.
        rush_s = self._rush_s()
        if rush_s > 0:
            self.tally.turned_away += 1
            return come_back(connection, "too many sockets are being opened, or are open", rush_s)
        if not connection.claim():
            self.tally.refused += 1
            return connection.respond(400, "wait for the answer to the handshake before you send\n")
        self._callers[connection] = owner
        return None

    def _rush_s(self) -> float:
        """Over how many seconds those who want in now should spread out; 0 when there is room."""
        now_s = asyncio.get_running_loop().time()
        if self._handshakes is None:
            self._handshakes = TokenBucket(self.settings.handshakes_per_s, self.settings.handshakes_burst, now_s)
        if len(self._sockets) >= self.settings.max_sockets:
            return FULL_S
        return 0.0 if self._handshakes.take(now_s) else RUSH_S

    @property
    def unread(self) -> int:
        """Bytes in the write buffer of the peer that is furthest behind."""
        return max((socket.unread for socket in self._sockets), default=0)

    # ------------------------------------------------------------ a socket's life

    async def handle(self, connection: DirectConnection) -> None:
        """Serves one connection that `check_request` let through, until it closes."""
        socket = Socket(connection, self._callers[connection], self.settings, self.tally)
        about = log.bind(kind=socket.owner.kind, name=socket.owner.name, peer=peer_of(connection))
        started_s = asyncio.get_running_loop().time()
        self._open(socket)
        about.info("socket_opened")
        try:
            await self._admit(socket)
            connection.listen(partial(self._take_message, socket))
            await connection.ended(self.settings.close_timeout_s)
            if connection.fault is not None:
                about.error("socket_failed", exc_info=connection.fault)
        finally:
            self._forget(socket)
            seconds = round(asyncio.get_running_loop().time() - started_s, 3)
            about.info(
                "socket_closed", code=connection.close_code, seconds=seconds, taken=socket.taken, refused=socket.refused
            )

    def _open(self, socket: Socket) -> None:
        self.tally.opened += 1
        self._sockets[socket] = None
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch_tokens())

    def _forget(self, socket: Socket) -> None:
        socket.left()
        self._sockets.pop(socket, None)
        self._gateways.pop(socket, None)
        if self.drivers.get(socket.owner.name) is socket:
            del self.drivers[socket.owner.name]
        self.tally.closed[socket.connection.close_code or Close.ABNORMAL] += 1

    async def _admit(self, socket: Socket) -> None:
        """Says welcome once everything it tells is durable; from then on the socket hears what changes.

        What is told is read before the barrier and said after it, and the socket joins in that same step: changes
        made in between are told after the welcome, and none is missed or told twice.
        """
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def prepare() -> None:
            greet = self._greeting(socket)

            def say() -> None:
                greet()
                if not admitted.done():
                    admitted.set_result(None)

            # If the commit fails, the engine goes back to what is durable: read that, and say it.
            self.runner.barrier(say, prepare)

        if socket.owner.kind == "driver":
            self._scope.register(socket.owner.name)
        prepare()
        # Without the others a peer that gave up would be waited for as long as the journal is stuck.
        ends = (socket.connection.connection_lost_waiter, socket.connection.ending)
        await asyncio.wait((admitted, *ends), return_when=asyncio.FIRST_COMPLETED)

    def _greeting(self, socket: Socket) -> Callable[[], None]:
        owner, server_ms = socket.owner, self.wall.now_ms()
        if owner.kind == "gateway":
            return partial(self._join_gateway, socket, Welcome(None, server_ms, None, owner.name))
        driver = self.runner.engine.state.drivers.get(owner.name)
        if driver is None:
            return partial(socket.close, Close.NOT_YOURS, "this driver's malls are not on this floor")
        welcome = Welcome(driver.id, server_ms, driver.last_seq)
        return partial(self._join_driver, socket, welcome, route_now(self.runner.engine, driver))

    def _join_gateway(self, socket: Socket, welcome: Welcome) -> None:
        socket.send(welcome)
        self._gateways[socket] = None

    def _join_driver(self, socket: Socket, welcome: Welcome, route: Route) -> None:
        if not socket.is_open:
            return
        older = self.drivers.get(socket.owner.name)
        if older is not None:
            older.close(Close.SUPERSEDED, "the driver opened a newer socket")
        self.drivers[socket.owner.name] = socket
        socket.send(welcome)
        socket.send(route)

    # ------------------------------------------------------------ messages

    def _take_message(self, socket: Socket, message: bytes) -> None:
        """Reads one message; its pings go to the runner together, as far as no report stands between them."""
        now_s = asyncio.get_running_loop().time()
        pings: list[Ping] = []
        flawless = True
        for item in decode_frame(message):
            if not socket.is_open:
                break
            if isinstance(item, WireError):
                flawless = False
                socket.refuse(item)
            elif self._may_enter(socket, item, now_s):
                if isinstance(item, Ping):
                    pings.append(item)
                else:
                    self._hand_in(socket, pings)
                    pings = []
                    self._hand_in_report(socket, item)
        self._hand_in(socket, pings)
        self.tally.state_s.add(asyncio.get_running_loop().time() - now_s)
        if not flawless:
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
                refused = self._first_word(socket, item, now_s)
            if refused is not None:
                socket.refuse(refused)
                if socket.owner.kind == "driver":
                    socket.close(Close.NOT_YOURS, "a message names another driver")
                return False
            bucket = socket.voices[item.driver_id]
        if not item.driver_id:
            # The decoded record becomes the engine's, as it is; nobody else holds it yet, so it may be completed.
            force_setattr(item, "driver_id", socket.owner.name)
        if bucket.take(now_s):
            return True
        socket.limit(error_about(item, "rate_limited", f"more than {self.settings.messages_per_s:g} messages a second"))
        return False

    def _first_word(self, socket: Socket, item: Ping | Report, now_s: float) -> WireError | None:
        """A driver is spoken for the first time on this socket: by a gateway, there is an end to how many."""
        driver_id = item.driver_id or socket.owner.name
        if socket.owner.kind == "gateway":
            most = self.settings.gateway_drivers
            if len(socket.voices) >= most:
                return error_about(item, "overloaded", f"a gateway's socket speaks for up to {most} drivers")
            self._tell_route(socket, driver_id)
        bucket = self._buckets.get(driver_id)
        if bucket is None:
            bucket = TokenBucket(self.settings.messages_per_s, self.settings.messages_burst, now_s)
            self._buckets[driver_id] = bucket
        socket.voices[item.driver_id] = bucket
        return None

    def _hand_in(self, socket: Socket, pings: list[Ping]) -> None:
        if not pings:
            return
        self.tally.pings += len(pings)
        fixes = [ping.fix_ms for ping in pings]
        self.tally.age_s.add((self.wall.now_ms() - fixes[-1]) / 1000)
        if self._own_clock:
            for ping in pings:
                force_setattr(ping, "fix_ms", self._on_floor(ping.fix_ms))
        self.runner.submit_pings(pings, partial(self._answer_pings, socket, pings, fixes))

    def _answer_pings(
        self, socket: Socket, pings: Sequence[Ping], fixes: Sequence[int], outputs: Sequence[Output]
    ) -> None:
        for ping, fix_ms, output in zip(pings, fixes, outputs, strict=True):
            if isinstance(output, PingTaken):
                socket.took_ping(ping.driver_id, ping.seq, fix_ms)
            elif isinstance(output, Refused):
                socket.refuse(error_about(ping, "internal", output.message, fix_ms), output.code, output.retryable)

    def _hand_in_report(self, socket: Socket, report: Report) -> None:
        self.tally.reports += 1
        fix_ms = report.fix_ms
        if self._own_clock:
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
        """Stops reading a socket, which is the only way to slow a sender down, until all have caught up.

        Looked at again and again, since neither the journal nor the write buffer says when.
        """
        self.tally.pauses += 1
        socket.connection.hold()
        asyncio.get_running_loop().call_later(PAUSE_S, self._look_again, socket)

    def _look_again(self, socket: Socket) -> None:
        if not socket.is_open:
            return
        if self._is_behind(socket):
            asyncio.get_running_loop().call_later(PAUSE_S, self._look_again, socket)
        else:
            socket.connection.go_on()

    def _on_floor(self, fix_ms: int) -> int:
        moved_ms = fix_ms + self.runner.now_ms() - self.wall.now_ms()
        return min(max(moved_ms, 0), LAST_INSTANT_MS)

    # ------------------------------------------------------------ routes

    def _heard(self, heard: Sequence[Heard]) -> None:
        for item, outputs in heard:
            if type(item) is Ping and len(outputs) == 1:
                continue  # Nearly all are, and a ping alone moves no route.
            for output in outputs:
                if isinstance(output, RouteChanged):
                    self._push(output)

    def _push(self, changed: RouteChanged) -> None:
        socket = self.drivers.get(changed.driver_id)
        if socket is not None:
            socket.send(route_of(self.runner.engine, changed.assignment, changed.stops))
            return
        driver = self.runner.engine.state.drivers[changed.driver_id]
        for gateway in self._gateways:
            if covers(gateway.owner, driver):
                gateway.send(route_of(self.runner.engine, changed.assignment, changed.stops, driver.id))

    def _tell_route(self, socket: Socket, driver_id: str) -> None:
        """A gateway that speaks for a driver the first time, as after a reconnect, may have missed its route."""
        driver = self.runner.engine.state.drivers.get(driver_id)
        if driver is not None and driver.route:
            route = route_now(self.runner.engine, driver, driver_id)
            self.runner.barrier(partial(socket.send, route))

    # ------------------------------------------------------------ ending sockets

    async def close(self, code: Close = Close.RESTART, reason: str = "the server restarts") -> None:
        """Ends every socket, with the acks that are due; returns when all are gone, cut off if they have to be."""
        self._closing = True
        with suppress(StorageError, TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.runner.settled()
        if self._watching is not None:
            self._watching.cancel()
        for socket in list(self._sockets):
            socket.close(code, reason)
        lost = [socket.connection.connection_lost_waiter for socket in self._sockets]
        if lost:
            await asyncio.wait(lost, timeout=self.settings.close_timeout_s + PAUSE_S)

    async def _watch_tokens(self) -> None:
        """Closes sockets whose token is revoked, by this program or by `mallard token` beside it."""
        while True:
            await asyncio.sleep(self.settings.watch_interval_s)
            # A storage fault here is the journal's to report; the next look may succeed.
            with suppress(StorageError):
                self._close_revoked()

    def _close_revoked(self) -> None:
        version = self.accounts.version()
        if version == self._accounts_version:
            return
        for socket in list(self._sockets):
            if not self.accounts.is_live(socket.owner.digest):
                socket.close(Close.UNAUTHENTICATED, "this token was revoked")
        self._accounts_version = version
