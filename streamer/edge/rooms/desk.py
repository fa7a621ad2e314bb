"""The live floor's calls about replay rooms: what can be replayed, opening, listing and closing rooms.

It must not check the roles of calls (the desk's table does), only of recordings and rooms.
"""

import asyncio
from pathlib import Path

from streamer.edge.accounts import ROLES, Role
from streamer.edge.desk.calls import Answer, Caller, CallRefusedError, Nothing
from streamer.edge.desk.desk import Entry
from streamer.edge.journal.contract import Note
from streamer.edge.rooms.contract import JOURNAL, OfRoom, OpenRoom, RoomView
from streamer.edge.rooms.gallery import Found, Gallery, journal_of_today
from streamer.edge.rooms.keeper import Keeper, NoRoomError, TooManyRoomsError
from streamer.edge.runner import Runner


class RoomDesk:
    """Answers about rooms. On a floor without a journal on disk there is no day of its own to replay."""

    def __init__(self, runner: Runner, keeper: Keeper, gallery: Gallery, journal: Path | None = None) -> None:
        self.runner = runner
        self.keeper = keeper
        self.gallery = gallery
        self.journal = journal

    @property
    def table(self) -> dict[str, Entry]:
        """What the desk's table is extended by."""
        return {
            "recordings": Entry("viewer", Nothing, self.recordings),
            "open_room": Entry("viewer", OpenRoom, self.open_room),
            "rooms": Entry("viewer", Nothing, self.rooms),
            "close_room": Entry("viewer", OfRoom, self.close_room),
        }

    async def recordings(self, who: Caller, params: Nothing) -> Answer:
        """What the caller may replay."""
        return Answer({"items": [found.item for found in await self._found() if _may_open(who, found)]})

    async def open_room(self, who: Caller, params: OpenRoom) -> Answer:
        """Open a room: 201. That of the floor's own day stands in the audit chain first."""
        found = next((found for found in await self._found() if found.item.id == params.source), None)
        if found is None:
            raise CallRefusedError(404, "not_found", f"there is no recording {params.source}")
        if not _has(who, found.item.role):
            raise CallRefusedError(403, "forbidden", f"{found.item.name} is for a {found.item.role}")
        if not _may_open(who, found):
            raise CallRefusedError(403, "forbidden", f"{found.item.name} is of malls outside your scope")
        if found.item.problem is not None:
            raise CallRefusedError(409, "bad_recording", found.item.problem)
        if params.source == JOURNAL:
            await self._audit(who, found)
        try:
            view = await self.keeper.open(found, params.at_ms, who.name, self.runner.now_ms())
        except TooManyRoomsError as error:
            raise CallRefusedError(429, "too_many_rooms", str(error)) from error
        except NoRoomError as error:
            raise CallRefusedError(409, "bad_recording", str(error).replace(f"{found.path.parent}/", "")) from error
        return Answer(view, 201)

    async def rooms(self, who: Caller, params: Nothing) -> Answer:
        """The rooms the caller may look into."""
        return Answer({"items": [view for view in self.keeper.views() if _has(who, view.role)]})

    async def close_room(self, who: Caller, params: OfRoom) -> Answer:
        """End a room, which whoever opened it may, and an ops lead."""
        view = self._view(who, params.room)
        if view.opened_by != who.name and not _has(who, "ops-lead"):
            raise CallRefusedError(
                403, "forbidden", f"{view.opened_by} opened this room: they close it, or an ops lead"
            )
        await self.keeper.close(params.room)
        return Answer({})

    def _view(self, who: Caller, room_id: str) -> RoomView:
        view = self.keeper.view(room_id)
        if view is None or not _has(who, view.role):
            raise CallRefusedError(404, "not_found", f"there is no room {room_id}: it was closed, or nobody looked")
        return view

    async def _found(self) -> list[Found]:
        found = await asyncio.to_thread(self.gallery.look)
        if self.journal is not None:
            found = [*found, await asyncio.to_thread(journal_of_today, self.runner, self.journal)]
        return found

    async def _audit(self, who: Caller, found: Found) -> None:
        if self.runner.full:
            raise CallRefusedError(503, "storage_full", "a day is only replayed when the look at it can be audited")
        window = {"from_ms": str(found.item.start_ms), "to_ms": str(found.item.end_ms)}
        self.runner.note(Note(self.runner.now_ms(), "journal_replayed", who.name, window))
        await self.runner.settled()


def _has(who: Caller, role: Role) -> bool:
    return ROLES.index(who.role) >= ROLES.index(role)


def _may_open(who: Caller, found: Found) -> bool:
    item = found.item
    return _has(who, item.role) and (not item.malls or any(who.may_see(mall_id) for mall_id in item.malls))
