"""The driver gateway (PROTOCOL §2): its sockets' lives from the door to the goodbye, and the routes they are told.

It must not know how an input is judged or stored: it speaks when the runner says that it is durable.

    handshake   door.py:    origin? -> token? -> room? -> upgrade
    opening     register the driver -> wait for what was handled before -> welcome, route -> listen
    message     intake.py:  well formed? -> whose? -> not too many? -> runner -> ack, nack
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog
from websockets.http11 import Request, Response

from streamer.core.errors import StorageError
from streamer.core.events import RouteChanged
from streamer.edge.accounts import Accounts
from streamer.edge.clock import Clock, WallClock
from streamer.edge.connection import DirectConnection
from streamer.edge.gateway.acks import AckRounds
from streamer.edge.gateway.door import Door
from streamer.edge.gateway.intake import Intake
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.gateway.routes import route_now, route_of
from streamer.edge.gateway.scope import Scope, covers
from streamer.edge.gateway.socket import Socket, Tally
from streamer.edge.runner import Heard, Runner
from streamer.edge.sockets import come_back, peer_of
from streamer.edge.wire import Close, Route, Welcome

log = structlog.get_logger("gateway")

PATH = "/v1/drivers"
SETTLE_S = 1.0
"""At the end, acks wait this long for their commit; a journal that takes longer has stopped."""
CLOSING_S = 5.0
"""Who comes while the server closes is asked to come back within this."""
CUT_S = 0.1
"""A peer that is cut off is gone so soon."""


class Gateway:
    """All driver and gateway sockets of one floor.

    Attributes:
        tally: what was counted, for `/metrics`.
        drivers: the live socket of each driver; there is never a second one.
        intake: where the messages of all sockets go.
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
        self.tally = Tally()
        self.drivers: dict[str, Socket] = {}
        self._scope = Scope(runner, accounts)
        self._door = Door(accounts, self.settings, self.tally)
        phones = self.wall if own_clock else None
        self.intake = Intake(runner, self._scope, self.settings, self.tally, phones, self._tell_route)
        self._rounds = AckRounds()
        self._sockets: dict[Socket, None] = {}
        self._gateways: dict[Socket, None] = {}
        self._closing = False
        self._accounts_version = accounts.version()
        self._watching: asyncio.Task[None] | None = None
        runner.listen(self._heard, pings=False)

    # ------------------------------------------------------------ handshake

    def check_request(self, connection: DirectConnection, request: Request) -> Response | None:
        """Lets a handshake through (None), or answers it."""
        if self._closing:
            return come_back(connection, "closing", CLOSING_S)
        return self._door.check_request(connection, request, len(self._sockets))

    @property
    def unread(self) -> int:
        """Bytes in the write buffer of the peer that is furthest behind."""
        return max((socket.unread for socket in self._sockets), default=0)

    # ------------------------------------------------------------ a socket's life

    async def handle(self, connection: DirectConnection) -> None:
        """Serves one connection that `check_request` let through, until it closes."""
        socket = Socket(connection, self._door.owner_of(connection), self.settings, self.tally, self._rounds)
        about = log.bind(kind=socket.owner.kind, name=socket.owner.name, peer=peer_of(connection))
        started_s = asyncio.get_running_loop().time()
        self._open(socket)
        about.info("socket_opened")
        try:
            await self._admit(socket)
            connection.listen(partial(self.intake.take, socket))
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
        if driver is None and self._scope.fits(owner.name):
            return partial(socket.close, Close.RESTART, "the journal cannot be written now: come again")
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

    # ------------------------------------------------------------ routes

    def _heard(self, heard: Sequence[Heard]) -> None:
        for _, outputs in heard:
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
        self.intake.hand_in()
        with suppress(StorageError, TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.runner.settled()
        if self._watching is not None:
            self._watching.cancel()
        for socket in list(self._sockets):
            socket.close(code, reason)
        lost = [socket.connection.connection_lost_waiter for socket in self._sockets]
        if lost:
            await asyncio.wait(lost, timeout=self.settings.close_timeout_s + CUT_S)

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
