"""The rooms that somebody here looks into: one link and one relay each, opened when asked for, closed when left.

It must not know what a room shows. Which rooms there are, and for whom, the live floor says; a room is served like it.
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from dashboard.auth.principal import Principal
from dashboard.feed import Feed
from dashboard.link import Link
from dashboard.relay import Relay

log = structlog.get_logger()

HEADER: Final = "x-mallard-room"
"""Names the room that a request is about; without it, it is about the live floor."""
QUERY: Final = "room"
"""The same for a socket: a browser cannot set headers there."""
CLOSED_SOCKET: Final = 4404
CLOSED_WORDS: Final = "this replay was closed; open it again"
FRESH_S = 5.0
"""Seconds for which the live floor's word holds that somebody may look into a room."""
STALE_S = 60.0
"""Seconds for which it holds while the live floor cannot be asked."""
OPEN_S = 5.0
"""Seconds a room has to answer; it listens before anybody is told of it."""
UNUSED_S = 60.0
"""Seconds without a reader or request after which a room is left: it ends by itself once nobody reads it."""
LOOK_S = 5.0
_NAME = re.compile(r"[\w-]{1,64}")


class RoomRefused(Exception):  # noqa: N818 - an answer on its way out, not a fault
    """There is no such room for whoever asks, or it cannot be reached: `status`, `code` and words for a problem."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Listed(Struct, frozen=True):
    """A room as the live floor lists it. `source` is what it plays; the rest names it for people."""

    room: str
    url: str
    source: str = ""
    name: str = ""
    story: str = ""


class _Rooms(Struct, frozen=True):
    items: tuple[Listed, ...] = ()


class Room:
    """One room that is looked into from here."""

    def __init__(self, listed: Listed, secret: str, clock: Callable[[], float]) -> None:
        self.listed = listed
        self.feed = Feed()
        self.relay = Relay(self.feed)
        self.link = Link(listed.url, secret, self.feed, self.relay.publish)
        self.allowed: dict[Principal, float] = {}
        """When the live floor last said of somebody that he may look."""
        self.keeping: asyncio.Task[None] | None = None
        self._clock = clock
        self.used_s = clock()

    @property
    def is_used(self) -> bool:
        """Whether somebody reads it, or asked something of late."""
        return self.relay.readers > 0 or self._clock() - self.used_s < UNUSED_S


class Rooms:
    """All of them. They have the secret of the live floor's link.

    Args:
        live: the link to the live floor, which opens rooms and lists them.
        clock: monotonic seconds.
    """

    def __init__(self, live: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._clock = clock
        self._open: dict[str, Room] = {}

    async def enter(self, name: str, principal: Principal) -> Room:
        """The room, its link open.

        Raises:
            RoomRefused: 410 `room_closed` when there is none for this principal (any more), 503 `link_lost` when
                nobody can say, or the room does not answer.
        """
        room = await self._find(name, principal)
        room.used_s = self._clock()
        if not await room.link.wait_up(OPEN_S):
            raise RoomRefused(503, "link_lost", "this replay does not answer; try again in a moment")
        return room

    async def close(self) -> None:
        """Leaves every room."""
        tasks = [room.keeping for room in self._open.values() if room.keeping is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, name: str, principal: Principal) -> Room:
        room = self._open.get(name)
        said_s = room.allowed.get(principal) if room else None
        if room is not None and said_s is not None and self._clock() - said_s < FRESH_S:
            return room
        reply = await self._live.call("rooms", {}, principal)
        if reply.status in {503, 504}:
            if room is not None and said_s is not None and self._clock() - said_s < STALE_S:
                return room
            raise RoomRefused(503, "link_lost", "the floor cannot be asked about this replay; try again in a moment")
        items = msgspec.convert(reply.body, _Rooms).items if reply.ok else ()
        listed = next((item for item in items if item.room == name and _NAME.fullmatch(name)), None)
        if listed is None:
            raise RoomRefused(410, "room_closed", CLOSED_WORDS)
        # Nothing is awaited from here on, so that two requests at once open one link.
        room = self._open.get(name) or self._start(listed)
        room.allowed[principal] = self._clock()
        return room

    def _start(self, listed: Listed) -> Room:
        room = self._open[listed.room] = Room(listed, self._live.secret, self._clock)
        room.keeping = asyncio.create_task(self._keep(room), name=f"room {listed.room}")
        return room

    async def _keep(self, room: Room) -> None:
        """Holds the link for as long as the room lives and somebody uses it."""
        log.info("room entered", room=room.listed.room, source=room.listed.source)
        try:
            async with room.link:
                if await room.link.wait_up(OPEN_S):
                    while room.is_used and not await room.link.wait_down(LOOK_S):
                        pass
        finally:
            del self._open[room.listed.room]
            room.relay.end()
            log.info("room left", room=room.listed.room)


_room: ContextVar[Room | None] = ContextVar("mallard_room", default=None)
bind_room = _room.set
unbind_room = _room.reset


def current_room() -> Room | None:
    """The room that the current request, socket or callback is about; None: the live floor."""
    return _room.get()
