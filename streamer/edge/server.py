"""Puts the parts of the streamer together behind one port, runs them, and takes them apart again.

It must not know the command line, nor what any of the parts does.
"""

import asyncio
import errno
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace
from websockets.asyncio.server import Server
from websockets.http11 import Request, Response

from streamer.core.errors import ConfigurationError, MallFileError
from streamer.core.malls import Floor, parse_malls
from streamer.core.settings import AutopilotMode, Settings
from streamer.edge import link
from streamer.edge.accounts import Accounts
from streamer.edge.autopilot import Autopilot
from streamer.edge.clock import WallClock
from streamer.edge.connection import DirectConnection
from streamer.edge.desk.counters import Counters
from streamer.edge.desk.desk import Desk
from streamer.edge.feed import Feed
from streamer.edge.frames import Sign
from streamer.edge.gateway import gateway
from streamer.edge.gateway.gateway import Gateway
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.journal import retention
from streamer.edge.journal.contract import SCHEMA, JournalHeader, StorageFullError
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.lab.desk import LabDesk
from streamer.edge.link import Link, link_secret
from streamer.edge.pulse import Pulse
from streamer.edge.recordings.fixtures import FOLDERS, demo_malls_path
from streamer.edge.resources import quieten_collector, socket_room
from streamer.edge.rooms.desk import RoomDesk
from streamer.edge.rooms.gallery import Gallery
from streamer.edge.rooms.keeper import Keeper
from streamer.edge.runner import Runner
from streamer.edge.sockets import serve_sockets
from streamer.edge.travel_http import RoadTimes, RoutingRules
from streamer.edge.wire import Close

log = structlog.get_logger("server")

PROBES = frozenset({"/healthz", "/readyz"})
GOODBYE_S = 1.0
"""A dashboard that does not agree to the end within this is cut off: it may not be reading at all."""
DRAIN_S = 5.0
"""A stop takes no longer; whoever has not been told by then asks again."""
LOOPBACK = "127.0.0.1"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Streamer:
    """Gateway, feed, desk, link and autopilot of one runner, on one port."""

    def __init__(
        self, runner: Runner, accounts: Accounts, secret: str, sign: Sign | None = None, origins: tuple[str, ...] = (),
        mode: AutopilotMode | None = None, rooms: RoomDesk | None = None, routing: RoutingRules | None = None,
        lab: LabDesk | None = None,
    ) -> None:  # fmt: skip
        """`origins` are those of pages that may open driver sockets; a page also needs a token.

        `mode` is the autopilot's where nobody has set one; None: that of the settings. On a recording it only suggests.

        `rooms` are the replay rooms beside this floor, `lab` its policy lab.
        """
        self.runner = runner
        self.accounts = accounts
        by_roads = routing is not None and routing.kind != "model"
        roads = RoadTimes(routing, runner.engine.planner.travel) if routing is not None and by_roads else None
        self.autopilot = Autopilot(runner, mode, may_decide=sign is None or sign.mode == "live", roads=roads)
        self.feed = Feed(runner, sign, self.autopilot.mode)
        wall = WallClock()
        self.pulse = Pulse()
        settings = GatewaySettings(origins=origins)
        settings = replace(settings, max_sockets=socket_room(settings.max_sockets))
        self.gateway = Gateway(runner, accounts, settings, own_clock=self.feed.sign.mode == "replay", wall=wall)
        counters = Counters(runner, self.gateway.tally, self.pulse, self._unread, self.autopilot)
        self.rooms = rooms
        self.lab = lab
        besides = {name: entry for part in (rooms, lab) if part is not None for name, entry in part.table.items()}
        desk = Desk(runner, accounts, wall, counters, self.autopilot, besides)
        self.link = Link(desk, self.feed, secret)
        self.port = 0
        self._doors: dict[str, Gateway | Link] = {gateway.PATH: self.gateway, link.PATH: self.link}
        self._server: Server | None = None
        self._beats: list[asyncio.Task[None]] = []

    async def open(self, host: str, port: int) -> None:
        """Listen on `port` (0: any free one, see `self.port`) and start the feed.

        Raises:
            ConfigurationError: the port is in use, or may not be used.
        """
        try:
            self._server = await serve_sockets(self._handle, self._check, host, port)
        except OSError as error:
            raise port_fault(error, port) from error
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._beats = [asyncio.create_task(part.run()) for part in (self.feed, self.pulse, self.autopilot)]
        if self.rooms is not None:
            self._beats.append(asyncio.create_task(self.rooms.keeper.run()))

    async def close(self) -> None:
        """Let nobody in, tell everybody what is due, and end every socket."""
        for beat in self._beats:
            beat.cancel()
        await self.autopilot.close()
        if self.rooms is not None:
            await self.rooms.keeper.end_all()
        if self.lab is not None:
            await self.lab.lab.close()
        if self._server is not None:
            await self.gateway.close()
            self._server.close(code=Close.RESTART, reason="the server restarts")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), GOODBYE_S)
            for connection in list(self._server.all_connections):
                connection.transport.abort()
            await self._server.wait_closed()

    def _unread(self) -> int:
        return max(self.gateway.unread, self.link.unread)

    def _probed(self, connection: DirectConnection, path: str) -> Response:
        """What a supervisor of this process alone is answered; the dashboard's `/readyz` asks here by the link."""
        if path == "/healthz":
            return connection.respond(200, "ok\n")
        runner = self.runner
        writable = not runner.full and runner.fault is None
        return connection.respond(200, "ready\n") if writable else connection.respond(503, "cannot write the journal\n")

    def _check(self, connection: DirectConnection, request: Request) -> Response | None:
        if request.path in PROBES:
            return self._probed(connection, request.path)
        door = self._doors.get(request.path.partition("?")[0])
        if door is None:
            known = f"sockets are {', '.join(self._doors)}; pages, REST and /metrics are on the dashboard's port"
            return connection.respond(404, f"there is no {request.path[:100]} here: {known}\n")
        return door.check_request(connection, request)

    async def _handle(self, connection: DirectConnection) -> None:
        assert connection.request is not None
        await self._doors[connection.request.path.partition("?")[0]].handle(connection)


class LiveOptions(Struct, frozen=True, kw_only=True):
    """How a live floor is run. `malls` None: those of the journal, or the demo malls for a new one.

    `origins` are those of pages that may open driver sockets; `retention_days` is how long raw pings are kept;
    `routing` is where plans get their driving times from; `fixtures` are the folders of what can be replayed beside it.
    """

    data: Path
    malls: Path | None = None
    settings: Settings | None = None
    host: str = LOOPBACK
    port: int = 8765
    origins: tuple[str, ...] = ()
    retention_days: int = retention.DAYS
    autopilot: AutopilotMode | None = None
    """Its mode at malls where nobody has set one; None: that of the journal's settings."""
    routing: RoutingRules = RoutingRules()
    fixtures: tuple[Path, ...] = FOLDERS


def origins_of(dashboard_port: int) -> tuple[str, ...]:
    """The origins of a dashboard's own pages, as a browser on this machine names them."""
    return tuple(f"http://{host}:{dashboard_port}" for host in (LOOPBACK, "localhost"))


async def run_live(options: LiveOptions, beside: Callable[[Streamer], Awaitable[None]] | None = None) -> None:
    """Run a live floor until SIGINT, SIGTERM or SIGHUP.

    `beside` runs with it; when it ends, or raises, so does the floor.

    Raises:
        ConfigurationError: something given by the operator is wrong.
        StorageError: the journal cannot be used any more.
    """
    stop_while_starting()
    journal = open_journal(options)
    accounts = Accounts(options.data)
    try:
        recovered = recover(journal)
        log.info("recovered", seq=recovered.engine.state.seq, replayed=recovered.replayed)
        runner = Runner(recovered.engine, journal, WallClock(), recovered.snapshot_seq)
        secret = link_secret(options.data)
        gallery = Gallery(options.fixtures)
        rooms = RoomDesk(runner, Keeper(secret), gallery, options.data)
        streamer = Streamer(
            runner, accounts, secret, origins=options.origins, mode=options.autopilot, rooms=rooms,
            routing=options.routing, lab=LabDesk(runner, gallery),
        )  # fmt: skip
    except BaseException:
        journal.close()
        accounts.close()
        raise
    try:
        await runner.start(ticking=True)
        quieten_collector()
        await streamer.open(options.host, options.port)
        log.info("listening", host=options.host, port=streamer.port)
        await run_until_stopped(runner, beside(streamer) if beside else None)
    finally:
        await shut_down(streamer, runner, accounts)


def stop_while_starting() -> None:
    """Until `run_until_stopped` takes over, let a signal to stop cancel the program, so that it still tidies up."""
    task = asyncio.current_task()
    assert task is not None
    for number in STOPS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def run_until_stopped(runner: Runner, beside: Awaitable[object] | None) -> None:
    """Return on a signal to stop or when `beside` ends.

    Raises:
        StorageError: the journal failed for good.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPS:
        loop.add_signal_handler(number, stopped.set)
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait()) for event in (stopped, runner.broken)]
    if beside is not None:
        waits.append(asyncio.ensure_future(beside))
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if runner.fault is not None:
        raise runner.fault


async def shut_down(streamer: Streamer, runner: Runner, accounts: Accounts) -> None:
    """Close the sockets, make everything durable, let go of the files; all within `DRAIN_S` or so.

    Raises:
        StorageError: the journal failed for good, be it only now.
    """
    with suppress(TimeoutError):
        await asyncio.wait_for(streamer.close(), DRAIN_S)
    try:
        # A full disk is no fault: it was logged, and what it took back was never acknowledged.
        with suppress(StorageFullError):
            await runner.stop()
    finally:
        accounts.close()
    if runner.fault is not None:
        raise runner.fault


def open_journal(options: LiveOptions) -> SqliteJournal:
    """Open the journal of a live floor, or begin it.

    Raises:
        ConfigurationError: it was begun with other malls or settings, or another program runs on it.
        StorageError: it cannot be read.
    """
    floor = read_malls(options.malls) if options.malls is not None else None
    malls = (floor or read_malls(demo_malls_path())).geojson()
    header = JournalHeader(SCHEMA, malls, options.settings or Settings(), "mallard serve", WallClock().now_ms())
    journal = SqliteJournal(options.data, header, retention_days=options.retention_days)
    if journal.cut is not None:
        log.error("journal_tail_lost", path=str(journal.path), **msgspec.structs.asdict(journal.cut))
    differs = None
    if floor is not None and journal.header.malls != msgspec.to_builtins(malls):
        differs = "malls"
    elif options.settings is not None and journal.header.settings != options.settings:
        differs = "settings"
    if differs is not None:
        journal.close()
        raise ConfigurationError(
            f"the journal in {options.data} was begun with other {differs}: its replay would differ; name a new --data"
        )
    return journal


def read_malls(path: Path) -> Floor:
    """Read a malls file.

    Raises:
        ConfigurationError: it cannot be read, is no JSON, or a feature is wrong, or names a time zone that nobody
            knows (`MallFileError` names it).
    """
    try:
        collection: Any = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read malls from {path}: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    floor = parse_malls(collection)
    # Here and not in `parse_malls`: the core opens no files, and a recording must replay without a zone database.
    known = available_timezones()
    for mall in floor.malls.values():
        if mall.timezone not in known:
            raise MallFileError(f"mall {mall.id}", f"its timezone {mall.timezone!r} is not in the time zone database")
    return floor


def port_fault(error: OSError, port: int) -> ConfigurationError:
    """The one line about a port that cannot be listened on."""
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(f"port {port} is in use: stop what listens there, or choose another")
    return ConfigurationError(f"cannot listen on port {port}: {error.strerror or error}")
