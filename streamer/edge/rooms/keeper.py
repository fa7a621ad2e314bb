"""Keeps the rooms beside a live floor: starts their processes, counts them, ends those that nobody looks into.

It must not know what is in a recording or how a room plays it. A room costs the floor a pipe and a line now and then.
"""

import asyncio
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from streamer.core.errors import ConfigurationError
from streamer.edge.processes import end_child, start_child, tell_child
from streamer.edge.rooms.contract import Kind, RoomOrder, RoomSaid, RoomView
from streamer.edge.rooms.gallery import Found

log = structlog.get_logger("rooms")

MAX_ROOMS = 4
IDLE_S = 300.0
LOOK_S = 5.0
READY_S = 30.0
"""A room that has not said within this that it listens is given up."""


class TooManyRoomsError(Exception):
    """There is no place for another room; the message says which ones there are."""


class NoRoomError(Exception):
    """A room ended before it listened, or did not listen in time; the message is what it said."""


class _Room(Struct, eq=False):
    """A room as its keeper has it. `idle_s` is since when nobody reads, of the monotonic clock."""

    order: RoomOrder
    source: str
    story: str
    opened_ms: int
    opened_by: str
    child: asyncio.subprocess.Process | None = None
    port: int = 0
    readers: int = 0
    idle_s: float = 0.0
    hearing: asyncio.Task[None] | None = None

    def view(self) -> RoomView:
        """As callers see it."""
        order = self.order
        return RoomView(
            order.room, f"ws://127.0.0.1:{self.port}/v1/link", self.source, order.kind, order.name, self.story,
            order.role, order.start_ms, order.end_ms, order.start_ms if order.at_ms is None else order.at_ms,
            self.opened_ms, self.opened_by, self.readers,
        )  # fmt: skip


class Keeper:
    """The rooms of one floor."""

    def __init__(self, secret: str, max_rooms: int = MAX_ROOMS, idle_s: float = IDLE_S) -> None:
        """`secret` is that of the floor's link: rooms have the same."""
        self.max_rooms = max_rooms
        self.idle_s = idle_s
        self._secret = secret
        self._rooms: dict[str, _Room] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def views(self) -> list[RoomView]:
        """The rooms that can be looked into, oldest first."""
        return [room.view() for room in self._rooms.values() if room.port]

    def view(self, room_id: str) -> RoomView | None:
        """One of them."""
        room = self._rooms.get(room_id)
        return room.view() if room is not None and room.port else None

    async def open(self, found: Found, at_ms: int | None, opened_by: str, opened_ms: int) -> RoomView:
        """Start a room, and return when it listens.

        Raises:
            TooManyRoomsError: there are as many as there may be.
            NoRoomError: it ended instead, and why.
        """
        if len(self._rooms) >= self.max_rooms:
            raise TooManyRoomsError(self._full())
        item = found.item
        room_id = f"r-{secrets.token_hex(4)}"
        kind: Kind = item.kind
        order = RoomOrder(
            room_id, kind, item.name, str(found.path.absolute()), item.role, item.start_ms, item.end_ms, at_ms,
            tempfile.mkdtemp(prefix="mallard-room-"), opened_by,
        )  # fmt: skip
        # Its place is taken from now on, whoever else asks meanwhile.
        room = self._rooms[room_id] = _Room(order, item.id, item.story, opened_ms, opened_by, idle_s=time.monotonic())
        try:
            await asyncio.wait_for(self._start(room), READY_S)
        except BaseException as error:
            await self._end(room)
            if isinstance(error, TimeoutError):
                raise NoRoomError(f"the room was not ready within {READY_S:.0f} s") from error
            raise
        log.info("room_opened", room=room_id, source=item.id, name=opened_by)
        return room.view()

    async def close(self, room_id: str) -> bool:
        """End a room; False when there is none."""
        room = self._rooms.get(room_id)
        if room is None:
            return False
        await self._end(room)
        return True

    async def run(self) -> None:
        """End rooms that nobody has read for `idle_s`, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_S, self.idle_s))
            for room in list(self._rooms.values()):
                if room.port and not room.readers and time.monotonic() - room.idle_s >= self.idle_s:
                    log.info("room_idle", room=room.order.room)
                    await self._end(room)

    async def end_all(self) -> None:
        """End every room; when this returns, none of their processes is left."""
        await asyncio.gather(*(self._end(room) for room in list(self._rooms.values())))
        await asyncio.gather(*self._ending)

    # ------------------------------------------------------------ one process

    async def _start(self, room: _Room) -> None:
        room.child = await start_child("streamer.edge.rooms", {"MALLARD_LINK_SECRET": self._secret})
        await tell_child(room.child, msgspec.json.encode(room.order))
        said = await self._hear(room)
        if said is None or said.port is None:
            raise NoRoomError((said and said.problem) or "the room ended while starting")
        room.port, room.idle_s = said.port, time.monotonic()
        room.hearing = asyncio.create_task(self._hear_on(room))

    async def _hear(self, room: _Room) -> RoomSaid | None:
        assert room.child is not None
        assert room.child.stdout is not None
        line = await room.child.stdout.readline()
        return msgspec.json.decode(line, type=RoomSaid) if line else None

    async def _hear_on(self, room: _Room) -> None:
        """Hear how many read, until the process ends, be it by itself."""
        while (said := await self._hear(room)) is not None:
            if said.readers is not None:
                room.readers, room.idle_s = said.readers, time.monotonic()
        if room.order.room in self._rooms:
            log.warning("room_ended_by_itself", room=room.order.room)
            room.hearing = None
            await self._end(room)

    async def _end(self, room: _Room) -> None:
        self._rooms.pop(room.order.room, None)
        if room.hearing is not None:
            room.hearing.cancel()
        if room.child is None:
            shutil.rmtree(room.order.folder, ignore_errors=True)
        else:
            # A task of its own: whoever asked for the end may be cancelled, and the process must end all the same.
            ending = asyncio.create_task(self._end_child(room, room.child))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)

    async def _end_child(self, room: _Room, child: asyncio.subprocess.Process) -> None:
        if child.stdin is not None:
            child.stdin.close()
        await end_child(child)
        # Nothing is left to remove, unless the room was killed.
        await asyncio.to_thread(shutil.rmtree, room.order.folder, ignore_errors=True)
        log.info("room_closed", room=room.order.room)

    def _full(self) -> str:
        rooms = ", ".join(f"{room.order.name} ({room.opened_by})" for room in self._rooms.values())
        return (
            f"{len(self._rooms)} replay rooms are open, which is all there may be: {rooms}. Close one, or wait: a room "
            f"that nobody looks into ends after {self.idle_s / 60:.0f} min"
        )


def fixture_folder(path: Path) -> Path:
    """A folder that an operator named for fixtures.

    Raises:
        ConfigurationError: there is none.
    """
    if not path.is_dir():
        raise ConfigurationError(f"there is no directory {path}: --fixtures names one with NAME.ndjson.zst files in it")
    return path
