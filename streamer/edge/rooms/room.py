"""One room: a whole floor of its own on a port of its own, that plays a recording.

It must not know the live floor it stands beside, nor who keeps it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
from argon2 import PasswordHasher
from websockets.asyncio.server import Server
from websockets.http11 import Request, Response

from streamer.core.errors import ConfigurationError
from streamer.core.snapshot import dump_state
from streamer.edge import link
from streamer.edge.accounts import Accounts
from streamer.edge.autopilot import Autopilot
from streamer.edge.clock import WallClock
from streamer.edge.connection import DirectConnection
from streamer.edge.desk.desk import Desk
from streamer.edge.feed import Feed
from streamer.edge.frames import Sign
from streamer.edge.journal.contract import SCHEMA, JournalHeader, Snapshot
from streamer.edge.link import Link
from streamer.edge.rooms.calls import RoomCalls, table_of_room
from streamer.edge.rooms.contract import RoomOrder
from streamer.edge.rooms.forking import Forks
from streamer.edge.rooms.index import Index
from streamer.edge.rooms.player import Player, RoomClock, RoomJournal
from streamer.edge.rooms.recording import FixtureRecording, JournalRecording, Recording
from streamer.edge.runner import Runner
from streamer.edge.sockets import serve_sockets

log = structlog.get_logger("room")

LOOPBACK = "127.0.0.1"
PATIENCE_S = 2.0
"""Whoever opens a room waits no longer than this for the instant it is to be at; it is on its way there then."""
TELL_S = 0.5
"""How often it is looked whether the number of readers has changed."""


class Room:
    """A runner, feed, desk and link of its own, and the transport that moves them."""

    def __init__(self, order: RoomOrder, folder: Path, secret: str) -> None:
        """Unpacks the recording into `folder`, which is the room's own and removed with it by its owner.

        Raises:
            ConfigurationError: the recording is damaged, foreign, too new, or its malls are none.
            StorageError: the journal cannot be read.
            OSError: `folder` cannot be written to.
        """
        self.order = order
        recording = open_recording(order, folder)
        self.index = Index(recording, folder)
        _, engine = self.index.state_at(0)
        header = JournalHeader(SCHEMA, recording.malls, recording.settings, "a replay room", recording.start_ms)
        journal = RoomJournal(header)
        journal.append(Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state)))
        clock = RoomClock(recording.start_ms)
        self.runner = Runner(engine, journal, clock)
        # A recording has its own plans; nobody asks for others here, and no process is kept ready for them.
        autopilot = Autopilot(self.runner, may_decide=False)
        sign = Sign("replay", 1.0, order.name)
        self.feed = Feed(self.runner, sign, autopilot.mode)
        # Nobody logs in here, so the one password it hashes, of nobody, may cost nothing.
        self.accounts = Accounts(folder, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        desk = Desk(self.runner, self.accounts, WallClock(), autopilot=autopilot)
        self.player = Player(self.runner, self.index, clock, sign, self.feed)
        self.forks = Forks(self.player)
        desk.table = table_of_room(desk.table, RoomCalls(self.player, self.forks, order.opened_by), order.role)
        self.link = Link(desk, self.feed, secret)
        self.port = 0
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Listen, and go to where the order says; without an instant play from the beginning.

        Raises:
            ConfigurationError: the recording cannot be read up to there.
        """
        await self.runner.start()
        self._tasks = [asyncio.create_task(part.run()) for part in (self.index, self.player, self.feed)]
        start_ms = self.index.recording.start_ms
        at_ms = self.order.at_ms
        await self.player.seek(start_ms if at_ms is None else at_ms, PATIENCE_S)
        if at_ms is None:
            await self.player.play()
        self._server = await serve_sockets(self._handle, self._check, LOOPBACK, 0)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def close(self) -> None:
        """End every socket and task, and let go of the files."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.forks.close()
        await self.player.close()
        if self._server is not None:
            self._server.close()
            for connection in list(self._server.all_connections):
                connection.transport.abort()
            await self._server.wait_closed()
        await self.runner.stop()
        self.accounts.close()

    async def tell_readers(self, told: Callable[[int], None]) -> None:
        """Call `told` with the number of links that are open, whenever that has changed."""
        before = -1
        while True:
            if self.link.readers != before:
                before = self.link.readers
                told(before)
            await asyncio.sleep(TELL_S)

    def _check(self, connection: DirectConnection, request: Request) -> Response | None:
        if request.path.partition("?")[0] != link.PATH:
            return connection.respond(404, f"a replay room has one socket: {link.PATH}\n")
        return self.link.check_request(connection, request)

    async def _handle(self, connection: DirectConnection) -> None:
        await self.link.handle(connection)


def open_recording(order: RoomOrder, folder: Path) -> Recording:
    """What an order says is to be played.

    Raises:
        ConfigurationError: it is damaged, foreign, too new, or nothing was recorded in this time.
        StorageError: the journal cannot be read.
    """
    if order.end_ms <= order.start_ms:
        raise ConfigurationError("nothing was recorded in this time yet")
    if order.kind == "journal":
        return JournalRecording(Path(order.path), order.start_ms, order.end_ms)
    return FixtureRecording(Path(order.path), folder, order.end_ms)
